"""Bad nights and good ones on a retailer's real exports, which are not part of the checkout: skipped without them.

The real domain against the sandbox, in one process: what a person is told, what was sent, and the books.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import SimulatedClock
from tests.fast_place import fast_place
from tests.unit.stories.world import World, counts

from catalog_sync.books import remarks
from catalog_sync.errors import BadInput
from catalog_sync.release import approve, question
from catalog_sync.run import Kind

DATA = Path(os.environ.get("CATALOG_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
STORES = ("CHI-007", "LON-003", "NYC-014", "PDX-001", "SEA-001", "SEA-002")
MAPPING = {
    "item_sku": "item_no", "external_product_id": "gtin", "item_name": "descr", "store_id": "store_no",
    "product_category": "dept", "standard_price": "retail", "product_tax_code": "tax_cd",
}  # fmt: skip

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]


def day(number: int) -> pl.DataFrame:
    """One day's export."""
    path = DATA / f"erp_items_day{number}.csv.gz"
    if not path.exists():
        pytest.skip("the real exports are not here")
    return pl.read_csv(path, infer_schema=False)


def share(export: pl.DataFrame, percent: int) -> pl.Series:
    """Choose so many percent of the items, always the same ones."""
    return pl.Series(int(hashlib.sha256(no.encode()).hexdigest()[:8], 16) % 100 < percent for no in export["item_no"])


def times(factor: float) -> pl.Expr:
    """The prices, multiplied."""
    return (pl.col("retail").cast(pl.Float64, strict=False) * factor).round(2).cast(pl.String)


def repriced(export: pl.DataFrame, percent: int, factor: float) -> pl.DataFrame:
    """The export, the prices of some items multiplied."""
    return export.with_columns(retail=pl.when(share(export, percent)).then(times(factor)).otherwise("retail"))


class Retailer:
    """The retailer whose exports these are, after the first load of day 1."""

    def __init__(self, world: World) -> None:
        self.world, self.nights = world, 0
        world.changes = {"stores": {"ids": list(STORES)}, "mapping": MAPPING}
        self.day1 = day(1)
        self.first = self.night(self.day1)

    def night(self, export: pl.DataFrame) -> dict[str, Any]:
        """Let a night pass on an export, and return its books."""
        export.write_csv(self.world.source)
        self.world.wait(24)
        self.nights += 1
        return self.run(f"night-{self.nights}", Kind.NIGHT)

    def run(self, name: str, kind: Kind, **options: Any) -> dict[str, Any]:
        """Do a whole run, and return its books. ``sent`` is of this run only."""
        self.world.wire.uploads.clear()
        return self.world.job(name, kind, **options).whole()

    @property
    def sent(self) -> int:
        """How many rows the last run has sent."""
        return sum(len(upload) for upload in self.world.wire.uploads)

    def prices(self) -> dict[tuple[str, str], str]:
        """Amazon's active items: (store, SKU) → price."""
        rows = (item for item in self.world.amazon.rows() if item["state"] == "ACTIVE")
        return {(item["store_id"], item["item_sku"]): item["standard_price"] for item in rows}


@pytest.fixture(scope="module")
def retailer() -> Iterator[Retailer]:
    """The retailer after day 1. Each trial leaves Amazon's catalog as it found it, or as day 1 has it."""
    clock = SimulatedClock()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=fast_place()) as folder:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock.time(), UTC))
        yield Retailer(World(clock, Path(folder)))


def told(books: dict[str, Any]) -> set[tuple[str, str]]:
    """The guards that tripped, and where."""
    return {(one["code"], one["store"]) for one in books["guards"]}


def test_day_1_is_a_first_load(retailer: Retailer) -> None:
    """Nothing of it is held, and all that passes the contract is there."""
    books = retailer.first
    assert (books["state"], books["guards"]) == ("complete", [])
    assert books["total"]["read"] == len(retailer.day1) == books["total"]["rejected"] + books["total"]["acknowledged"]
    assert len(retailer.prices()) == books["total"]["acknowledged"]


def test_a_source_that_lost_40_percent_of_its_rows(retailer: Retailer) -> None:
    """Nothing is removed; what is new only because others are missing is held; the note says what happened."""
    before = retailer.prices()
    books = retailer.night(retailer.day1.filter(~share(retailer.day1, 40)))
    assert (told(books), books["state"], retailer.sent) == ({("SOURCE_SHORT", "")}, "complete", 0)
    assert 0 < books["held"]["rows"] < 20
    assert any("fewer than the" in remark for remark in remarks(books))
    assert retailer.prices() == before


def test_all_prices_times_a_hundred(retailer: Retailer) -> None:
    """Every row is held, in every store, and a person is shown it."""
    before = retailer.prices()
    books = retailer.night(retailer.day1.with_columns(retail=times(100)))
    assert (retailer.sent, books["held"]["rows"], books["total"]["planned"]) == (0, len(before), 0)
    assert {("GUARD_PRICES", store) for store in ("", *STORES)} <= told(books)
    shown = question(retailer.world.job(f"night-{retailer.nights}").open())["body"]
    assert f"**{len(before):,} rows are held**" in shown
    assert "+9,900.0 %" in shown
    assert len(shown) < 20_000
    assert retailer.prices() == before


def test_an_empty_file(retailer: Retailer) -> None:
    """A header without rows is told; a file without anything is an error. Neither removes anything."""
    before = retailer.prices()
    books = retailer.night(retailer.day1.head(0))
    assert told(books) == {("SOURCE_EMPTY", ""), *(("STORE_EMPTY", store) for store in STORES)}
    assert (books["state"], counts(books), retailer.sent) == ("complete", {}, 0)
    retailer.world.source.write_bytes(b"")
    with pytest.raises(BadInput, match="is empty: not even a header"):
        retailer.run("nothing", Kind.NIGHT)
    assert retailer.prices() == before


def test_a_store_left_the_source(retailer: Retailer) -> None:
    """What Amazon has of it stays; the other stores are as ever."""
    before = retailer.prices()
    books = retailer.night(retailer.day1.filter(pl.col("store_no") != "NYC-014"))
    assert (told(books), books["state"], retailer.sent) == ({("STORE_EMPTY", "NYC-014")}, "complete", 0)
    assert retailer.prices() == before


def test_a_store_left_the_configuration(retailer: Retailer) -> None:
    """Its rows are rejected and its items stay; the other stores' changes go on."""
    before = retailer.prices()
    retailer.world.changes["stores"] = {"ids": [store for store in STORES if store != "LON-003"]}
    books = retailer.night(repriced(retailer.day1, 1, 1.1))
    retailer.world.changes["stores"] = {"ids": list(STORES)}
    assert (told(books), books["state"]) == ({("STORE_CLOSED", "LON-003")}, "complete")
    assert 0 < retailer.sent == books["total"]["acknowledged"]
    changed = {key for key, price in retailer.prices().items() if price != before[key]}
    assert changed
    assert all(store != "LON-003" for store, _ in changed)
    retailer.night(retailer.day1)
    assert retailer.prices() == before


def test_a_repricing_of_30_percent_is_approved_by_hand(retailer: Retailer) -> None:
    """It is held until a person says so, and then exactly that is sent."""
    before, new = retailer.prices(), repriced(retailer.day1, 30, 1.3)
    books = retailer.night(new)
    held = books["held"]["rows"]
    assert {("GUARD_CHANGED", store) for store in ("", *STORES)} == told(books)
    assert (retailer.sent, retailer.prices()) == (0, before)
    run = retailer.world.job(f"night-{retailer.nights}").open()
    approve(run, question(run)["hash"][:12], "ann", "the new price list")
    books = retailer.run("release", Kind.BACKFILL, release=run.run_id)
    assert (retailer.sent, books["total"]["acknowledged"], books["state"]) == (held, held, "complete")
    assert sum(price != before[key] for key, price in retailer.prices().items()) == held
    books = retailer.night(new)
    assert (told(books), retailer.sent, books["total"]["planned"]) == (set(), 0, 0)


def test_a_backfill_of_one_store(retailer: Retailer) -> None:
    """The dry run says how many rows; then these are sent, and no other store's."""
    dry = retailer.run("dry", Kind.BACKFILL, stores=("PDX-001",), resend=True, dry_run=True)
    assert retailer.sent == 0
    books = retailer.run("backfill", Kind.BACKFILL, stores=("PDX-001",), resend=True)
    rows = sum(store == "PDX-001" for store, _ in retailer.prices())
    assert rows == dry["total"]["planned"] == books["total"]["acknowledged"] == retailer.sent
    assert {store for upload in retailer.world.wire.uploads for store, _ in upload} == {"PDX-001"}
