"""What every answer of Amazon's API means: one test row for each row of the design's table, and hostile ones."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from catalog_sync.api.outcomes import (
    MAX_RETRY_AFTER,
    Verdict,
    classify_ingestion,
    classify_status,
    link_is_dead,
    retry_after,
    safe_text,
)

NOW = 1_790_000_000.0


def error(text: str) -> bytes:
    return json.dumps({"errorMsg": text}).encode()


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, b'{"ingestionId": "abc"}', Verdict.ACCEPTED),
        (201, b'{"ingestionId": "abc", "somethingNew": [1]}', Verdict.ACCEPTED),
        (200, b'{"ingestionId": "abc"}', Verdict.ACCEPTED),
        (400, error("One or more StoreID's present in the request is incorrect"), Verdict.REJECTED_STORES),
        (
            400,
            error("List of store ID's present in the request are either incorrect/not associated with same retailer"),
            Verdict.REJECTED_STORES,
        ),
        (400, error("Invalid request body"), Verdict.REJECTED),
        (400, error("store_id must have at most 255 characters"), Verdict.REJECTED),
        (400, b"<html>", Verdict.REJECTED),
        (400, b"", Verdict.REJECTED),
        (413, b'{"message": "Request Too Long"}', Verdict.REJECTED),
        (403, b'{"message": "Forbidden"}', Verdict.FORBIDDEN),
        (403, b"<html>", Verdict.FORBIDDEN),
        (429, error("Too Many Requests"), Verdict.RETRY_LATER),
        (429, b'{"message": "Limit Exceeded"}', Verdict.RETRY_LATER),
        (429, b"", Verdict.RETRY_LATER),
        (500, error("Something broke, Please  RETRY again."), Verdict.RETRY_LATER),
        (500, b'{"message": "please retry again"}', Verdict.RETRY_LATER),
        (500, error("Internal failure"), Verdict.FAILED),
        (500, b"{}", Verdict.FAILED),
        (500, b"please retry again", Verdict.AMBIGUOUS),
        (500, b'"please retry again"', Verdict.AMBIGUOUS),
        (502, b'{"message": "Bad Gateway"}', Verdict.AMBIGUOUS),
        (503, b"", Verdict.AMBIGUOUS),
        (504, b'{"message": "Endpoint request timed out"}', Verdict.AMBIGUOUS),
        (201, b"", Verdict.AMBIGUOUS),
        (201, b"{}", Verdict.AMBIGUOUS),
        (201, b'{"ingestionId": null}', Verdict.AMBIGUOUS),
        (201, b'{"ingestionId": ""}', Verdict.AMBIGUOUS),
        (201, b'{"ingestionId": 7}', Verdict.AMBIGUOUS),
        (201, json.dumps({"ingestionId": "x" * 256}).encode(), Verdict.AMBIGUOUS),
        (201, b'{"ingestionId": "abc"', Verdict.AMBIGUOUS),
        (201, b'["abc"]', Verdict.AMBIGUOUS),
        (201, b"[" * 100_000, Verdict.AMBIGUOUS),
        (201, b"\xff\xfe\x00", Verdict.AMBIGUOUS),
        (201, b"9" * 5000, Verdict.AMBIGUOUS),
        (302, b"", Verdict.AMBIGUOUS),
        (404, b'{"message": "Not Found"}', Verdict.AMBIGUOUS),
        (418, b"", Verdict.AMBIGUOUS),
    ],
)
def test_each_answer_to_an_upload(status: int, body: bytes, verdict: Verdict) -> None:
    """An upload's answer is classified by its status, its key and the documented texts, whatever the body is."""
    answer = classify_ingestion(status, {}, body, NOW)

    assert answer.verdict is verdict
    assert answer.http_status == status
    assert answer.ingestion_id == ("abc" if verdict is Verdict.ACCEPTED else "")
    assert verdict is Verdict.ACCEPTED or answer.message


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b'{"processingStatus": "DONE", "reportDownloadLink": "https://b/r?s=1"}', Verdict.ACCEPTED),
        (200, b'{"processingStatus": "PENDING", "reportDownloadLink": ""}', Verdict.AMBIGUOUS),
        (200, b'{"processingStatus": ["DONE"]}', Verdict.AMBIGUOUS),
        (200, b"<html>", Verdict.AMBIGUOUS),
        (400, error("ingestionId is invalid"), Verdict.UNKNOWN_INGESTION),
        (403, b"{}", Verdict.FORBIDDEN),
        (429, error("Too Many Requests"), Verdict.RETRY_LATER),
        (500, error("please retry again"), Verdict.RETRY_LATER),
        (500, error("no"), Verdict.FAILED),
        (503, b"", Verdict.AMBIGUOUS),
    ],
)
def test_each_answer_to_a_status_call(status: int, body: bytes, verdict: Verdict) -> None:
    """A status answer is ACCEPTED only with one of the five documented states; 400 means an unknown id."""
    answer = classify_status(status, {}, body, NOW)

    assert (answer.verdict, answer.http_status) == (verdict, status)
    assert answer.processing_status == ("DONE" if verdict is Verdict.ACCEPTED else "")


@pytest.mark.parametrize("link", [None, "", 5, "https://s3/" + "x" * 10_000], ids=lambda link: str(link)[:12])
def test_a_state_may_come_without_a_link(link: object) -> None:
    """Before an ingestion ends its link may be empty, null or missing (U10)."""
    body = json.dumps({"processingStatus": "INQUEUE", "reportDownloadLink": link}).encode()

    answer = classify_status(200, {}, body, NOW)

    assert (answer.verdict, answer.processing_status, answer.report_link) == (Verdict.ACCEPTED, "INQUEUE", "")


def test_a_report_link_is_not_shown() -> None:
    """The answer's representation, which may reach a log, hides the presigned link."""
    answer = classify_status(200, {}, b'{"processingStatus": "DONE", "reportDownloadLink": "https://b/r?sig=1"}', NOW)

    assert answer.report_link == "https://b/r?sig=1"
    assert "sig=1" not in repr(answer)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("86400", MAX_RETRY_AFTER),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (formatdate(NOW + 9000, usegmt=True), MAX_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("9" * 400, None),
        ("", None),
        (None, None),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str | None, seconds: float | None) -> None:
    """``Retry-After`` is seconds or a date; nonsense is ignored and excess is cut."""
    assert retry_after(value, NOW) == seconds


def test_retry_after_reaches_the_answer() -> None:
    """The advised wait comes with a 429, a retryable 500 and a 503."""
    for status, body in ((429, b"{}"), (500, error("please retry again")), (503, b"")):
        assert classify_ingestion(status, {"retry-after": "12"}, body, NOW).retry_after == 12.0


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Signature expired: 20261120T000000Z is now earlier than 20261120T001000Z", "clock"),
        ("Signature not yet current", "clock"),
        ("The security token included in the request is expired", "expired"),
        ("The security token included in the request is invalid.", "access key"),
        ("The request signature we calculated does not match the signature you provided.", "region_name"),
        ("Credential should be scoped to a valid region.", "region_name"),
        ("Missing Authentication Token", "base URL"),
        ("User: arn:aws:iam::1:role/x is not authorized to perform: execute-api:Invoke", "execute-api:Invoke"),
        ("… not authorized to perform: execute-api:Invoke with an explicit deny", "policy denies"),
        ("Forbidden", "allowlisting"),
    ],
)
def test_a_403_says_where_to_look(text: str, where: str) -> None:
    """The message of a 403 keeps Amazon's text and names where to look: role, permission, allowlisting, clock."""
    message = classify_ingestion(403, {}, json.dumps({"message": text}).encode(), NOW).message

    assert message.startswith(text.rstrip("."))
    assert where in message.removeprefix(text)


def test_the_advice_survives_a_long_text() -> None:
    """However long Amazon's text is, the advice stands within the first 300 characters, which the ledger keeps."""
    body = json.dumps(
        {"message": "User: arn is not authorized to perform: execute-api:Invoke " + "on x " * 500}
    ).encode()

    assert "needs execute-api:Invoke" in classify_ingestion(403, {}, body, NOW).message[:300]


@pytest.mark.parametrize(("offset", "said"), [(-400, "400 s behind"), (400, "400 s ahead of"), (200, None)])
def test_a_403_tells_of_a_wrong_clock(offset: float, said: str | None) -> None:
    """When this host's clock differs from Amazon's ``Date`` by more than five minutes, the message says so."""
    headers = {"date": formatdate(NOW - offset, usegmt=True)}

    message = classify_ingestion(403, headers, b'{"message": "Forbidden"}', NOW).message

    assert ("Clock skew" in message) == (said is not None)
    assert (said or "") in message


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_an_unreadable_date_is_ignored(date: str) -> None:
    """A ``Date`` header that is no date neither fails nor accuses the clock."""
    assert "skew" not in classify_ingestion(403, {"date": date}, b"{}", NOW).message


def test_no_secret_gets_into_a_message() -> None:
    """API Gateway quotes the signed request, session token included; links carry signatures: neither is kept (I8)."""
    token = "IQoJb3JpZ2luX2VjEHwaCXVzLWVhc3QtMSJHMEUCIQD" * 4
    quoted = (
        "The request signature we calculated does not match. The Canonical String for this request should have been "
        f"'POST\n/v1/catalog/upload\nx-amz-security-token:{token}\n'"
    )
    link = "see https://bucket.s3.amazonaws.com/r.json?X-Amz-Signature=abc&X-Amz-Security-Token=def for more"

    for text in (quoted, link, f"bad {token} here"):
        for status in (400, 403, 500, 503):
            answer = classify_ingestion(status, {}, error(text), NOW)
            assert token[:20] not in repr(answer)
            assert "Signature=abc" not in repr(answer)


def test_a_message_is_one_short_line() -> None:
    """Error texts are cut and control characters replaced, so that they fit a log line."""
    text = safe_text("a\n\x1b[31m" + "word " * 1000)

    assert len(text) <= 300
    assert text.isprintable()


@pytest.mark.parametrize(("status", "dead"), [(403, True), (200, False), (404, False), (503, False)])
def test_s3_answers_403_for_an_expired_link(status: int, dead: bool) -> None:
    """Only a 403 means that a presigned link is dead."""
    assert link_is_dead(status) is dead
