"""Notices: read leniently, trusted only when SNS signed them."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.sns import (
    CERT_URL,
    INNER,
    KEY,
    OTHER_KEY,
    PEM,
    SUBSCRIBE,
    TOPIC,
    certificate,
    confirmation_envelope,
    notification,
    notification_text,
    signed,
)

from catalog_sync.errors import RetryLater
from catalog_sync.notices import (
    CERTIFICATES_KEPT,
    MAX_BYTES,
    BadNotice,
    Certificates,
    Confirmation,
    Notice,
    Unsubscribed,
    confirm,
    parse,
    verify,
)


def confirmation(url: str = SUBSCRIBE, key: Any = KEY) -> Confirmation:
    said = parse(json.dumps(confirmation_envelope(url, key)), topic_arn=TOPIC)
    assert isinstance(said, Confirmation)
    return said


class Web:
    """What lies where; it counts the requests."""

    def __init__(self, handle: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.asked: list[str] = []
        self._handle = handle or (lambda request: httpx.Response(200, content=PEM))

    def certificates(self, *hosts: str) -> Certificates:
        http = httpx.Client(transport=httpx.MockTransport(self._answer))
        return Certificates(http, hosts or ("sns.{region}.amazonaws.com",), TOPIC)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return self._handle(request)


def test_a_notification_is_unwrapped() -> None:
    """An SNS envelope yields the ingestion, its state, the link, and when it was published."""
    notice = parse(json.dumps(notification()), topic_arn=TOPIC)

    assert isinstance(notice, Notice)
    assert (notice.ingestion_id, notice.status, notice.message_id) == ("ing-1", "DONE", "m-1")
    assert notice.report_link == INNER["reportDownloadLink"]
    assert notice.published_at == datetime(2026, 11, 20, 2, 30, 0, 500_000, UTC).timestamp()
    assert notice.dedup_key == "ing-1:DONE"


def test_raw_delivery_is_understood() -> None:
    """With raw delivery the body is the inner message; nothing says when it was published, and nothing is signed."""
    notice = parse(json.dumps(INNER), topic_arn=TOPIC)

    assert isinstance(notice, Notice)
    assert (notice.ingestion_id, notice.published_at, notice.message_id, notice.envelope) == ("ing-1", None, "", None)


@pytest.mark.parametrize("status", ["INQUEUE", "INPROGRESS", "DONE", "CANCELLED", "FATAL"])
@pytest.mark.parametrize("link", [None, "", 7, "absent", "https://s3/" + "x" * 10_000], ids=lambda link: str(link)[:12])
def test_every_documented_state_may_come_without_a_link(status: str, link: object) -> None:
    """All five states are understood, and an absent, empty, null or senseless link is no link."""
    inner = {"ingestionId": "ing-1", "processingStatus": status, "new": {"deep": [1]}}
    if link != "absent":
        inner["reportDownloadLink"] = link  # type: ignore[assignment]

    notice = parse(json.dumps(notification(inner, AlsoNew=1)), topic_arn=TOPIC)

    assert isinstance(notice, Notice)
    assert (notice.status, notice.report_link) == (status, "")


def test_an_unsubscription_is_no_result() -> None:
    """``UnsubscribeConfirmation`` is told apart."""
    envelope = notification(Type="UnsubscribeConfirmation", Token="t", SubscribeURL=SUBSCRIBE)

    assert isinstance(parse(json.dumps(envelope), topic_arn=TOPIC), Unsubscribed)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        '"DONE"',
        "null",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        "{}",
        json.dumps({"processingStatus": "DONE"}),
        json.dumps({"ingestionId": "", "processingStatus": "DONE"}),
        json.dumps({"ingestionId": 5, "processingStatus": "DONE"}),
        json.dumps({"ingestionId": ["a"], "processingStatus": "DONE"}),
        json.dumps({"ingestionId": "x" * 256, "processingStatus": "DONE"}),
        json.dumps({"ingestionId": "a\nb", "processingStatus": "DONE"}),
        json.dumps({"ingestionId": "\ud800", "processingStatus": "DONE"}),
        json.dumps({"ingestionId": "ing-1"}),
        json.dumps({"ingestionId": "ing-1", "processingStatus": "COMPLETED"}),
        json.dumps({"ingestionId": "ing-1", "processingStatus": ["DONE"]}),
        json.dumps({"Type": "Greeting"}),
        json.dumps({"Type": ["Notification"]}),
        json.dumps(notification(Type="Greeting")),
        json.dumps(notification(Type=None)),
        json.dumps(notification(TopicArn="arn:aws:sns:us-east-1:123456789012:Other")),
        json.dumps(notification(TopicArn=None)),
        json.dumps(notification(TopicArn=[TOPIC])),
        json.dumps({key: value for key, value in notification().items() if key != "TopicArn"}),
        json.dumps(notification("not json")),
        json.dumps(notification("[1]")),
        json.dumps({**notification(), "Message": INNER}),
        json.dumps({**notification(), "Message": None}),
        json.dumps(notification(Type="SubscriptionConfirmation")),
        json.dumps(notification(Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE, Token=5)),
        json.dumps({**INNER, "padding": "x" * MAX_BYTES}),
        json.dumps({**INNER, "padding": "é" * (MAX_BYTES // 2)}, ensure_ascii=False),
    ],
    ids=lambda body: body[:40],
)
def test_a_hostile_body_is_refused(body: str) -> None:
    """Whatever is not a notice of our topic raises ``BadNotice``, with a short message, and nothing else."""
    with pytest.raises(BadNotice) as caught:
        parse(body, topic_arn=TOPIC)
    assert 0 < len(str(caught.value)) < 400


def test_an_envelope_cannot_pass_for_raw_delivery() -> None:
    """A body with a foreign topic is refused even when it also has the inner keys."""
    with pytest.raises(BadNotice, match=r"results\.topic_arn"):
        parse(json.dumps({**INNER, **notification(TopicArn="arn:aws:sns:us-east-1:1:Evil")}), topic_arn=TOPIC)


def test_links_and_tokens_are_not_shown() -> None:
    """The representation of what was parsed, which may reach a log, holds no link and no token (I8)."""
    shown = repr(parse(json.dumps(notification()), topic_arn=TOPIC)) + repr(confirmation())

    assert "s3cret" not in shown
    assert "t0ken" not in shown


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Ihr Katalog – fertig"}])
def test_what_sns_signed_is_believed(version: str, subject: dict[str, str]) -> None:
    """Both signature versions verify, with and without a subject, and the certificate is fetched once."""
    web = Web()
    certificates = web.certificates()
    envelope = notification(**subject)

    for _ in range(2):
        verify(signed(envelope, notification_text(envelope), version), certificates)

    assert web.asked == [CERT_URL]


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps({**INNER, "ingestionId": "ing-2"})},
        {"MessageId": "m-9"},
        {"Subject": "added"},
        {"Timestamp": "2026-11-21T02:30:00.500Z"},
        {"TopicArn": "arn:aws:sns:us-east-1:123456789012:Other"},
        {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": SUBSCRIBE},
        {"Signature": base64.b64encode(b"\0" * 256).decode()},
        {"Signature": "not base64!"},
        {"Signature": "é"},
        {"SigningCertURL": f"https://sns.us-east-1.amazonaws.com/{'x' * 70_000}"},
        {"Signature": ""},
        {"Signature": None},
        {"SignatureVersion": "1"},
        {"SignatureVersion": "3"},
        {"SignatureVersion": None},
        {"SignatureVersion": ["2"]},
        {"Timestamp": None},
        {"SigningCertURL": None},
    ],
    ids=str,
)
def test_what_was_changed_is_not_believed(changes: dict[str, Any]) -> None:
    """Changing any signed value, the signature or its version makes verification fail."""
    envelope = notification()

    with pytest.raises(BadNotice):
        verify({**signed(envelope, notification_text(envelope)), **changes}, Web().certificates())


def test_another_key_does_not_sign() -> None:
    """A signature by any key but that of the certificate is refused."""
    envelope = notification()

    with pytest.raises(BadNotice, match="signature"):
        verify(signed(envelope, notification_text(envelope), key=OTHER_KEY), Web().certificates())


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/c.pem",
        "https://sns.eu-west-1.amazonaws.com/c.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/c.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/c.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/c.pem",
        "https://evil.example#@sns.us-east-1.amazonaws.com/c.pem",
        "https://evil.example\\@sns.us-east-1.amazonaws.com/c.pem",
        "https://sns.us-east-1.amazonaws.com:8443/c.pem",
        "https://sns.us-east-1.amazonaws.com:x/c.pem",
        "https://x@sns.us-east-1.amazonaws.com/c.pem",
        "https://[::1/c.pem",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8090/c.pem",
        "https:///c.pem",
        "https://sns.us-east-1.amazonaws.com/c\n.pem",
        "",
        "sns.us-east-1.amazonaws.com",
    ],
)
def test_only_allowed_hosts_are_visited(url: str) -> None:
    """No certificate is fetched and no link visited except by https at the configured hosts."""
    web = Web()
    certificates = web.certificates()

    with pytest.raises(BadNotice, match=r"results\.certificate_hosts"):
        certificates.check_address(url)
    with pytest.raises(BadNotice):
        certificates.public_key(url)
    assert web.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8090", "localhost"])
def test_a_sandbox_on_this_host_may_use_http(host: str) -> None:
    """When this very host is configured as a certificate host, plain http is allowed for it, and for it alone."""
    web = Web()
    certificates = web.certificates(host, "plain.example")

    assert certificates.public_key(f"http://{host.partition(':')[0]}:8090/c.pem")
    with pytest.raises(BadNotice):
        certificates.public_key("http://plain.example/c.pem")


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"x" * 100_000, certificate(ec.generate_private_key(ec.SECP256R1()))]
)
def test_what_is_no_rsa_certificate_is_refused(content: bytes) -> None:
    """An error page, a flood or another kind of key behind the address is refused, and not remembered."""
    web = Web(lambda request: httpx.Response(200, content=content))
    certificates = web.certificates()

    for _ in range(2):
        with pytest.raises(BadNotice, match="RSA certificate"):
            certificates.public_key(CERT_URL)
    assert len(web.asked) == 2


def test_a_certificate_that_cannot_be_fetched_now_is_no_forgery() -> None:
    """A server error or a lost connection leaves the message for later; a redirect is not followed."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    redirect = {"Location": "https://evil.example/c.pem"}
    for handle in (broken, lambda _: httpx.Response(503), lambda _: httpx.Response(302, headers=redirect)):
        web = Web(handle)
        with pytest.raises(RetryLater, match=r"sns\.us-east-1"):
            web.certificates().public_key(CERT_URL)
        assert web.asked == [CERT_URL]


def test_few_certificates_are_kept() -> None:
    """However many addresses messages name, only the last few certificates are kept."""
    web = Web()
    certificates = web.certificates()
    urls = [f"https://sns.us-east-1.amazonaws.com/{n}.pem" for n in range(CERTIFICATES_KEPT + 1)]

    for url in [*urls, urls[-1], urls[0]]:
        certificates.public_key(url)

    assert web.asked == [*urls, urls[0]]


def test_a_signed_confirmation_is_confirmed(caplog: pytest.LogCaptureFixture) -> None:
    """A confirmation of our topic, signed by SNS, is confirmed by visiting its link, which no log shows."""
    web = Web()

    with caplog.at_level(logging.DEBUG):
        confirm(confirmation(), web.certificates())

    assert web.asked == [CERT_URL, SUBSCRIBE]
    assert "t0ken" not in caplog.text


@pytest.mark.parametrize(
    ("url", "key"),
    [(SUBSCRIBE, OTHER_KEY), ("https://evil.example/?Token=t0ken", KEY), ("http://169.254.169.254/", KEY)],
    ids=["forged", "elsewhere", "metadata"],
)
def test_nothing_else_is_visited(url: str, key: Any) -> None:
    """A confirmation that is forged or leads elsewhere is not visited."""
    web = Web()

    with pytest.raises(BadNotice):
        confirm(confirmation(url, key), web.certificates())
    assert set(web.asked) <= {CERT_URL}
