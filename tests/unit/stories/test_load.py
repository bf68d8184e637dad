"""More of everything than a night has: batches, notices, rows on a disk without room."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from obstore.store import LocalStore
from tests.unit.stories.world import World, counts, row

from catalog_sync.disk import KEEP_FREE, DiskNearlyFull
from catalog_sync.lake import Lake
from catalog_sync.plan import plan
from catalog_sync.run import Kind
from catalog_sync.tables import Tables
from catalog_sync.tickets import SPAN

#: One more than the longest list that Airflow maps by default.
BATCHES = 1025
QUEUED = 10_000


def test_a_plan_of_more_batches_than_airflow_maps(world: World) -> None:
    """Neighbours share a task; every batch is sent once, at the pace of the tickets, and every row is acknowledged."""
    world.changes = {"api": {"max_items": 2}}
    world.write([row(n) for n in range(2 * BATCHES)])
    job = world.job("r1").read()
    groups = job.plan()["groups"]
    assert len(groups) <= job.open().settings.api.max_upload_tasks < BATCHES
    assert [number for group in groups for number in group] == list(range(1, BATCHES + 1))
    assert len(plan(job.open(), max_groups=8)["groups"]) == 8
    before = world.clock.time()
    for group in groups:
        job.upload(*group)
    assert [len(upload) for upload in world.wire.uploads] == [2] * BATCHES
    assert world.clock.time() - before == pytest.approx(BATCHES * SPAN / 10, rel=0.01)
    books = job.end()
    assert (books["state"], counts(books)) == (
        "complete",
        {"read": 2 * BATCHES, "planned": 2 * BATCHES, "sent": 2 * BATCHES, "acknowledged": 2 * BATCHES},
    )
    assert counts(world.night("r2")) == {"read": 2 * BATCHES, "unchanged": 2 * BATCHES}


def test_ten_thousand_queued_notices_are_drained_in_one_hour(world: World) -> None:
    """Each is recorded and deleted, whosever it is; ours, which came among them and twice, are settled."""
    run = world.job("r1").send([row(n) for n in range(3)])
    world.wait(1)
    [ours] = world.notices
    strangers = [
        json.dumps({"ingestionId": f"stranger-{n}", "processingStatus": "DONE", "reportDownloadLink": ""})
        for n in range(QUEUED - 2)
    ]
    for text in [*strangers[: QUEUED // 2], ours, *strangers[QUEUED // 2 :]]:
        world.queues.put(text)
    world.job("hourly", Kind.COLLECT).collect().settle()
    assert world.queues.queues == {"results": [], "results-dlq": []}
    assert sum(key[0].startswith("INGESTION#stranger-") for key in world.ledger.items) == len(strangers)
    assert run.states() == ["DONE"]
    assert set(world.acknowledged()) == {("SEA-001", f"SKU-{n}") for n in range(3)}


def test_a_nearly_full_disk_stops_the_run_before_it_is_full(world: World) -> None:
    """The error names the folder, what is free and what to do; the run goes on where it stopped once there is room."""
    room = KEEP_FREE + 1000
    world.free = lambda folder: room
    world.write([row(n) for n in range(50)])
    with pytest.raises(DiskNearlyFull, match=r"lake = .*: its disk has 257 MiB free; .* 256 MiB must stay free"):
        world.job("r1").read()
    assert not list(world.lake.rglob("extract/*.json"))
    room = 2 * KEEP_FREE
    books = world.job("r1").whole()
    assert (books["state"], books["total"]["acknowledged"]) == ("complete", 50)


def test_the_tables_leave_room_too(folder: Path) -> None:
    """Delta Lake writes its files itself: it is not let to when there is no room for them."""
    lake = Lake(LocalStore(folder), str(folder), free=lambda folder: KEEP_FREE)
    tables = Tables(lake)
    rows = tables.read("refusals", ["SEA-001"])
    more = rows.vstack(rows.clear(1).with_columns(store_id=pl.lit("SEA-001"), item_sku=pl.lit("A")))
    with pytest.raises(DiskNearlyFull):
        tables.replace("refusals", ["SEA-001"], lambda _: more)
    assert Tables(lake).read("refusals", ["SEA-001"]).is_empty()
