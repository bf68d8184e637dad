"""Reports: whatever bytes lie behind the link."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import HOSTILE_JSON, JSON, damaged, documents, dumps, hostile_values, is_told_well, some

from catalog_sync import reports
from catalog_sync.reports import NotAReport, outcomes, parse, strangers

ITEM = documents(
    itemSku=some("A", "B"),
    storeId=some("S1"),
    status=some("SUCCESS", "FAILED", "success "),
    errorCode=some("E"),
    errorMessage=some("m", "x" * 1000),
)
COUNT = some(2, 1, 0, -1, "2", "9" * 5000, 10**400, 2.0, True)
REPORT = documents(
    ingestionId=some("ing-1"),
    processingStatus=some("DONE"),
    summary=documents(totalItems=COUNT, succeeded=COUNT, failed=COUNT),
    items=st.lists(ITEM | JSON, max_size=4) | JSON,
)
SENT = pl.DataFrame({"store_id": ["S1", "S1"], "item_sku": ["A", "B"]})
GOOD = json.dumps(
    {
        "ingestionId": "ing-1", "processingStatus": "DONE",
        "summary": {"totalItems": 2, "succeeded": 1, "failed": 1},
        "items": [
            {"itemSku": "A", "storeId": "S1", "status": "SUCCESS"},
            {"itemSku": "B", "storeId": "S1", "status": "FAILED", "errorCode": "X", "errorMessage": "no"},
        ],
    }
).encode()  # fmt: skip


def judge(data: bytes) -> pl.DataFrame | None:
    """Read the bytes and judge the rows that were sent; ``None`` when it is no report."""
    try:
        report = parse(data, ingestion_id="ing-1")
    except NotAReport as problem:
        is_told_well(problem)
        return None
    assert strangers(report, SENT) >= 0
    judged = outcomes(report, SENT)
    assert judged.select("store_id", "item_sku").equals(SENT)
    assert judged.select(pl.col("outcome", "code", "message").null_count()).row(0) == (0, 0, 0)
    assert set(judged["outcome"]) <= {"acknowledged", "refused", "unknown"}
    return judged


@given(st.binary() | (JSON.map(dumps) | HOSTILE_JSON | hostile_values(REPORT)).map(lambda text: text.encode()))
def test_any_bytes_are_a_report_or_none(data: bytes) -> None:
    """Only ``NotAReport`` comes out; the rows that were sent all have one end, and no other row has any."""
    RAN["reports"] += 1
    judge(data)


@given(damaged(GOOD) | damaged(gzip.compress(GOOD, mtime=0)), st.booleans())
def test_a_damaged_report_acknowledges_no_refused_row(data: bytes, compressed: bool) -> None:
    """However it is damaged: a row is acknowledged only where the bytes say so."""
    RAN["damaged reports"] += 1
    judged = judge(gzip.compress(data, mtime=0) if compressed else data)
    if judged is not None and b"SUCCESS" not in data and not data.startswith(b"\x1f"):
        listed = json.loads(data.removeprefix(b"\xef\xbb\xbf")).get("summary")
        assert "acknowledged" not in set(judged["outcome"]) or listed


def test_a_bomb_is_refused_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few KB that would unpack to a hundred MB are given up at the limit."""
    monkeypatch.setattr(reports, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (100 << 20), compresslevel=9)
    tracemalloc.start()
    with pytest.raises(NotAReport):
        parse(bomb, ingestion_id="ing-1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
