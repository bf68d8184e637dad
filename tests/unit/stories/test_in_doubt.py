"""Uploads whose end nobody knows (design section 7): in doubt until they are settled, and Amazon ends as the source is.

In all stories the runs give up on an upload after four hours, and forget it a day after it was sent.
"""

from __future__ import annotations

import pytest
from tests.unit.stories.world import World, counts, late, row

from catalog_sync.run import Kind


def rows(name: str) -> list[dict[str, str]]:
    """Four rows of one store, of the version ``name``."""
    return [row(n, name) for n in range(4)]


def drain(world: World, name: str) -> dict[str, int]:
    """Let the hourly job collect what nobody waits for; return the rows that it settled, by outcome."""
    job = world.job(name, Kind.COLLECT)
    outcomes: dict[str, int] = job.collect().settle()["outcomes"]
    return outcomes


def at_rest(world: World, name: str) -> bool:
    """Tell whether nights come to send nothing: two may still mend what is in doubt, the third one is idle."""
    for night in range(3):
        world.wait(24)
        sent = len(world.wire.uploads)
        books = world.night(f"{name}-{night}")
        if len(world.wire.uploads) == sent:
            return books["state"] == "complete" and not world.dirty()
    return False


@pytest.mark.parametrize("settled_before", [True, False], ids=["hourly-job-first", "night-first"])
@pytest.mark.parametrize("then", ["A", "C"], ids=["source-went-back", "newer-upload"])
def test_an_upload_that_is_applied_late_is_overwritten_again(world: World, then: str, settled_before: bool) -> None:
    """B is sent and given up on; the source says A (or C), which is acknowledged; then B is applied over it."""
    world.night("load", rows("A"))
    world.faults("late")
    books = world.night("b", rows("B"))
    assert (books["state"], counts(books)["unknown"], world.names()) == ("incomplete", 4, {"A"})
    books = world.night("then", rows(then))
    # Although A equals what is acknowledged, it is sent: B may yet come.
    assert (books["state"], counts(books)["acknowledged"]) == ("complete", 4)
    world.wait(2)
    assert world.names() == {"B"}
    if settled_before:
        assert drain(world, "hourly") == {"acknowledged": 4}
        assert world.dirty() == {"SKU-0", "SKU-1", "SKU-2", "SKU-3"}
    books = world.night("again")
    assert (counts(books)["acknowledged"], world.names()) == (4, {then})
    assert at_rest(world, "rest")
    assert world.names() == {then}


def test_rows_in_doubt_are_not_sent_again_before_the_time_is_over(world: World) -> None:
    """An hour after B was sent by a run that died, the next run books its rows as in doubt and sends the others."""
    world.night("load", rows("A"))
    world.faults("late", late_by=7200)
    world.job("b").send(rows("B")[:2])
    world.wait(1)
    books = world.night("c", rows("C"))
    assert counts(books) == {"read": 4, "in_doubt": 2, "planned": 2, "sent": 2, "acknowledged": 2}
    assert [set(upload.values()) for upload in world.wire.uploads] == [{"A"}, {"B"}, {"C"}]
    assert at_rest(world, "rest")
    assert world.names() == {"C"}


@pytest.mark.parametrize("then", ["A", "B"])
def test_a_fatal_upload_that_was_half_applied_leaves_every_row_dirty(world: World, then: str) -> None:
    """Amazon has two rows of B and two of A, and says FATAL: whatever the source says next is sent whole."""
    world.night("load", rows("A"))
    world.faults("fatal_half")
    books = world.night("b", rows("B"))
    assert (books["state"], counts(books)["failed"]) == ("incomplete", 4)
    assert sorted(world.catalog().values()) == ["A", "A", "B", "B"]
    assert world.dirty() == {"SKU-0", "SKU-1", "SKU-2", "SKU-3"}
    assert counts(world.night("then", rows(then)))["acknowledged"] == 4
    assert world.names() == {then}
    assert at_rest(world, "rest")


def test_an_older_word_does_not_prove_a_new_row_that_a_fatal_upload_has_touched_since(world: World) -> None:
    """Nothing was acknowledged yet: B was half applied over A and ended FATAL before A's report was known."""
    world.faults("notice_late", {"fault": "link_missing", "operation": "status", "times": 100}, notice_late_by=5 * 3600)
    assert counts(world.night("a", rows("A")))["unknown"] == 4
    world.faults("fatal_half")
    assert counts(world.night("b", rows("B")))["failed"] == 4
    world.wait(2)
    assert drain(world, "hourly") == {"acknowledged": 4}
    assert sorted(world.catalog().values()) == ["A", "A", "B", "B"]
    assert counts(world.night("back", rows("A")))["acknowledged"] == 4
    assert world.names() == {"A"}
    assert at_rest(world, "rest")


def test_an_answer_that_is_lost_after_acceptance_is_sent_again_and_its_notice_kept(world: World) -> None:
    """Time-out: two ingestions of the same rows, one of them unknown to us; each row counts once."""
    world.faults("timeout_after")
    job = world.job("a")
    world.write(rows("A"))
    books = job.whole()
    assert (books["state"], counts(books)["sent"], counts(books)["acknowledged"]) == ("complete", 4, 4)
    assert job.states() == ["SENDING", "DONE"]
    first, second = world.amazon.records()
    assert (first["status"], second["status"]) == ("DONE", "DONE")
    ledger = job.open().ledger
    # The notice of the ingestion that we do not know is durable, and so no longer in the queue.
    assert ledger.get(f"INGESTION#{first['ingestion_id']}", "NOTICE") is not None
    assert ledger.get(f"INGESTION#{first['ingestion_id']}", "ATTEMPT") is None
    assert world.queues.queues == {"results": [], "results-dlq": []}
    assert at_rest(world, "rest")
    assert world.names() == {"A"}


def test_a_lost_answer_whose_upload_is_applied_after_the_source_went_on(world: World) -> None:
    """Two ingestions of B, one unknown to us and late: it is applied over C, and C is sent again."""
    world.night("load", rows("A"))
    world.faults("timeout_after", "late", late_by=5 * 3600)
    assert counts(world.night("b", rows("B")))["acknowledged"] == 4
    world.wait(4.5)
    assert counts(world.night("c", rows("C")))["acknowledged"] == 4
    world.wait(1)
    assert world.names() == {"B"}
    assert at_rest(world, "rest")
    assert world.names() == {"C"}


def test_a_notice_that_overtakes_our_own_record_of_the_ingestion_is_joined(world: World) -> None:
    """The hourly job receives the notice while the uploading process still waits for Amazon's answer.

    Its link is not kept, since nobody may ever claim it: the status API is asked for another, once.
    """

    def overtaken() -> None:
        world.wire.watch = lambda: None
        world.wait(0.1)
        drain(world, "hourly")

    world.wire.watch = overtaken
    world.changes = {"api": {"timeout": "5m"}}
    job = world.job("a").send(rows("A"))
    assert job.states() == ["DONE"]
    assert (job.end()["state"], len(world.notices)) == ("complete", 1)
    assert [entry.operation for entry in world.api.record.all()] == ["upload", "status"]
    assert world.acknowledged() == {("SEA-001", f"SKU-{n}"): ("A", False) for n in range(4)}


def test_a_report_that_comes_after_the_run_gave_up_is_booked_by_whoever_settles_it(world: World) -> None:
    """The run is incomplete, its rows unknown; the next night acknowledges them for it and sends nothing twice."""
    world.faults("late", late_by=5 * 3600)
    world.write(rows("A"))
    books = world.job("first").whole()
    assert (books["state"], counts(books)["unknown"], world.acknowledged()) == ("incomplete", 4, {})
    world.wait(2)
    job = world.job("hourly", Kind.COLLECT)
    job.collect().settle()
    assert late(job.account()) == {"first": {"acknowledged": 4}}
    books = world.night("next")
    assert (counts(books), books["late"]) == ({"read": 4, "unchanged": 4}, [])
    assert len(world.wire.uploads) == 1


def test_books_of_a_run_that_is_cleared_do_not_count_what_another_run_has_booked(world: World) -> None:
    """I6: the hourly job has booked the rest of an incomplete run, whose own books then say so and count none twice."""
    world.faults("late", late_by=5 * 3600)
    world.write(rows("A"))
    job = world.job("first")
    job.whole()
    world.wait(2)
    hourly = world.job("hourly", Kind.COLLECT)
    hourly.collect().settle()
    assert late(hourly.account()) == {"first": {"acknowledged": 4}}
    job.settle()
    books = job.account()
    assert counts(books) == {"read": 4, "planned": 4, "sent": 4, "unknown": 4}
    assert books["catalog"] == {}
    assert (books["state"], books["booked_late"]) == ("complete", {"hourly": {"acknowledged": 4}})


def test_a_report_that_comes_after_the_horizon_proves_nothing(world: World) -> None:
    """A day after it was sent an upload is settled as unknown; its late notice changes neither rows nor books."""
    world.night("load", rows("A"))
    world.faults("late", late_by=30 * 3600)
    world.write(rows("B"))
    job = world.job("b")
    job.whole()
    world.wait(20.5)
    assert drain(world, "hourly-1") == {"unknown": 4}
    assert (job.attempts()[0].state.value, job.states()) == ("SETTLED", ["UNKNOWN"])
    world.wait(6)
    assert world.names() == {"B"}
    assert drain(world, "hourly-2") == {}
    assert world.dirty() == {"SKU-0", "SKU-1", "SKU-2", "SKU-3"}
    # The source went back meanwhile: A equals the acknowledged rows, and is sent all the same.
    assert counts(world.night("a", rows("A")))["acknowledged"] == 4
    assert world.names() == {"A"}
    assert at_rest(world, "rest")


def test_an_ingestion_id_that_amazon_gives_twice_proves_nothing_the_second_time(world: World) -> None:
    """The report of Monday's ingestion must not acknowledge what was sent on Tuesday."""
    world.night("monday", rows("A"))
    first = world.amazon.records()[0]["ingestion_id"]
    new_id, given = world.amazon._new_id, iter([first])
    world.amazon._new_id = lambda: next(given, None) or new_id()
    world.wait(24)
    world.faults("cancelled")
    job = world.job("tuesday")
    world.write(rows("B"))
    books = job.whole()
    assert job.states() == ["SENDING", "DONE"]
    assert (counts(books)["acknowledged"], world.names()) == (4, {"B"})
    assert at_rest(world, "rest")
    assert world.names() == {"B"}
