"""Reports: fetched without ever showing their link, read leniently, and never believed beyond what they say."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import polars as pl
import pytest

from catalog_sync import reports
from catalog_sync.errors import RetryLater
from catalog_sync.reports import LinkExpired, NotAReport, fetch, outcomes, parse, strangers

LINK = "https://bucket.s3.amazonaws.com/r.json?X-Amz-Signature=s3cret&X-Amz-Expires=3600"
EXPIRED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def entry(
    sku: str, status: str = "SUCCESS", store: str = "S1", code: Any = None, message: Any = None
) -> dict[str, Any]:
    return {"itemSku": sku, "storeId": store, "status": status, "errorCode": code, "errorMessage": message}


def report(items: Any, total: Any = None, succeeded: Any = None, failed: Any = None, **more: Any) -> reports.Report:
    """Return a parsed report of ``ing-1``."""
    document = {
        "ingestionId": "ing-1",
        "processingStatus": "DONE",
        "summary": {"totalItems": total, "succeeded": succeeded, "failed": failed},
        "items": items,
        **more,
    }
    return parse(json.dumps(document).encode(), ingestion_id="ing-1")


def sent(*skus: str, store: str = "S1") -> pl.DataFrame:
    return pl.DataFrame({"store_id": [store] * len(skus), "item_sku": list(skus), "content_hash": ["h"] * len(skus)})


def ends(frame: pl.DataFrame) -> dict[str, tuple[str, str]]:
    """Return outcome and code of each SKU."""
    return {row["item_sku"]: (row["outcome"], row["code"]) for row in frame.iter_rows(named=True)}


# --- fetching


def answer(status: int, content: Any = b"", **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status, content=content, headers=headers))


@pytest.mark.parametrize("content", [b'{"items": []}', b'\n {"items": []}', b'\xef\xbb\xbf{"items": []}'])
def test_a_report_is_fetched_as_it_is(content: bytes) -> None:
    """The bytes behind the link are returned unchanged."""
    assert fetch(LINK, transport=answer(200, content)) == content


def test_compressed_reports_are_fetched() -> None:
    """Compression in transit is undone; a file that is itself gzip stays as it is and can be parsed."""
    document = b'{"ingestionId": "ing-1", "items": []}'
    packed = gzip.compress(document, mtime=0)

    assert fetch(LINK, transport=answer(200, packed, **{"Content-Encoding": "gzip"})) == document
    assert fetch(LINK, transport=answer(200, packed)) == packed
    assert parse(packed, ingestion_id="ing-1").items.height == 0


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (403, EXPIRED, LinkExpired),
        (403, b"", LinkExpired),
        (404, b"<Error><Code>NoSuchKey</Code></Error>", RetryLater),
        (500, b"", RetryLater),
        (503, b"<Error><Code>SlowDown</Code></Error>", RetryLater),
        (302, b"", RetryLater),
        (200, EXPIRED, NotAReport),
        (200, b"<!doctype html><title>Sorry</title>", NotAReport),
        (200, b"", NotAReport),
        (200, b"   ", NotAReport),
        (200, b"itemSku,storeId\nA,S1\n", NotAReport),
    ],
)
def test_what_is_no_report_is_told_apart(status: int, content: bytes, error: type[Exception]) -> None:
    """An expired link, a busy server and an error page are errors of their own kind, and none shows the link."""
    with pytest.raises(error) as caught:
        fetch(LINK, transport=answer(status, content))
    assert type(caught.value) is error
    assert "s3cret" not in str(caught.value)
    assert "bucket.s3.amazonaws.com" in str(caught.value)


@pytest.mark.parametrize("error", [httpx.ConnectError(LINK), httpx.ReadTimeout(LINK), httpx.RemoteProtocolError(LINK)])
def test_a_lost_connection_says_nothing_of_the_link(error: httpx.HTTPError) -> None:
    """A failing fetch is worth a retry, and neither its message nor its cause holds the link."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(RetryLater) as caught:
        fetch(LINK, transport=httpx.MockTransport(fail))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "link", ["http://169.254.169.254/latest", "file:///etc/passwd", "", "ftp://x/y", "http://a.b/c"]
)
def test_only_secure_links_are_followed(link: str) -> None:
    """A link that is not https is not fetched: a forged notice must not make us call addresses of our own network."""

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("it was fetched")

    with pytest.raises(NotAReport):
        fetch(link, transport=httpx.MockTransport(never))


def test_an_endless_report_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a bounded number of bytes is read, also when they come compressed."""
    monkeypatch.setattr(reports, "MAX_BYTES", 1_000_000)

    def flood() -> Any:
        while True:
            yield b"{" * 65536

    with pytest.raises(NotAReport, match="more than"):
        fetch(LINK, transport=answer(200, flood()))
    with pytest.raises(NotAReport):
        parse(gzip.compress(b"{" + b" " * 2_000_000 + b"}", mtime=0), ingestion_id="ing-1")


def test_a_trickling_report_is_given_up(clock: Any) -> None:
    """A server that sends a little now and then does not hold the task for ever."""

    def trickle() -> Any:
        while True:
            clock.sleep(50)
            yield b"{"

    with pytest.raises(RetryLater, match="trickles"):
        fetch(LINK, transport=answer(200, trickle()), clock=clock)


def test_the_link_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Even with everything at DEBUG, fetching writes the link nowhere (I8)."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "httpx"):
        fetch(LINK, transport=answer(200, b"{}"))

    assert "s3cret" not in caplog.text


# --- parsing


def test_a_report_is_read() -> None:
    """Counters, state and items are taken over as they are."""
    read = report([entry("A"), entry("B", "FAILED", code="E1", message="why")], total=2, succeeded=1, failed=1)

    assert (read.ingestion_id, read.status, read.total, read.succeeded, read.failed) == ("ing-1", "DONE", 2, 1, 1)
    assert read.items.rows() == [("A", "S1", "SUCCESS", None, None), ("B", "S1", "FAILED", "E1", "why")]
    assert read.items.columns == ["item_sku", "store_id", "status", "error_code", "error_message"]


@pytest.mark.parametrize(
    "document",
    [
        {"ingestionId": "ing-1"},
        {"items": None, "summary": None},
        {"items": [], "summary": [], "reportVersion": 2},
        {"summary": {"totalItems": "many", "succeeded": -1, "failed": True}},
        {"summary": {"totalItems": 1.5, "succeeded": None, "failed": [1]}},
    ],
)
def test_missing_and_unknown_keys_are_tolerated(document: dict[str, Any]) -> None:
    """A report with less, more or other keys than assumed is read; what it does not say is ``None``."""
    read = parse(json.dumps(document).encode(), ingestion_id="ing-1")

    assert (read.total, read.succeeded, read.failed, read.items.height) == (None, None, None, 0)


def test_values_of_other_types_become_text() -> None:
    """Numbers, flags and structures in an item's fields are kept as text; entries that name no item are counted."""
    read = report(
        [
            {
                "itemSku": 4011,
                "storeId": 7,
                "status": "FAILED",
                "errorCode": 12,
                "errorMessage": {"en": "no"},
                "new": 1,
            },
            {"storeId": "S1"},
            "A",
            None,
        ],
        total="4",
    )

    assert read.items.rows() == [("4011", "7", "FAILED", "12", '{"en": "no"}')]
    assert (read.malformed, read.total) == (3, 4)


WHOLE = json.dumps({"ingestionId": "ing-1", "items": [entry("A")]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(WHOLE[:cut] for cut in range(0, len(WHOLE), 7)),
        WHOLE + b"}",
        b"[]",
        b"null",
        b'"DONE"',
        b"\xff\xfe",
        b'{"items": "A"}',
        b'{"items": {"A": 1}}',
        b'{"items": [{"itemSku": "\\ud800"}]}',
        b'{"a":' * 100_000,
        EXPIRED,
        gzip.compress(WHOLE, mtime=0)[:-20],
        b"\x1f\x8bnot gzip",
    ],
)
def test_a_truncated_report_is_no_report(data: bytes) -> None:
    """A report cut anywhere, or anything else that is no whole JSON object, raises ``NotAReport``."""
    with pytest.raises(NotAReport, match="ing-1"):
        parse(data, ingestion_id="ing-1")


@pytest.mark.parametrize("named", ["ing-2", "", 5])
def test_the_report_of_another_ingestion_is_refused(named: object) -> None:
    """A report that names another ingestion is not read as ours."""
    with pytest.raises(NotAReport, match="ing-1"):
        report([entry("A")], ingestionId=named)


# --- judging


def test_listed_rows_end_as_listed() -> None:
    """A listed success is acknowledged, a listed failure refused, with code and message; order and columns stay."""
    read = report([entry("B", "FAILED", code="E1", message="why"), entry("A")], total=2, succeeded=1, failed=1)

    judged = outcomes(read, sent("A", "B"))

    assert judged.rows() == [("S1", "A", "h", "acknowledged", "", ""), ("S1", "B", "h", "refused", "E1", "why")]
    assert judged.columns == ["store_id", "item_sku", "content_hash", "outcome", "code", "message"]


def test_a_sku_ends_in_each_store_on_its_own() -> None:
    """One SKU may be acknowledged in one store and refused in another."""
    read = report([entry("A", "FAILED", "S2", "E1"), entry("A", "SUCCESS", "S1")], total=2)

    judged = outcomes(read, pl.concat([sent("A"), sent("A", store="S2")]))

    assert judged.select("store_id", "outcome").rows() == [("S1", "acknowledged"), ("S2", "refused")]


@pytest.mark.parametrize(
    ("status", "code", "end"),
    [
        ("SUCCESS", None, ("acknowledged", "")),
        (" success ", None, ("acknowledged", "")),
        ("SUCCESS", "W1", ("acknowledged", "W1")),
        ("FAILED", "E1", ("refused", "E1")),
        ("FAILED", None, ("refused", "FAILED")),
        ("FAILED", "", ("refused", "FAILED")),
        ("PARTIAL", None, ("unknown", "PARTIAL")),
        ("WARNING", "W2", ("unknown", "W2")),
        (None, None, ("unknown", "NO_ITEM_STATUS")),
        (None, "E1", ("unknown", "E1")),
        ("", None, ("unknown", "NO_ITEM_STATUS")),
    ],
)
def test_each_item_status(status: Any, code: str | None, end: tuple[str, str]) -> None:
    """Unknown codes are kept and count as failures (U14); an unknown status, or none, proves nothing."""
    assert ends(outcomes(report([entry("A", status, code=code)]), sent("A")))["A"] == end


@pytest.mark.parametrize(("status", "code"), [("FAILED", {"why": "x" * 4000}), ("y" * 4000, None)])
def test_a_code_is_cut(status: str, code: Any) -> None:
    """It may be anything, even a structure, and the ledger keeps a run's codes in one item of bounded size."""
    (end,) = ends(outcomes(report([entry("A", status, code=code)]), sent("A"))).values()
    assert (len(end[1]), end[1][-1]) == (100, "…")


def test_unlisted_rows_succeeded_when_the_numbers_agree() -> None:
    """A report of failures alone acknowledges the rest, provided that its summary says the same."""
    read = report([entry("B", "FAILED", code="E1")], total=3, succeeded=2, failed=1)

    assert ends(outcomes(read, sent("A", "B", "C"))) == {
        "A": ("acknowledged", ""),
        "B": ("refused", "E1"),
        "C": ("acknowledged", ""),
    }


def test_an_empty_list_can_mean_that_all_succeeded() -> None:
    """With no failure listed and none counted, every row is acknowledged."""
    assert set(ends(outcomes(report([], total=2, succeeded=2, failed=0), sent("A", "B"))).values()) == {
        ("acknowledged", "")
    }


FAILURE = entry("B", "FAILED", code="E1")


@pytest.mark.parametrize(
    "read",
    [
        lambda: report([FAILURE]),
        lambda: report([FAILURE], total=4, succeeded=3, failed=1),
        lambda: report([FAILURE], total=3, succeeded=1, failed=2),
        lambda: report([FAILURE], total=3, succeeded=1, failed=1),
        lambda: report([FAILURE], total=3, succeeded=2),
        lambda: report([FAILURE], succeeded=2, failed=1),
        lambda: report([FAILURE, entry("A")], total=3, succeeded=2, failed=1),
        lambda: report([FAILURE, entry("X", "FAILED")], total=3, succeeded=1, failed=2),
        lambda: report([FAILURE, {"storeId": "S1", "status": "FAILED"}], total=3, succeeded=1, failed=2),
        lambda: report([FAILURE, entry("C", None)], total=3, succeeded=1, failed=2),  # type: ignore[arg-type]
        lambda: report([], total=3, succeeded=2, failed=1),
        lambda: report([]),
    ],
    ids=[
        "no summary", "other total", "more failed", "sum is off", "failed missing", "total missing",
        "some successes listed", "a stranger failed", "a nameless failure", "one without status", "no list",
        "nothing at all",
    ],
)  # fmt: skip
def test_unlisted_rows_are_unknown_when_the_numbers_do_not_agree(read: Callable[[], reports.Report]) -> None:
    """Whenever the report does not account for every row that was sent, its silence acknowledges nothing (I1)."""
    assert ends(outcomes(read(), sent("A", "B", "C"))).get("C") in (
        ("unknown", "NOT_IN_REPORT"),
        ("unknown", "NO_ITEM_STATUS"),
    )


def test_a_row_listed_twice() -> None:
    """Listed twice with one outcome counts once; with two outcomes nobody knows."""
    read = report(
        [entry("A"), entry("A"), entry("B"), entry("B", "FAILED", code="E1"), entry("C", "FAILED", code="E1"),
         entry("C", "FAILED", code="E2")],
        total=3, succeeded=1, failed=2,
    )  # fmt: skip

    assert ends(outcomes(read, sent("A", "B", "C"))) == {
        "A": ("acknowledged", ""),
        "B": ("unknown", "LISTED_TWICE"),
        "C": ("refused", "E1"),
    }


def test_rows_that_were_never_sent_are_counted() -> None:
    """Entries for other SKUs, other stores or no store change nothing for ours, and are counted."""
    read = report([entry("A"), entry("X"), entry("A", store="S9"), {"itemSku": "A", "status": "FAILED"}, "?"])

    assert outcomes(read, sent("A")).height == 1
    assert ends(outcomes(read, sent("A")))["A"] == ("acknowledged", "")
    assert strangers(read, sent("A")) == 4


def test_a_long_message_is_cut() -> None:
    """Amazon's text is kept up to a bound."""
    judged = outcomes(report([entry("A", "FAILED", message="é" * 5000)]), sent("A"))

    assert judged["message"].str.len_chars().item() == reports.MAX_MESSAGE


def test_a_full_batch_is_judged_as_one() -> None:
    """10,000 rows of five stores, one in a hundred refused, keep their order and add up."""
    count = 10_000
    listed = [entry(f"SKU-{n:05}", "FAILED" if n % 100 == 0 else "SUCCESS", f"S{n % 5}") for n in range(count)]
    rows = pl.DataFrame(
        {"store_id": [f"S{n % 5}" for n in range(count)], "item_sku": [f"SKU-{n:05}" for n in range(count)]}
    )

    judged = outcomes(report(list(reversed(listed)), total=count, succeeded=9_900, failed=100), rows)

    assert judged.select("store_id", "item_sku").equals(rows)
    assert dict(judged["outcome"].value_counts().rows()) == {"acknowledged": 9_900, "refused": 100}


def test_a_count_of_thousands_of_digits_is_none() -> None:
    """Python refuses to read such a text as a number; the report is read all the same, and proves nothing."""
    data = json.dumps({"summary": {"totalItems": "9" * 5000, "failed": "0"}, "items": []}).encode()
    report = reports.parse(data, ingestion_id="ing-1")
    sent = pl.DataFrame({"store_id": ["S1"], "item_sku": ["A"]})
    assert (report.total, report.failed) == (None, 0)
    assert reports.outcomes(report, sent)["outcome"].to_list() == ["unknown"]


@pytest.mark.parametrize("key", ["ingestionId", "items", "summary"])
def test_a_number_of_thousands_of_digits_is_no_report(key: str) -> None:
    """Wherever it stands; the error's text is short."""
    with pytest.raises(reports.NotAReport, match="truncated or not JSON"):
        reports.parse(f'{{"{key}": {"9" * 5000}}}'.encode(), ingestion_id="ing-1")
