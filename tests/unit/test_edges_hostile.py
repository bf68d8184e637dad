"""Whatever comes in at the edges, it ends in the documented way and in no other."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_sync.api.outcomes import PROCESSING_STATES, Verdict, classify_ingestion, classify_status
from catalog_sync.notices import BadNotice, Confirmation, Notice, Unsubscribed, parse
from catalog_sync.reports import NotAReport, outcomes
from catalog_sync.reports import parse as parse_report

TOPIC = "arn:aws:sns:us-east-1:123456789012:T"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def some(*likely: Any) -> st.SearchStrategy[Any]:
    """One of the likely values, or anything at all."""
    return st.sampled_from(likely) | VALUES


def documents(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that may have each of the keys, and others."""
    return st.builds(
        lambda known, other: {**other, **known},
        st.fixed_dictionaries({}, optional=keys),
        st.dictionaries(st.text(max_size=5), VALUES, max_size=2),
    )


INNER = documents(
    ingestionId=some("ing-1"),
    processingStatus=some(*sorted(PROCESSING_STATES)),
    reportDownloadLink=some("https://r", ""),
)
ENVELOPES = documents(
    Type=some("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"),
    TopicArn=some(TOPIC),
    MessageId=some("m"),
    Message=INNER.map(json.dumps) | VALUES,
    Timestamp=some("2026-11-20T02:30:00Z", "0001-01-01T00:00:00+14:00"),
    SubscribeURL=some("https://s"),
    Token=some("t"),
)


@settings(max_examples=400, deadline=None)
@given(st.text() | VALUES.map(json.dumps) | INNER.map(json.dumps) | ENVELOPES.map(json.dumps))
def test_a_message_is_understood_or_refused(body: str) -> None:
    """A queue message becomes one of three things or ``BadNotice``; a notice always has an id and a known state."""
    try:
        said = parse(body, topic_arn=TOPIC)
    except BadNotice:
        return
    assert isinstance(said, Notice | Confirmation | Unsubscribed)
    if isinstance(said, Notice):
        assert said.ingestion_id
        assert said.status in PROCESSING_STATES


@settings(max_examples=400, deadline=None)
@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=30)),
    st.binary(max_size=50)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | INNER.map(lambda value: json.dumps(value).encode()),
)
def test_every_answer_has_a_verdict(status: int, headers: dict[str, str], body: bytes) -> None:
    """No status, header or body makes classification fail, and only a 2xx with an id is an acceptance."""
    upload = classify_ingestion(status, headers, body, 1_790_000_000.0)
    state = classify_status(status, headers, body, 1_790_000_000.0)

    assert (upload.verdict is Verdict.ACCEPTED) == bool(upload.ingestion_id)
    assert upload.verdict is not Verdict.ACCEPTED or 200 <= status < 300
    assert (state.verdict is Verdict.ACCEPTED) == (state.processing_status in PROCESSING_STATES)
    assert all(len(answer.message) <= 1000 and answer.message.isprintable() for answer in (upload, state))


ITEM = documents(
    itemSku=some("A", "B"),
    storeId=some("S1"),
    status=some("SUCCESS", "FAILED"),
    errorCode=some("E"),
    errorMessage=some("m"),
)
REPORTS = documents(
    ingestionId=some("ing-1"),
    processingStatus=some("DONE"),
    summary=documents(totalItems=some(2), succeeded=some(1, 2), failed=some(0, 1)),
    items=st.lists(ITEM | VALUES, max_size=4) | VALUES,
)


@settings(max_examples=400, deadline=None)
@given(REPORTS)
def test_a_report_acknowledges_nothing_on_its_own(document: dict[str, Any]) -> None:
    """A report is read or refused, and a row is acknowledged only when listed as a success or by the numbers."""
    sent = pl.DataFrame({"store_id": ["S1", "S1"], "item_sku": ["A", "B"]})
    try:
        report = parse_report(json.dumps(document).encode(), ingestion_id="ing-1")
    except NotAReport:
        return
    judged = outcomes(report, sent)

    assert judged.select("store_id", "item_sku").equals(sent)
    assert judged.select(pl.col("outcome", "code", "message").null_count()).row(0) == (0, 0, 0)
    listed = {
        str(entry.get("itemSku"))
        for entry in document.get("items") or []
        if isinstance(entry, dict) and str(entry.get("status")).strip().upper() == "SUCCESS"
    }
    acknowledged = set(judged.filter(pl.col("outcome") == "acknowledged")["item_sku"])
    assert acknowledged <= listed or (report.total == 2 and report.failed is not None)
