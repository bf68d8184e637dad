"""What is sent, and what is left alone."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from catalog_sync.clock import utc
from catalog_sync.diff import diff
from catalog_sync.tables import REFUSALS

NOW = 1_790_000_000.0
ITEM = {"store_id": "A", "item_sku": "1", "content_hash": "h1", "holder": ""}
ROW = {"store_id": "A", "item_sku": "1", "content_hash": "h1", "state": "ACTIVE", "dirty_until": None}
_ROWS = {
    "store_id": pl.String, "item_sku": pl.String, "content_hash": pl.String, "state": pl.String, "dirty_until":
    pl.Int64,
}  # fmt: skip
KEYS = {"store_id": pl.String, "item_sku": pl.String}


def refusal(ids: int, age: timedelta = timedelta(hours=1), **changes: object) -> dict[str, object]:
    """A refusal of the item by so many ingestions."""
    at = utc(NOW) - age
    return {
        "store_id": "A", "item_sku": "1", "content_hash": "h1", "code": "X", "message": "", "holder": "",
        "ingestion_ids": [f"i{n}" for n in range(ids)], "first_seen": at, "last_seen": at, **changes,
    }  # fmt: skip


def action(item=ITEM, row=None, refusals=(), in_doubt=(), resend=False) -> str:
    """The action for one item."""
    frame = diff(
        pl.DataFrame([item]),
        pl.DataFrame([row] if row else [], schema=_ROWS),
        pl.DataFrame(list(refusals), schema=REFUSALS),
        pl.DataFrame(list(in_doubt), schema=KEYS, orient="row"),
        NOW,
        resend,
    )
    assert len(frame) == 1
    return frame["action"].item()


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        ("new", {}),
        ("unchanged", {"row": ROW}),
        ("changed", {"row": {**ROW, "content_hash": "h0"}}),
        ("reactivated", {"row": {**ROW, "state": "ARCHIVED"}}),
        ("resent", {"row": {**ROW, "dirty_until": 7}}),
        ("resent", {"row": ROW, "in_doubt": [("A", "1")]}),
        ("unchanged", {"row": ROW, "in_doubt": [("B", "1")]}),
        ("resent", {"row": ROW, "resend": True}),
        ("suspended", {"refusals": [refusal(2)]}),
        ("new", {"refusals": [refusal(2, age=timedelta(hours=13))]}),
        ("suspended", {"refusals": [refusal(3, age=timedelta(hours=13))]}),
        ("suspended", {"refusals": [refusal(3)]}),
        ("new", {"refusals": [refusal(3)], "resend": True}),
        ("suspended", {"refusals": [refusal(3)], "row": {**ROW, "content_hash": "h0"}}),
        ("new", {"refusals": [refusal(3, content_hash="h0")]}),
        ("new", {"refusals": [refusal(3, age=timedelta(days=7, seconds=1))]}),
        ("new", {"refusals": [refusal(3, holder="2")]}),
        ("suspended", {"refusals": [refusal(3, holder="2")], "item": {**ITEM, "holder": "2"}}),
    ],
)
def test_action(expected: str, arguments: dict) -> None:
    """Equal and active and proven is unchanged; refusals suspend, three of them for a week."""
    assert action(**arguments) == expected
