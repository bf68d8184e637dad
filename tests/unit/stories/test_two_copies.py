"""Two live copies of one task: the one that Airflow took for dead wakes up beside its successor, or after it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from tests.unit.stories.test_cleared import held, rows
from tests.unit.stories.test_slices import sliced
from tests.unit.stories.world import TOPIC, World

from catalog_sync import journal
from catalog_sync.errors import RetryLater, Superseded
from catalog_sync.lease import Lease
from catalog_sync.run import Kind, Run
from catalog_sync.upload import _BatchSender

__all__ = ["sliced"]


@pytest.fixture
def stop(world: World) -> Callable[[Callable[[float], None]], None]:
    """Return a function that lets the next process that waits do something else while it does, once."""
    sleep = world.clock.sleep

    def stopped(meanwhile: Callable[[float], None]) -> None:
        def once(seconds: float) -> None:
            world.clock.sleep = sleep  # type: ignore[method-assign]
            sleep(seconds)
            meanwhile(seconds)

        world.clock.sleep = once  # type: ignore[method-assign]

    return stopped


def test_a_request_that_was_held_up_is_not_sent_after_a_newer_runs_rows(
    world: World, stop: Callable[[Callable[[float], None]], None]
) -> None:
    """I4: what is no longer in doubt must not be on its way any more, however short ``results.give_up_after`` is."""
    soon = {"poll_after": "1m", "give_up_after": "5m", "horizon": "1h"}
    world.changes = {"results": {"queue": "results", "topic_arn": TOPIC, "signed": False, **soon}}
    world.night("n1", rows("A"))
    world.wait(1)
    job = world.job("r").read(rows("B"))
    job.plan()

    def meanwhile(seconds: float) -> None:
        job.upload()
        job.end()
        world.clock.sleep(360)
        world.job("n2").read(rows("C")).send()

    stop(meanwhile)  # it has recorded its attempt and waits for a ticket
    with pytest.raises(Superseded, match="run n2 has made plan"):
        job.upload()
    assert set(world.wire.uploads[-1].values()) == {"C"}


def test_a_plan_that_waits_beside_its_successor_takes_nothing_once_the_plan_stands(
    world: World, stop: Callable[[Callable[[float], None]], None]
) -> None:
    """It gets the plan that was made; the lease is free, and the next night is not told to leave rows to it."""
    other = world.job("other", Kind.BACKFILL, resend=True).read(rows("A"))
    other.plan()
    night, later = world.job("night").read(rows("B")), world.job("later")

    def meanwhile(seconds: float) -> None:
        other.upload()
        other.end()
        world.wait(5)  # what the other has sent is in doubt no more
        night.plan()
        night.upload()
        night.end()
        world.wait(5)
        later.read(rows("C"))

    stop(meanwhile)
    assert night.plan()["plan_number"] == night.open().plan["plan_number"]
    assert Lease.of(night.open()).read().held_until == 0
    later.plan()
    assert later.open().plan["rows"] == 4


def test_a_plan_that_lost_the_lease_leaves_what_a_later_run_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of what is held is not written by whoever may plan no more."""
    world.night("first", rows("A"))
    world.wait(24)
    world.changes |= {"guards": {"store": {"changed": {"percent": 50, "min_rows": 1}}}}
    module = importlib.import_module("catalog_sync.plan")
    job, told, seen = world.job("r").read(rows("A", "B", (0,))), module.planned_between, []

    def stopped(run: Run, *numbers: int) -> list[str]:
        if not seen:
            seen.append(None)
            world.wait(0.3)
            world.job("n2").read(rows("D")).plan()
            seen[0] = held(world)
        found: list[str] = told(run, *numbers)
        return found

    monkeypatch.setattr(module, "planned_between", stopped)
    with suppress(RetryLater):
        job.plan()
    assert len(seen[0]) == 4
    assert held(world).equals(seen[0])


def test_an_account_that_was_stopped_says_nothing_once_the_books_are_complete(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own reading is old by then: the list of runs goes on saying *complete*, and nothing incomplete is written."""
    module = importlib.import_module("catalog_sync.account")
    world.faults("late", late_by=5 * 3600)
    world.write(rows("A", "B", (0,)))
    job = world.job("n2").send()
    job.collect().settle()
    world.faults()
    world.wait(2)
    hour, gather, stops = world.job("hour", Kind.COLLECT).collect(), module.gather, [True]

    def stopped(run: Run) -> dict[str, Any]:
        made: dict[str, Any] = gather(run)
        if stops and stops.pop():
            hour.settle()
            assert job.account()["state"] == "complete"
        return made

    monkeypatch.setattr(module, "gather", stopped)
    assert job.account()["state"] == "complete"
    record = journal.record_of(job.open())
    assert record is not None
    assert record["state"] == "complete"
    assert not job.open().lake.exists(job.open().key("books-incomplete.json"))


def test_a_task_of_an_earlier_slice_gives_up_no_later_ones_lease(sliced: World) -> None:
    """It is cleared, or wakes up, while the second slice is being sent."""
    job = sliced.job("b", Kind.BACKFILL, resend=True).read()
    job.plan()
    job.upload(1)
    seen: list[float] = []

    def meanwhile() -> None:
        sliced.wire.watch = lambda: None
        job.upload(1)
        seen.append(Lease.of(job.open()).read().held_until)

    sliced.wire.watch = meanwhile
    job.upload(2)
    assert seen[0] > sliced.clock.time()


def test_a_report_that_is_archived_after_it_was_given_up_still_counts(world: World) -> None:
    """One process cannot fetch it and gives up while another archives it; the report is read in the end."""
    world.write(rows("A", "B", (0,)))
    job = world.job("n2").send()
    world.wait(4.1)
    night, hour, stops = job.collector(), world.job("h1", Kind.COLLECT).collector(), [True]
    night.step()  # DONE, with a link

    def get(request: httpx.Request) -> httpx.Response | None:
        if stops and stops.pop():
            world.wire.reports = lambda request: httpx.Response(503)
            night.archive()
            world.wire.reports = get
        return None

    world.wire.reports = get
    hour.archive()
    job.settle()
    world.wait(1)
    world.job("h2", Kind.COLLECT).collect().settle()
    assert world.acknowledged()["SEA-001", "SKU-0"] == ("B", False)


def test_a_link_that_failed_for_another_does_not_take_a_fresh_one_along(world: World) -> None:
    """A process that was stopped while it fetched wakes up; by then the status API has given another link."""
    world.write(rows("A", "B", (0,)))
    job = world.job("n2").send()
    world.wait(1)
    job.collector().step()
    [before] = job.attempts()
    attempts = job.collector().attempts
    attempts.link_failed(before, "expired")
    attempts.ledger.update(before.key.pk, before.key.sk, {"link": "https://fresh.test/report", "link_at": 1.0})
    attempts.link_failed(before, "expired, and says so late")
    assert job.attempts()[0].link == "https://fresh.test/report"


def test_a_copy_that_finds_its_attempt_begun_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number was taken by the other copy: what is left is for the next try, not for the next night."""
    world.write(rows("A", "B", (0,)))
    job = world.job("n2").read()
    job.plan()
    send, stops = _BatchSender.send_all, [True]

    def beside(sender: _BatchSender) -> None:
        if stops and stops.pop():
            job.upload()
        send(sender)

    monkeypatch.setattr(_BatchSender, "send_all", beside)
    with pytest.raises(RetryLater, match="begun by another process"):
        job.upload()
    assert job.upload()["requests"] == 0
    assert job.end()["state"] == "complete"
