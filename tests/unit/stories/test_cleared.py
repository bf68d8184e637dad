"""Somebody clears a task of an old run, after others have gone on: nothing that is right becomes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from obstore.store import LocalStore
from tests.unit.stories.people import Office
from tests.unit.stories.sink import Sink
from tests.unit.stories.world import Job, Row, World, counts, late, row

from catalog_sync import notify, overview, settle, slices
from catalog_sync.alerts.evaluate import run_failed, run_late, run_succeeded
from catalog_sync.alerts.heartbeat import beat
from catalog_sync.attempts import Attempt
from catalog_sync.errors import BadInput, Superseded
from catalog_sync.lake import Lake
from catalog_sync.release import approve, question
from catalog_sync.run import Kind, Run
from catalog_sync.tables import Tables

DAG = "nightly_catalog_sync"


def rows(name: str = "A", changed: str = "", at: tuple[int, ...] = ()) -> list[Row]:
    """Four rows of the version ``name``; those numbered ``at`` of the version ``changed``."""
    return [row(n, changed if n in at else name) for n in range(4)]


@pytest.fixture
def world(world: World) -> World:
    """A world with one row to a batch, in which Amazon has the version A."""
    world.changes = {"api": {"max_items": 1}}
    assert world.night("first", rows())["state"] == "complete"
    world.wait(24)
    return world


@pytest.fixture
def office(world: World) -> Iterator[Office]:
    """The same with people who get messages."""
    office = Office(world)
    yield office
    notify.send_to(None)


def held(world: World) -> pl.DataFrame:
    """The table of what is held."""
    return Tables(Lake(LocalStore(world.lake), str(world.lake))).read("held", ["SEA-001", "PDX-001"])


def meets(world: World, *faults: str | dict[str, Any]) -> dict[str, Any]:
    """A night ``n1`` that changes two rows and meets these faults."""
    world.faults(*faults)
    books = world.night("n1", rows("A", "B", (0, 1)))
    world.faults()
    return books


# --- the books


def test_a_run_is_gone_back_to_as_it_left_amazon_though_its_books_are_made_again(world: World) -> None:
    """Incomplete books say what stood after the run, not what stands when its ``account`` is cleared."""
    assert meets(world, {"fault": "fatal", "skip": 1})["state"] == "incomplete"
    stood = world.catalog()
    world.wait(24)
    world.night("n2", rows("C"))
    for _ in range(2):
        world.wait(1)
        assert world.job("n1").account()["state"] == "incomplete"
    assert world.job("back", Kind.ROLLBACK, to="n1").whole()["state"] == "complete"
    assert world.catalog() == stood


def test_a_run_that_died_is_gone_back_to_as_the_next_one_found_amazon(world: World) -> None:
    """Its books are made by the next night, which has sent by then what it sends."""
    world.job("n1").send(rows("B")).collect().settle()
    stood = world.catalog()
    world.wait(48)
    assert "n1" in world.night("n2", rows("C"))["abandoned"]
    world.job("back", Kind.ROLLBACK, to="n1").whole()
    assert world.catalog() == stood


def test_a_run_that_is_cleared_and_sends_is_gone_back_to_with_what_it_has_sent(world: World) -> None:
    """Another run has made a plan before its books are made again."""
    meets(world, *["forbidden"] * 9)
    world.wait(1)
    world.job("n1").upload()
    world.night("canary", rows("A", "B", (0, 1)))
    assert world.job("n1").end()["state"] == "complete"
    stood = world.catalog()
    world.wait(24)
    world.night("n2", rows("C"))
    assert world.job("n1").account()["state"] == "complete"
    world.job("back", Kind.ROLLBACK, to="n1").whole()
    assert world.catalog() == stood


def test_a_run_that_died_before_it_sent_is_gone_back_to_as_the_next_one_found_amazon(world: World) -> None:
    """It has a plan, and no books until the next night makes them."""
    world.job("n1").read(rows("B")).plan()
    world.wait(48)
    assert "n1" in world.night("n2", rows("C"))["abandoned"]
    world.job("back", Kind.ROLLBACK, to="n1").whole()
    assert world.names() == {"A"}


def test_a_dry_run_is_gone_back_to_as_it_found_amazon(world: World) -> None:
    """It has no plan number of its own."""
    world.night("n1", rows("B"))
    world.wait(24)
    world.job("dry", dry_run=True).whole()
    world.night("n2", rows("C"))
    world.job("back", Kind.ROLLBACK, to="dry").whole()
    assert world.names() == {"B"}


def test_books_that_are_made_while_another_run_settles_have_what_comes_after_them_booked_as_late(world: World) -> None:
    """Whether a run has books is asked anew for each attempt (I6)."""
    world.faults({"fault": "late", "times": 2}, late_by=5 * 3600)
    job = world.job("n1")
    job.read(rows("A", "B", (0, 1))).plan()
    job.upload()
    world.faults()
    world.wait(8)
    hour = world.job("hour", Kind.COLLECT).collect()
    settled: list[str] = []
    told = settle._is_late

    def is_late(run: Run, attempt: Attempt, *rest: Any) -> bool:
        if settled:
            job.account()
        settled.append(attempt.key.name)
        return told(run, attempt, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle, "_is_late", is_late)
        hour.settle()
    booked = sum(counts(job.account()).get(end, 0) for end in ("acknowledged", "unknown"))
    assert (len(settled), booked) == (2, 2)
    assert late(hour.account()) == {"n1": {"acknowledged": 1}}


def test_a_source_that_was_added_since_is_no_concern_of_an_old_run(world: World) -> None:
    """The books of the old run stand, and so do those of a run that died before, and tonight's."""
    dead = world.job("dead").send(rows("B"))
    dead.collect().settle()
    world.wait(48)
    other = world.source.with_name("pos.csv")
    other.write_text(world.source.read_text())
    world.changes |= {
        "sources": [
            {"name": "erp", "kind": "file", "path": str(world.source), "format": "csv"},
            {"name": "pos", "kind": "file", "path": str(other), "format": "csv"},
        ],
        "merge": {"precedence": ["erp", "pos"]},
    }
    books = world.night("n2")
    assert (books["state"], books["abandoned"]["dead"]["state"]) == ("complete", "complete")
    assert world.job("first").account()["state"] == "complete"


def test_what_a_cleared_run_sends_is_booked_as_its_own_though_the_hourly_run_settles_it(world: World) -> None:
    """Its books were closed before it was sent, so that it is not late; and should the run die then, they are made."""
    assert counts(meets(world, *["forbidden"] * 9))["unsent"] == 2
    world.wait(1)
    world.job("n1").upload()
    world.wait(1)
    hour = world.job("hour", Kind.COLLECT).collect()
    hour.settle()
    assert late(hour.account()) == {}
    books = world.job("n1").account()
    assert (books["state"], counts(books)["acknowledged"], counts(books).get("unknown")) == ("complete", 2, None)


def test_a_cleared_run_that_dies_once_more_gets_its_books_from_the_next_night(world: World) -> None:
    """They replace those that it has made before."""
    assert counts(meets(world, *["forbidden"] * 9))["unsent"] == 2
    world.wait(1)
    world.job("n1").upload()
    world.wait(1)
    world.job("hour", Kind.COLLECT).collect().settle()
    world.wait(48)
    books = world.night("n2", rows("A", "B", (0, 1)))
    assert (books["abandoned"]["n1"]["state"], books["abandoned"]["n1"]["total"]["acknowledged"]) == ("complete", 2)


def test_what_a_run_settles_after_its_books_is_booked_though_nobody_clears_its_account(world: World) -> None:
    """``settle`` alone was cleared: the first run a day later makes the books anew, once (I6)."""
    assert counts(meets(world, {"fault": "late"}))["unknown"] == 1
    world.wait(8)
    world.job("n1").collect().settle()
    world.wait(48)
    books = world.night("n2")
    assert (books["abandoned"]["n1"]["state"], books["abandoned"]["n1"]["total"]["acknowledged"]) == ("complete", 2)
    assert world.night("n3")["abandoned"] == {}


def test_a_run_whose_books_are_complete_settles_nothing_of_others(world: World) -> None:
    """It could not book it any more; the hourly run does (I6)."""
    assert meets(world, {"fault": "late"})["state"] == "incomplete"
    world.wait(8)
    job = world.job("first").collect()
    assert (job.settle()["late"], late(job.account())) == (0, {})
    hour = world.job("hour", Kind.COLLECT).collect()
    hour.settle()
    assert late(hour.account()) == {"n1": {"acknowledged": 1}}


def test_the_overview_of_a_complete_run_stays_as_it_was(world: World) -> None:
    """What was suspended that night has been acknowledged since, and is told as it was."""
    world.faults(refuse_skus=["SKU-0"])
    world.write(rows("A", "B", (0,)))
    for number in range(4):
        world.night(f"n{number}")
        world.wait(24)
    seen = overview.read(world.job("n3").open())
    assert [line["item_sku"] for line in seen["suspended_rows"]] == ["SKU-0"]
    world.faults()
    world.wait(24)
    world.job("again", Kind.BACKFILL, resend=True).whole()
    world.job("n3").account()
    assert overview.read(world.job("n3").open()) == seen


# --- what is sent, and what is held


def test_a_rollback_abandoned_between_two_slices_sends_nothing_after_a_later_night(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night goes forward again, and has read the source later than the rollback has read the past (I4)."""
    monkeypatch.setattr(slices, "SLICE", 1)
    world.night("n1", rows("B"))
    world.wait(24)
    back = world.job("back", Kind.ROLLBACK, to="first").read()
    back.plan()
    back.upload(1)
    back.end()
    world.wait(24)
    assert counts(world.night("n2", rows("B")))["acknowledged"] == 1
    world.wait(24)
    back.upload()
    back.end()
    assert world.names() == {"B"}


def test_a_night_cleared_after_a_rollback_sends_nothing_over_it(world: World) -> None:
    """It died before its plan, and what it has read is older than what was rolled back to."""
    world.night("n1", rows("B", "C", (3,)))
    world.wait(24)
    dead = world.job("dead").read(rows("D"))
    world.wait(1)
    world.job("back", Kind.ROLLBACK, to="first").whole()
    assert dead.plan()["rows"] == 0
    assert world.names() == {"A"}


def test_a_plan_made_late_holds_nothing_and_forgets_nothing_that_is_held(world: World) -> None:
    """A later night has read the rows: what that one holds keeps its age, and nobody is asked about the older ones."""
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    dead = world.job("dead").read(rows("C"))
    world.wait(24)
    assert world.night("n2", rows("D"))["held"]["rows"] == 4
    before = held(world)
    world.wait(24)
    dead.plan()
    assert dead.open().plan["held"]["rows"] == 0
    assert held(world).equals(before)
    assert counts(dead.end()) == {"read": 4, "in_doubt": 4}


def test_a_release_planned_late_forgets_nothing_that_a_later_night_holds(world: World) -> None:
    """What it has read is another change; the night has read since that it is the approved one once more."""
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    world.night("n1", rows("C"))
    run = world.job("n1").open()
    approve(run, question(run)["hash"], "ann", "")
    release = world.job("release", Kind.BACKFILL, release="n1").read(rows("A", "B", (3,)))
    world.wait(1)
    assert world.night("n2", rows("C"))["held"]["rows"] == 4
    before = held(world)
    release.plan()
    assert held(world).equals(before)


def test_the_books_of_a_plan_that_was_outrun_say_which_run_sends_what_is_left(world: World) -> None:
    """Clearing sends nothing any more. A small run carries nothing of a night, and a night not all of a backfill."""
    assert any("Clear the upload tasks then" in told for told in meets(world, *["forbidden"] * 9)["problems"])
    world.wait(1)
    world.faults(*["forbidden"] * 9)
    assert world.job("part", Kind.BACKFILL, skus=("SKU-0",)).whole()["state"] == "incomplete"
    world.faults()
    with pytest.raises(Superseded):
        world.job("n1").upload()
    night = " ".join(world.job("n1").account()["problems"])
    assert "run part has made plan 3 since, so that clearing upload sends nothing of plan 2 any more" in night
    assert "start nightly_catalog_sync by hand for what is left, or wait for the next night" in night
    assert ("sending was halted" in night, "Clear the upload tasks" in night) == (True, False)
    world.wait(1)
    world.night("n2")
    assert "run n2 has read everything since, and carries what is left" in " ".join(
        world.job("n1").account()["problems"]
    )
    assert "start it again for what is left" in " ".join(
        world.job("part", Kind.BACKFILL, skus=("SKU-0",)).account()["problems"]
    )


# --- what people and monitors are told


def test_an_old_backfill_of_everything_ends_no_alert_of_last_night(office: Office) -> None:
    """It is the latest of its kind, and knows nothing of the night that came after it."""
    office.night("all", rows(), kind=Kind.BACKFILL)
    office.world.wait(24)
    office.world.faults(*["forbidden"] * 9)
    office.night("bad", rows("B"))
    office.world.faults()
    before = office.names()
    assert "RUN_INCOMPLETE#night" in before
    office.account(office.world.job("all", Kind.BACKFILL).account, "all", kind=Kind.BACKFILL)
    assert office.names() == before


def test_an_old_backfill_tells_nothing_of_the_catalog_any_more(office: Office) -> None:
    """It held rows; a night has read everything since, and holds none."""
    world = office.world
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    office.night("all", rows("C"), kind=Kind.BACKFILL)
    office.night("part", kind=Kind.BACKFILL, stores=("SEA-001",))
    assert "ROWS_HELD" in office.names()
    world.wait(24)
    office.night("n2", rows())
    assert office.names() == []
    office.account(world.job("part", Kind.BACKFILL, stores=("SEA-001",)).account, "part", kind=Kind.BACKFILL)
    assert office.names() == []


def test_a_night_that_could_judge_nothing_leaves_that_to_an_older_backfill(office: Office) -> None:
    """It began later and failed before its plan; what the backfill holds is told."""
    world = office.world
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    job = world.job("all", Kind.BACKFILL).read(rows("C"))
    world.wait(1)
    world.job("n2").read()
    office.account(world.job("n2").account, "n2")
    job.plan()
    office.account(job.end, "all", kind=Kind.BACKFILL)
    assert "ROWS_HELD" in office.names()


def test_a_release_ends_what_is_held_though_a_night_began_after_it(office: Office) -> None:
    """Nothing is held any more, whichever began first."""
    world = office.world
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    office.night("n1", rows("C"))
    run = world.job("n1").open()
    approve(run, question(run)["hash"], "ann", "")
    release = world.job("release", Kind.BACKFILL, release="n1").send()
    world.wait(0.01)  # Amazon is still at it when the night ends
    office.night("n2")
    assert "ROWS_HELD" in office.names()
    office.account(release.end, "release", kind=Kind.BACKFILL, release="n1")
    assert "ROWS_HELD" not in office.names()


def test_a_night_that_is_cleared_after_its_release_holds_nothing_any_more(office: Office, sink: Sink) -> None:
    """Its books say what it held then."""
    world = office.world
    world.changes |= {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    office.night("n1", rows("C"))
    run = world.job("n1").open()
    approve(run, question(run)["hash"], "ann", "")
    office.night("release", kind=Kind.BACKFILL, release="n1")
    assert (office.names(), sink.gauges["catalog.held_oldest_seconds"]) == ([], 0.0)
    office.account(world.job("n1").account, "n1")
    assert (office.names(), sink.gauges["catalog.held_oldest_seconds"]) == ([], 0.0)


def test_an_old_run_that_fails_again_does_not_stand_for_tonights(office: Office) -> None:
    """The alert stays that of the younger run, and ends with a run that is younger still."""
    world = office.world
    office.night("between", rows("B"))
    world.wait(24)
    run_failed(world.job("n1").read(rows("B")).open(), DAG, "timed out")
    run_failed(world.job("first").open(), DAG, "cleared, and failed again")
    run_succeeded(world.job("between").open(), DAG)
    assert office.names() == [f"RUN_FAILED#{DAG}"]


def test_a_backfill_of_what_changed_lately_is_not_the_whole_catalog(office: Office) -> None:
    """It ends no alert of the night."""
    office.world.faults(*["forbidden"] * 9)
    office.night("bad", rows("B"))
    office.world.faults()
    before = set(office.names())
    since = "2026-01-01T00:00"
    office.world.wait(1)
    books = office.night("some", kind=Kind.BACKFILL, resend=True, changed_since=since)
    assert books["state"] == "complete"
    assert before - set(office.names()) == {"FORBIDDEN"}
    assert beat(office.world.job("some", Kind.BACKFILL).open(), books) == []


def test_an_old_run_that_succeeds_again_does_not_say_that_tonights_is_well(office: Office) -> None:
    """Only the run that failed, or one that began after that, ends the alert."""
    world = office.world
    tonight = world.job("n1").read(rows("B"))
    run_failed(tonight.open(), DAG, "timed out")
    run_late(world.job("queued").open(), DAG, world.clock.time())
    names = {f"RUN_FAILED#{DAG}", f"RUN_LATE#{DAG}"}
    assert names <= set(office.names())
    run_succeeded(world.job("first").open(), DAG)
    assert names <= set(office.names())
    run_failed(world.job("first").open(), DAG, "cleared, and failed again")
    assert f"RUN_LATE#{DAG}" in office.names()
    world.wait(24)
    office.night("n2")
    run_succeeded(world.job("n2").open(), DAG)
    assert not names & set(office.names())


def test_a_run_with_complete_books_that_is_cleared_and_fails_is_not_said_to_have_none(office: Office) -> None:
    """What failed is another task of it."""
    run_failed(office.world.job("first").open(), DAG, "send_notices failed")
    assert "has no books" not in " ".join(alert.what for alert in office.open())


def test_an_old_run_is_no_heartbeat_and_moves_no_gauge(office: Office, sink: Sink) -> None:
    """Monitors are told of a night once, and how the last night ended."""
    office.alerts(heartbeat={"metric": True})
    world, beats = office.world, []

    class Watcher:
        def put_metric_data(self, **data: Any) -> None:
            beats.append(data)

    def ended(job: Job) -> list[str]:
        return beat(job.open(), job.account(), Watcher())

    meets(world, {"fault": "fatal", "skip": 1})
    world.job("old", Kind.BACKFILL).whole()
    world.wait(24)
    job = world.job("n2")
    job.read(rows("C")).plan()
    job.upload()
    job.collect().settle()
    assert job.account()["state"] == "complete"
    world.wait(1)
    assert ended(job) == ["metric"]  # its first beat, though it is late
    assert ended(job) == []
    gauges = dict(sink.gauges)
    sink.gauges["catalog.held_oldest_seconds"] = 5.0
    world.job("old", Kind.BACKFILL).account()
    assert sink.gauges["catalog.held_oldest_seconds"] == 5.0  # the night's word, which came later
    world.wait(24)
    for name in ("n2", "n1", "first"):
        assert ended(world.job(name)) == []
    night = {name: value for name, value in sink.gauges.items() if ".last_run_" in name or "held" in name}
    assert night == {name: gauges[name] for name in night}


def test_notices_of_a_run_that_the_ledger_has_forgotten_are_not_sent_again(office: Office) -> None:
    """That each was sent once is kept for ``ledger.keep``."""
    from catalog_sync.tell import tell

    world = office.world
    world.changes["notify"] = {**world.changes["notify"], "stores": ["mail"]}
    world.night("n1", rows("B"))
    assert tell(world.job("n1").open())["sent"] == 1
    assert tell(world.job("n1").open())["sent"] == 0
    world.clock.sleep(world.settings.ledger.keep.total_seconds() + 1)
    world.ledger.forget(world.clock.time())
    assert tell(world.job("n1").open())["sent"] == 0


def test_books_of_a_run_that_the_ledger_has_forgotten_stand(world: World) -> None:
    """Without its attempts nothing could be said but that nothing was sent."""
    books = meets(world, {"fault": "fatal", "skip": 1})
    world.clock.sleep(world.settings.ledger.keep.total_seconds() + 1)
    world.ledger.forget(world.clock.time())
    assert world.job("n1").account()["total"] == books["total"]


def test_an_id_that_was_another_runs_is_refused(world: World) -> None:
    """A scheduler forgets a run that is deleted; what was asked under its id stands, and is not passed over."""
    job = world.job("r", asked_at="2026-11-20T02:30:00+00:00", origin="backfill_catalog/r", dry_run=True)
    job.whole()
    job.open().require_own_name()
    world.job("r").open().require_own_name()  # who only looks knows no time
    with pytest.raises(BadInput, match="run id 'r': a run of this id was started for 2026-11-20"):
        world.job("r", asked_at="2026-11-21T09:00:00+00:00", origin="backfill_catalog/r").open().require_own_name()
