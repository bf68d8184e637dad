"""Notices: bodies, envelopes, signatures."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import (
    HOSTILE_JSON,
    JSON,
    TEXT,
    damaged,
    documents,
    dumps,
    hostile_values,
    is_told_well,
    some,
)
from tests.unit.sns import CERT_URL, INNER, PEM, SUBSCRIBE, TOPIC, confirmation_envelope, notification_text, signed
from tests.unit.sns import notification as sns_notification

from catalog_sync.api.outcomes import PROCESSING_STATES
from catalog_sync.errors import RetryLater
from catalog_sync.notices import BadNotice, Certificates, Confirmation, Notice, Unsubscribed, confirm, parse, verify

SAID = documents(
    ingestionId=some("ing-1"),
    processingStatus=some(*sorted(PROCESSING_STATES)),
    reportDownloadLink=some("https://r.example/x", "https://r.example/\ud800", ""),
)
ENVELOPES = documents(
    Type=some("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"),
    TopicArn=some(TOPIC),
    MessageId=some("m"),
    Message=hostile_values(SAID) | JSON,
    Timestamp=some("2026-11-20T02:30:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    SubscribeURL=some(SUBSCRIBE, "https://[", "https://sns.us-east-1.amazonaws.com/" + "x" * 70_000),
    Token=some("t"),
    SignatureVersion=some("1", "2"),
    Signature=some("AAAA", "é", "A"),
    SigningCertURL=some(CERT_URL, "https://sns.us-east-1.amazonaws.com/" + "x" * 70_000),
)
GOOD = json.dumps(signed(sns_notification(), notification_text(sns_notification())))


def certificates() -> Certificates:
    """Certificates of a network in which every address leads to SNS's."""
    http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=PEM)))
    return Certificates(http, ("sns.{region}.amazonaws.com",), TOPIC)


def judge(body: str) -> Notice | Confirmation | Unsubscribed | None:
    """Do with a body all that the inbox does; ``None`` when it is refused in one of the documented ways."""
    believed = certificates()
    try:
        said = parse(body, topic_arn=TOPIC)
        if isinstance(said, Confirmation):
            confirm(said, believed)
        elif said.envelope is not None:
            verify(said.envelope, believed)
    except BadNotice as problem:
        is_told_well(problem)
        return None
    except RetryLater as problem:
        is_told_well(problem)
        return None
    finally:
        believed.close()
    return said


@given(st.text() | TEXT | JSON.map(dumps) | HOSTILE_JSON | hostile_values(SAID) | hostile_values(ENVELOPES))
def test_a_message_is_understood_or_refused(body: str) -> None:
    """Only ``BadNotice`` and ``RetryLater`` come out, short and printable; a notice has a usable id, state and link."""
    RAN["notice bodies"] += 1
    said = judge(body)
    if isinstance(said, Notice):
        assert (bool(said.ingestion_id), said.status in PROCESSING_STATES) == (True, True)
        assert (said.ingestion_id + said.report_link).isprintable()


@given(damaged(GOOD.encode()))
def test_what_sns_did_not_sign_is_not_believed(data: bytes) -> None:
    """Of a signed notice that was damaged anywhere, nothing is believed but what was signed."""
    RAN["notice signatures"] += 1
    said = judge(data.decode("utf-8", "surrogateescape"))
    if isinstance(said, Notice) and said.envelope is not None:
        assert (said.ingestion_id, said.status, said.report_link) == tuple(INNER.values())


@given(st.dictionaries(st.sampled_from(list(confirmation_envelope())), JSON | TEXT, min_size=1, max_size=3))
def test_no_changed_confirmation_is_visited(changes: dict[str, Any]) -> None:
    """A confirmation any of whose signed values is another is refused."""
    RAN["notice confirmations"] += 1
    envelope = confirmation_envelope()
    said = judge(json.dumps({**envelope, **changes}))
    if isinstance(said, Confirmation):
        unsigned = {"SignatureVersion", "Signature", "SigningCertURL"}
        assert all(envelope[key] == value for key, value in changes.items() if key not in unsigned)
