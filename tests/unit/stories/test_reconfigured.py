"""The configuration changes between two tasks, or two nights: a run stays what it was, and nothing is mistaken."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.stories.world import TOPIC, World, counts, row

from catalog_sync import account, slices
from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.run import Kind, Run

SEA, PDX = "SEA-001", "PDX-001"
ROWS = [row(n, store=store) for n in range(3) for store in (SEA, PDX)]


def source(world: World, name: str) -> dict[str, Any]:
    """The source of the world, under a name."""
    return {"name": name, "kind": "file", "path": str(world.source), "format": "csv"}


def test_a_run_has_the_stores_that_it_began_with(world: World) -> None:
    """One that is configured between two of its tasks comes with the next run, with all that sources have of it."""
    world.changes = {"stores": {"ids": [SEA]}}
    world.write(ROWS)
    job = world.job("n1")
    job.extract()
    world.changes = {"stores": {"ids": [SEA, PDX]}}
    job.read().plan()
    job.upload()
    assert counts(job.end()) == {"read": 6, "rejected": 3, "planned": 3, "sent": 3, "acknowledged": 3}
    assert counts(world.night("n2"))["acknowledged"] == 3
    assert {store for store, _ in world.catalog()} == {SEA, PDX}


def test_a_run_for_a_store_that_is_configured_too_late_is_cleared(world: World) -> None:
    """What the form asked for was refused; now the store is there."""
    world.changes = {"stores": {"ids": [SEA]}}
    world.write(ROWS)
    job = world.job("b", Kind.BACKFILL, stores=(PDX,))
    with pytest.raises(Misconfigured, match="PDX-001: not among the configured stores"):
        job.extract()
    world.changes = {"stores": {"ids": [SEA, PDX]}}
    assert counts(job.whole())["acknowledged"] == 3


def test_a_store_that_closes_between_two_tasks_is_that_runs_still(world: World) -> None:
    """What was read is sent; the next run tells that the store is closed."""
    job = world.job("n1").read(ROWS)
    world.changes = {"stores": {"ids": [SEA]}}
    job.plan()
    job.upload()
    assert job.end()["guards"] == []
    assert {(one["code"], one["store"]) for one in world.night("n2")["guards"]} == {("STORE_CLOSED", PDX)}


@pytest.mark.parametrize("stage", ["shards", "plan"])
def test_a_source_that_is_renamed_in_mid_run_is_told(world: World, stage: str) -> None:
    """The stages that follow say so, and that a new run is the way."""
    world.changes = {"sources": [source(world, "erp")]}
    world.write(ROWS)
    job = world.job("n1")
    job.extract()
    if stage == "plan":
        job.read()
    world.changes = {"sources": [source(world, "sap")]}
    with pytest.raises(Misconfigured, match="sources = sap: the run began with erp; start a new run"):
        job.plan() if stage == "plan" else job.read()


def test_a_night_that_reads_a_renamed_source_is_newer_than_an_old_slice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the source was called does not matter: older rows are not sent after a newer reading (I4)."""
    monkeypatch.setattr(slices, "SLICE", 1)
    world.changes = {"api": {"max_items": 1}, "sources": [source(world, "erp")]}
    world.night("first", [row(n) for n in range(3)])
    backfill = world.job("b", Kind.BACKFILL).read([row(n, "X") for n in range(3)])
    backfill.plan()
    backfill.upload(1)
    world.changes |= {"sources": [source(world, "sap")]}
    world.job("n").read([row(n) for n in range(3)]).plan()
    assert backfill.upload(2, 3)["items"] == 0


def test_a_sku_that_no_rule_takes_any_more_is_not_gone(world: World) -> None:
    """It leaves one store, and another still lists it: it is archived in neither (I7)."""
    world.retailer(SEA, PDX)
    world.changes = {"archive": {"after": 2}, "guards": {"source": {"percent": 60, "min_rows": 3}}}
    rows = [*ROWS, *({**row(9, store=store), "item_no": "AB-1"} for store in (SEA, PDX))]
    world.night("n1", rows)
    world.changes |= {"rules": {"SKU_FORMAT": {"pattern": "SKU-[0-9]+"}}}
    world.wait(24)
    assert world.night("n2")["total"]["rejected"] == 2
    for number in range(4):
        world.wait(24)
        books = world.night(f"left-{number}", rows[:-1])
    assert (books["archives"]["due"], world.wire.archives) == (0, [])
    assert {(SEA, "AB-1"), (PDX, "AB-1")} <= set(world.catalog())


def test_a_lake_belongs_to_one_retailer(world: World) -> None:
    """Its plan numbers would begin anew, and what is acknowledged would never stand. A dry run claims nothing."""
    world.write(ROWS)
    world.changes = {"retailer": "acme-draft"}
    world.job("draft", dry_run=True).read().plan()
    world.changes = {}
    world.night("n1", ROWS)
    world.changes = {"retailer": "acme-stores"}
    for dry_run in (False, True):
        with pytest.raises(Misconfigured, match=r"belongs to retailer 'acme'.*not 'acme-stores'.*deployment\.json"):
            world.job(f"n2-{dry_run}", dry_run=dry_run).extract()
    assert counts(world.job("n1").open().lake.get_json("runs/n1/books.json"))["acknowledged"] == 6


def test_a_dead_run_whose_books_cannot_be_made_stops_no_night(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which, and why; the night has books of its own."""
    world.job("dead").send(ROWS)
    world.wait(48)
    gather = account.gather

    def broken(run: Run) -> dict[str, Any]:
        if run.run_id == "dead":
            raise BadInput("runs/dead/plan.json: there is no such object in the lake")
        return gather(run)

    monkeypatch.setattr(account, "gather", broken)
    assert (world.night("n2")["state"], "books of run dead" in caplog.text) == ("complete", True)


def test_a_long_horizon_leaves_no_dead_run_without_books(world: World) -> None:
    """The look back begins where the horizon ends."""
    world.changes = {"results": {"queue": "results", "topic_arn": TOPIC, "signed": False, "horizon": "7d"}}
    world.job("dead").send(ROWS).collect().settle()
    world.wait(8 * 24)
    assert "dead" in world.night("n2")["abandoned"]
