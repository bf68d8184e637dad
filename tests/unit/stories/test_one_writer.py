"""One writer at a time (design section 7): whoever read later wins, and nobody sends an older row after a newer one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.stories.world import Job, World, counts, row

from catalog_sync.errors import RetryLater, Superseded
from catalog_sync.lease import LEASE_SECONDS, Lease
from catalog_sync.run import Kind


def rows(name: str, skus: int = 4) -> list[dict[str, str]]:
    """Rows of one store, of the version ``name``."""
    return [row(n, name) for n in range(skus)]


def sent(world: World) -> list[str]:
    """The versions that were sent, upload by upload; no upload here mixes them."""
    return [name for upload in world.wire.uploads for name in set(upload.values())]


def test_of_two_nights_that_overlap_the_one_that_read_later_is_the_last_to_send(world: World) -> None:
    """The slow night read A before the quick one read and sent B: it leaves those rows alone and says for whom."""
    slow = world.job("slow").read(rows("A"))
    quick = world.job("quick").read(rows("B")).send()
    slow.plan()
    books = slow.end()
    assert counts(books) == {"read": 4, "in_doubt": 4}
    quick.end()
    assert (sent(world), world.names()) == (["B"], {"B"})
    assert slow.left_to() == {"run quick has read them later"}


@pytest.mark.parametrize("now", ["B", "A"], ids=["went-on", "went-back"])
def test_of_two_nights_that_begin_together_the_one_that_reads_later_counts(world: World, now: str) -> None:
    """Both have begun before either reads. The one that read later has the word, also where it has nothing to send."""
    world.night("before", rows("A"))
    slow, quick = world.job("slow"), world.job("quick")
    for job in (slow, quick):
        world.clock.sleep(1)
        assert job.open().manifest["started_at"] == world.clock.time()
    world.clock.sleep(1)
    slow.read(rows("OLD"))
    world.clock.sleep(1)
    quick.read(rows(now)).plan()
    if now == "B":
        quick.upload()
    slow.plan()
    assert counts(slow.end()) == {"read": 4, "in_doubt": 4}
    quick.end()
    assert (sent(world)[1:], world.names()) == (["B"] if now == "B" else [], {now})


def test_a_count_that_was_answered_by_nobody_does_not_give_the_lease_up_early(world: World) -> None:
    """botocore repeats a write whose answer was lost; two batches are not sent because one was counted twice."""
    world.changes = {"api": {"max_items": 1}}
    night = world.job("night").read(rows("A", skus=2))
    night.plan()
    update, transact = world.ledger.update_item, world.ledger.transact_write_items

    def repeated(write: Callable[..., Any]) -> Callable[..., Any]:
        def twice(**request: Any) -> Any:
            adds = any("ADD" in one.get("UpdateExpression", "") for one in updates(request))
            # A transaction has a token by which DynamoDB knows it again; a write on its own has none.
            if adds and "TransactItems" not in request:
                write(**request)
            return write(**request)

        return twice

    def updates(request: dict[str, Any]) -> list[dict[str, Any]]:
        return [one["Update"] for one in request.get("TransactItems", ()) if "Update" in one] or [request]

    world.ledger.update_item = repeated(update)  # type: ignore[method-assign]
    world.ledger.transact_write_items = repeated(transact)  # type: ignore[method-assign]
    night.upload(1)
    assert Lease.of(night.open()).read().held_until > world.clock.time()
    night.upload(2)
    assert Lease.of(night.open()).read().held_until <= world.clock.time()


def test_a_night_waits_for_the_run_that_sends(world: World) -> None:
    """The lease is taken: the plan asks again until it is given up, and only then decides what is due."""
    quick = world.job("quick").read(rows("A"))
    quick.plan()
    slow = world.job("slow").read(rows("B"))
    sleep, waited = world.clock.sleep, []

    def while_waiting(seconds: float) -> None:
        waited.append(seconds)
        sleep(seconds)
        if len(waited) == 3:
            world.clock.sleep = sleep
            quick.upload()
            quick.end()

    world.clock.sleep = while_waiting
    slow.plan()
    slow.upload()
    assert (slow.end()["state"], sent(world), world.names()) == ("complete", ["A", "B"], {"B"})


def test_a_night_that_waits_in_vain_is_left_to_a_retry_which_says_who_sends(world: World) -> None:
    """After a quarter of an hour the plan task is retried instead of holding its slot."""
    backfill = world.job("backfill", Kind.BACKFILL).read(rows("A"))
    backfill.plan()
    night = world.job("night").read()
    began = world.clock.time()
    sleep = world.clock.sleep

    def while_waiting(seconds: float) -> None:
        sleep(seconds)
        backfill.renew()

    world.clock.sleep = while_waiting
    with pytest.raises(RetryLater, match=r"run backfill is sending \(plan 1\)"):
        night.plan()
    assert 900 <= world.clock.time() - began < 1000


@pytest.mark.parametrize("kind", [Kind.BACKFILL, Kind.COMMAND])
def test_a_night_and_another_writer_share_the_catalog(world: World, kind: Kind) -> None:
    """A backfill or a command for two SKUs, begun after the night had read: the night sends only the other rows."""
    night = world.job("night").read(rows("A"))
    other = world.job("other", kind, skus=("SKU-0", "SKU-1"))
    books = other.read(rows("B")).send().end()
    assert counts(books) == {"read": 4, "out_of_scope": 2, "planned": 2, "sent": 2, "acknowledged": 2}
    night.plan()
    night.upload()
    assert counts(night.end()) == {"read": 4, "in_doubt": 2, "planned": 2, "sent": 2, "acknowledged": 2}
    assert world.catalog() == {("SEA-001", f"SKU-{n}"): "B" if n < 2 else "A" for n in range(4)}
    assert world.night("next")["state"] == "complete"
    assert world.names() == {"B"}


def test_an_upload_task_of_monday_cleared_on_wednesday_sends_nothing(world: World) -> None:
    """It is superseded and names the run that took over, whether or not that one has sent the row."""
    monday = world.job("monday").read(rows("A"))
    monday.plan()
    world.wait(24)
    world.night("tuesday", rows("B"))
    world.wait(24)
    with pytest.raises(Superseded, match=r"run monday holds plan 1, but run tuesday has made plan 2 since"):
        monday.upload()
    assert (sent(world), world.names()) == (["B"], {"B"})
    books = monday.end()
    assert (books["state"], counts(books)) == ("incomplete", {"read": 4, "planned": 4, "unsent": 4})


@pytest.mark.parametrize("tuesday", ["A", "B"], ids=["went-back", "went-on"])
def test_a_plan_of_monday_cleared_on_wednesday_plans_nothing(world: World, tuesday: str) -> None:
    """Monday read X and died; Tuesday read later, and even where it found nothing to send its word counts."""
    world.night("load", rows("A"))
    monday = world.job("monday").read(rows("X"))
    world.wait(24)
    world.night("tuesday", rows(tuesday))
    world.wait(24)
    assert monday.plan()["rows"] == 0
    assert (counts(monday.end()), "X" in sent(world)) == ({"read": 4, "in_doubt": 4}, False)
    assert monday.left_to() == {"run tuesday has read them later"}
    assert world.names() == {tuesday}


def test_a_prepare_of_monday_cleared_on_wednesday_changes_nothing(world: World) -> None:
    """Monday died before it had compared its rows: compared on Wednesday they look new, and are not sent."""
    monday = world.job("monday")
    world.write(rows("A"))
    monday.extract()
    world.wait(24)
    world.night("tuesday", rows("B"))
    world.wait(24)
    monday.read()
    monday.plan()
    assert (counts(monday.end()), sent(world)) == ({"read": 4, "in_doubt": 4}, ["B"])


def test_collecting_and_settling_monday_on_wednesday_does_not_undo_tuesday(world: World) -> None:
    """Monday's report is archived and settled after Tuesday's: the newer rows stand, and are proven again."""
    world.faults("late", late_by=5 * 3600)
    monday = world.job("monday").send(rows("A"))
    world.wait(4.5)
    world.night("tuesday", rows("B"))
    world.wait(24)
    assert world.names() == {"A"}
    monday.collect()
    monday.settle()
    assert (monday.account()["state"], world.acknowledged()["SEA-001", "SKU-0"]) == ("complete", ("B", True))
    world.night("wednesday", rows("B"))
    assert (sent(world), world.names(), world.dirty()) == (["A", "B", "B"], {"B"}, set())


def test_the_lease_of_a_run_that_died_is_taken_over(world: World) -> None:
    """A quarter of an hour after its last request; what it had sent is in doubt, what it had not is sent."""
    world.changes = {"api": {"max_items": 2}}
    dead = world.job("dead").read(rows("A"))
    dead.plan()
    dead.upload(1)
    died = world.clock.time()
    world.clock.sleep(60)
    heir = world.job("heir").read(rows("B"))
    heir.plan()
    assert LEASE_SECONDS - 1 <= world.clock.time() - died < LEASE_SECONDS + 60
    heir.upload()
    books = heir.end()
    assert counts(books) == {"read": 4, "in_doubt": 2, "planned": 2, "sent": 2, "acknowledged": 2}
    # Should the dead one come to life again, it sends nothing more.
    with pytest.raises(Superseded, match="run dead holds plan 1, but run heir has made plan 2"):
        dead.upload()
    books = world.night("next")
    assert (sent(world), world.names()) == (["A", "B", "B"], {"B"})
    assert (books["state"], world.dirty()) == ("complete", set())


def slow_plan(world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Any = lambda: None) -> None:
    """Let the writing of the first two batches take ten minutes each, and something happen after the second."""
    from catalog_sync import plan as module

    put = module._BatchWriter._write
    written: list[Any] = []

    def slow(self: Any, batch: Any) -> Any:
        if len(written) == 2:
            return put(self, batch)
        written.append(batch)
        world.clock.sleep(600)
        if len(written) == 2:
            meanwhile()
        return put(self, batch)

    monkeypatch.setattr(module._BatchWriter, "_write", slow)
    monkeypatch.setattr(module, "in_threads", map)


def test_a_plan_that_takes_longer_than_the_lease_keeps_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty minutes of planning: another run asks for the lease near their end, and does not get it."""
    world.changes = {"api": {"max_items": 1}}
    other = world.job("other").read(rows("A"))
    refused = []

    def meanwhile() -> None:
        from catalog_sync.lease import Lease

        with pytest.raises(RetryLater, match=r"run night is sending"):
            Lease.of(other.open()).take("other", world.clock.time())
        refused.append(True)

    slow_plan(world, monkeypatch, meanwhile)
    night = world.job("night").read(rows("B"))
    night.plan()
    assert night.upload()["requests"] == 4
    assert (night.end()["state"], refused, world.names()) == ("complete", [True], {"B"})


def test_a_plan_whose_lease_was_taken_all_the_same_is_made_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host was suspended while planning: the retry plans what the other run has left, under a number of its own."""
    world.changes = {"api": {"max_items": 1}}
    night: Job = world.job("night").read(rows("A"))

    def meanwhile() -> None:
        world.wait(1)
        world.job("other", skus=("SKU-0",)).read(rows("B")).send().end()

    slow_plan(world, monkeypatch, meanwhile)
    with pytest.raises(RetryLater, match="run other has made plan 2 while run night was planning"):
        night.plan()
    assert night.plan()["plan_number"] == 3
    night.upload()
    assert counts(night.end()) == {"read": 4, "in_doubt": 1, "planned": 3, "sent": 3, "acknowledged": 3}
    assert world.catalog() == {("SEA-001", f"SKU-{n}"): "A" if n else "B" for n in range(4)}
