"""The limits: what is too much, of what, and whom a first load is spared from."""

from __future__ import annotations

from typing import Any

import pytest

from catalog_sync.guards import EVERYWHERE, judge, too_many
from catalog_sync.settings import Guards
from catalog_sync.settings_parts import Limit

LOOSE = {name: {"percent": 100} for name in ("changed", "new", "prices", "rejected")}


def guards(**changes: Any) -> Guards:
    """Guards that let everything through but for what is given."""
    return Guards.model_validate({"store": LOOSE, "total": LOOSE, **changes})


@pytest.mark.parametrize(
    ("rows", "of", "limit", "expected"),
    [
        (20, 100, {"percent": 20, "min_rows": 1}, False),
        (21, 100, {"percent": 20, "min_rows": 1}, True),
        (21, 100, {"percent": 20, "min_rows": 22}, False),
        (6, 1_000_000, {"percent": 20, "min_rows": 1, "max_rows": 5}, True),
        (6, 1_000_000, {"percent": 20, "min_rows": 7, "max_rows": 5}, False),
        (100, 100, {"percent": 100, "min_rows": 1}, False),
        (1_000, 0, {"percent": 1, "min_rows": 1}, False),
    ],
)
def test_what_is_too_much(rows: int, of: int, limit: dict[str, Any], expected: bool) -> None:
    """Over the percentage or over the number, but never fewer rows than the least, nor measured against nothing."""
    assert too_many(rows, of, Limit.model_validate(limit)) is expected


@pytest.mark.parametrize(
    ("name", "counts", "code"),
    [
        ("changed", {"active": 100, "changed": 30}, "GUARD_CHANGED"),
        ("new", {"active": 100, "new": 20, "reactivated": 10}, "GUARD_NEW"),
        ("prices", {"active": 100, "changed": 30, "price_moved": 30}, "GUARD_PRICES"),
        ("rejected", {"active": 5, "read": 100, "rejected": 30}, "GUARD_REJECTED"),
    ],
)
def test_each_guard_for_a_store_and_for_all(name: str, counts: dict[str, int], code: str) -> None:
    """The store's own limit and that of all stores are two; each trip says what, of what, and the limit."""
    limit = {**LOOSE, name: {"percent": 25, "min_rows": 10}}
    [trip] = judge({"S1": counts}, {"S1"}, guards(store=limit))
    assert (trip.code, trip.store, trip.rows, trip.of) == (code, "S1", 30, 100)
    assert trip.message.startswith("S1: 30 ")
    assert trip.message.endswith("the limit is 25 %")
    [trip] = judge({"S1": counts}, {"S1"}, guards(total=limit))
    assert (trip.code, trip.store) == (code, EVERYWHERE)


def test_a_first_load_is_spared() -> None:
    """New rows and rejects of a store that is not adopted count nowhere; its changes do."""
    limits = {name: {"percent": 10, "min_rows": 10} for name in LOOSE}
    load = {"S1": {"active": 100, "read": 1000, "new": 800, "rejected": 200}}
    assert judge(load, set(), guards(store=limits, total=limits)) == []
    changed = {"S1": {"active": 100, "read": 1000, "changed": 50}}
    assert [trip.code for trip in judge(changed, set(), guards(store=limits))] == ["GUARD_CHANGED"]


def test_all_stores_together() -> None:
    """Each store stays below its limit, all of them are above theirs; rows of no store count in all."""
    counts = {
        "S1": {"active": 100, "changed": 12},
        "S2": {"active": 100, "changed": 12},
        "–": {"read": 3, "rejected": 3},
    }
    limit = {**LOOSE, "changed": {"percent": 10, "min_rows": 20}}
    [trip] = judge(counts, {"S1", "S2"}, guards(total=limit))
    assert (trip.store, trip.rows, trip.of) == (EVERYWHERE, 24, 200)
    assert trip.message == "all stores: 24 rows change, 12.0 % of the 200 that Amazon has; the limit is 10 %"
