"""Which guard holds which row, in a retailer of many stores."""

from __future__ import annotations

from typing import Any, cast

import polars as pl
import pytest

from catalog_sync.doubt import BetterKnown
from catalog_sync.guards import EVERYWHERE, Guard, Trip
from catalog_sync.held import hold

STORES = [f"S-{number:03}" for number in range(300)]


def trip(guard: Guard, store: str = EVERYWHERE) -> Trip:
    """A guard that stops."""
    return Trip(guard.value, store, 2, 1, "")


def test_every_store_may_trip_every_guard() -> None:
    """Six hundred trips hold each row by the first of its own; a row that something else holds stays as it is."""
    rows = pl.DataFrame({"store_id": STORES, "action": "changed", "price_moved": True, "hold": ""})
    rows = rows.with_columns(
        hold=pl.when(pl.col("store_id") == STORES[0]).then(pl.lit("BARCODE_WAITS")).otherwise("hold")
    )
    trips = [trip(guard, store) for store in STORES[:-1] for guard in (Guard.PRICES, Guard.CHANGED)]
    made = hold(rows, trips, STORES)
    assert made["hold"].to_list() == ["BARCODE_WAITS", *[Guard.PRICES.value] * 298, ""]
    assert hold(rows, [*trips, trip(Guard.CHANGED)], STORES)["hold"].to_list()[-1] == Guard.CHANGED.value
    assert hold(rows, [], STORES)["hold"].to_list() == rows["hold"].to_list()


def test_a_guard_on_all_stores_spares_first_loads() -> None:
    """What is new in a store that was never loaded is no surprise."""
    rows = pl.DataFrame({"store_id": STORES[:2], "action": "new", "price_moved": False, "hold": ""})
    assert hold(rows, [trip(Guard.NEW)], STORES[:1])["hold"].to_list() == [Guard.NEW.value, ""]


def test_many_runs_may_have_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that is opened after hundreds of newer plans leaves each row to the first run that knows better."""
    rows = pl.DataFrame({"store_id": STORES, "item_sku": "A"})
    planned = rows.head(1).with_columns(_by=pl.lit("r-planned"))
    newer = {f"r{number}": pl.col("store_id") == STORES[number] for number in range(299)}
    monkeypatch.setattr(BetterKnown, "_as_it_is", lambda self, rows: pl.repeat(False, len(rows), eager=True))
    why = BetterKnown(cast(Any, None), planned, newer).of(rows).to_list()
    assert why[0] == "run r-planned has planned them since"
    assert why[1:] == [*(f"run r{number} has read them later" for number in range(1, 299)), None]
