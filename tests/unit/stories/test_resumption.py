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
from tests.unit.stories.world import Died, Fate, Job, World, counts, row

from catalog_sync import tables
from catalog_sync.tables import Tables

SKUS = [f"SKU-{n}" for n in range(4)]


@pytest.fixture
def mortal(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with two batches to a night, in which commits to tables and requests to Amazon are effects, too."""
    commit = tables.write_deltalake
    monkeypatch.setattr(
        tables, "write_deltalake", lambda *args, **kwargs: world.fate.effect("commit", commit, *args, **kwargs)
    )
    world.wire.watch = lambda: world.fate.effect("request", lambda: None)
    world.changes = {"api": {"max_items": 2}, "ledger": {"table": world.name, "keep": "30h"}}
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
        world.fate = Fate(last=number)
        yield number, world.job(f"night-{number}")
        if not world.fate.last or not world.fate.dead:
            return
        world.wait(24)
        if number % 10 == 0:
            world.expire()


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


def test_every_task_is_retried_after_every_effect(mortal: World) -> None:
    """Airflow's retry of the task that died: the run ends complete, whatever was done already."""
    for number, job in lives(mortal):
        fate, books = mortal.fate, {}
        for stage in stages(job):
            try:
                books = stage()
            except Died:
                mortal.fate = Fate()
                mortal.clock.sleep(60)
                books = stage()
        check(mortal, f"v{number:03d}", job, books)
        mortal.fate = fate
    assert {"request", "commit", "transact_write_items", "delete_message_batch"} <= set(mortal.fate.done)


def test_every_run_is_abandoned_after_every_effect_and_the_next_night_ends_right(mortal: World) -> None:
    """Nobody clears the run that died: the next night sends what is due and settles what the dead one had sent."""
    for number, job in lives(mortal):
        fate = mortal.fate
        with contextlib.suppress(Died):
            for stage in stages(job):
                stage()
        mortal.wait(24)
        mortal.fate = Fate()
        mortal.write([row(n, f"v{number:03d}-next") for n in range(4)])
        heir = mortal.job(f"heir-{number}")
        check(mortal, f"v{number:03d}-next", heir, heir.whole())
        mortal.fate = fate
