"""A process may die after any single effect it has on the world outside: the run, or the next one, ends right (I4).

The effects are every write to the ledger, the lake, the tables and the queue, and every request to Amazon. One run
with two batches is killed after its first effect, the next one after its second, and so on, until one lives through.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.chaos.effects import Died
from tests.unit.stories.world import Job, World, counts, row

from catalog_sync import parallel, tables
from catalog_sync.books import remarks
from catalog_sync.tables import Tables

SKUS = [f"SKU-{n}" for n in range(4)]


@pytest.fixture
def mortal(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with two batches to a night, in which commits to tables are effects, too, one after the other."""
    commit = tables.write_deltalake

    def effect(*args: Any, **kwargs: Any) -> None:
        with world.fate.around("commit"):
            commit(*args, **kwargs)

    monkeypatch.setattr(tables, "write_deltalake", effect)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    world.changes = {"api": {"max_items": 2}, "ledger": {"keep": "30h"}}
    return world


def stages(job: Job) -> list[Callable[[], Any]]:
    """The tasks of a night, in order."""
    return [
        job.extract, job.read, job.plan, lambda: job.upload(1), lambda: job.upload(2), job.collect, job.settle,
        job.account,
    ]  # fmt: skip


def lives(world: World) -> Iterator[tuple[int, Job]]:
    """Yield a night for each effect after which it can be killed, with its number; each has a new version to send."""
    for number in itertools.count(1):
        world.write([row(n, f"v{number:03d}") for n in range(4)])
        world.fate.rest(last=number)
        died = len(world.fate.deaths)
        yield number, world.job(f"night-{number}")
        if len(world.fate.deaths) == died:
            return
        world.wait(24)
        world.ledger.forget(world.clock.time())


def check(world: World, version: str, job: Job, books: dict[str, Any]) -> None:
    """Hold the night to what it must have done, whatever happened on the way."""
    assert books["problems"] == []
    assert counts(books) == {"read": 4, "planned": 4, "sent": 4, "acknowledged": 4}
    assert world.catalog() == {("SEA-001", sku): version for sku in SKUS}
    assert {key: name for key, (name, _) in world.acknowledged().items()} == world.catalog()
    events = Tables(job.open().lake).read("events", [job.name])
    assert sorted(events["item_sku"]) == SKUS
    # Whatever was sent was never older than what had been sent of that row before.
    for sku in SKUS:
        versions = [upload["SEA-001", sku] for upload in world.wire.uploads if ("SEA-001", sku) in upload]
        assert versions == sorted(versions)


def died_after_everything(world: World) -> bool:
    """Tell whether there was a death after each kind of effect that a night has."""
    kinds = ("lake put", "lake create", "ledger write", "ledger transaction", "request", "queue delete", "commit")
    return {f"after {kind}" for kind in kinds} <= set(world.fate.deaths)


def test_every_task_is_retried_after_every_effect(mortal: World) -> None:
    """Airflow's retry of the task that died: the run ends complete, whatever was done already."""
    for number, job in lives(mortal):
        books: dict[str, Any] = {}
        for stage in stages(job):
            try:
                books = stage()
            except Died:
                mortal.fate.rest()
                mortal.clock.sleep(60)
                books = stage()
        check(mortal, f"v{number:03d}", job, books)
    assert died_after_everything(mortal)


def test_every_run_is_abandoned_after_every_effect_and_the_next_night_ends_right(mortal: World) -> None:
    """Nobody clears the run that died: the next night sends what is due and settles what the dead one had sent."""
    for number, job in lives(mortal):
        with contextlib.suppress(Died):
            for stage in stages(job):
                stage()
        mortal.fate.rest()
        mortal.wait(24)
        mortal.write([row(n, f"v{number:03d}-next") for n in range(4)])
        heir = mortal.job(f"heir-{number}")
        check(mortal, f"v{number:03d}-next", heir, heir.whole())
    assert died_after_everything(mortal)


def test_a_run_that_died_without_books_gets_them_from_the_first_run_a_day_later(world: World) -> None:
    """What was settled before then stands in no other run's books; that run says so, once."""
    world.job("dead").send([row(n) for n in range(4)])
    world.wait(2)
    books = world.night("soon")
    assert (counts(books), books["late"], books["abandoned"]) == ({"read": 4, "in_doubt": 4}, [], {})
    assert {name for name, _ in world.acknowledged().values()} == {"A"}
    world.wait(24)
    books = world.night("later")
    assert {run_id: (one["state"], one["total"]["acknowledged"]) for run_id, one in books["abandoned"].items()} == {
        "dead": ("complete", 4)
    }
    assert remarks(books) == [
        "run dead ended without books; they are made now, complete: read 4, planned 4, sent 4, acknowledged 4"
    ]
    assert world.job("dead").account()["total"] == books["abandoned"]["dead"]["total"]
    assert world.night("last")["abandoned"] == {}


def test_a_run_that_died_before_everything_was_paused_gets_its_books_all_the_same(world: World) -> None:
    """However long nobody looked, and once."""
    world.night("before", [row(n, "B") for n in range(4)])
    world.job("dead").send([row(n) for n in range(4)]).collect().settle()
    world.wait(9 * 24)
    assert world.night("later")["abandoned"]["dead"]["total"]["acknowledged"] == 4
    assert world.night("last")["abandoned"] == {}
