"""Alerts: each kind begins with what causes it, is told once, and is over when the cause is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.stories.people import Office
from tests.unit.stories.world import HOUR, World, row

from catalog_sync import notify
from catalog_sync.alarms import Alarms
from catalog_sync.alerts.book import Change
from catalog_sync.alerts.evaluate import hourly, run_failed, run_late, run_succeeded
from catalog_sync.alerts.heartbeat import beat
from catalog_sync.alerts.kinds import Kind
from catalog_sync.errors import BadInput
from catalog_sync.release import approve
from catalog_sync.run import Kind as RunKind

ROWS = [row(n) for n in range(4)] + [row(n, store="PDX-001") for n in range(4)]
OTHERS = [{**one, "descr": "B"} for one in ROWS]
THIRD = [{**one, "descr": "C"} for one in ROWS]
PAGE = Path(__file__).resolve().parents[3] / "docs/alerts.md"
INCOMPLETE = "began RUN_INCOMPLETE"
NARROW = {"percent": 20, "min_rows": 3}


@pytest.fixture
def office(world: World) -> Iterator[Office]:
    """A retailer whose two stores are loaded, with people who get messages."""
    office = Office(world)
    assert office.night("first", ROWS)["state"] == "complete"
    assert (office.people.heard(), office.names()) == ([], [])
    yield office
    notify.send_to(None)


# --- the table


@dataclass(frozen=True)
class Case:
    """What causes an alert, and what mends it; ``by`` and ``over`` are the same in the words of docs/alerts.md."""

    kind: Kind
    cause: Callable[[Office], Any]
    by: str
    mend: Callable[[Office], Any]
    over: str
    subject: str = ""
    #: What begins with it, as it would with that cause.
    along: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.kind.value

    @property
    def name(self) -> str:
        """The name of the alert."""
        return f"{self.kind.value}#{self.subject}" if self.subject else self.kind.value


def fails(*faults: str, **plan: Any) -> Callable[[Office], Any]:
    """A night with changed rows in which these faults strike the uploads."""

    def cause(office: Office) -> None:
        script = [{"fault": fault, "operation": "upload"} for fault in faults]
        office.world.faults(*script, **plan)
        office.night("faulty", OTHERS)

    return cause


def works(office: Office) -> None:
    """A night without faults and with something to send."""
    office.world.faults()
    office.world.wait(25)
    assert office.night("mended", THIRD)["state"] == "complete"


def tampered(office: Office) -> None:
    """A night whose plan says that one row more was read than ended anywhere."""
    job = office.world.job("faulty").send(OTHERS)
    run = job.open()
    plan = run.plan
    plan["counts"]["SEA-001"]["read"] += 1
    run.lake.put_json(run.key("plan.json"), plan)
    office.account(job.end, "faulty")


def expired(office: Office) -> None:
    """Amazon says that the session is too old."""
    told = {"message": "The security token included in the request is expired"}
    kept, office.world.wire.sandbox = (
        office.world.wire.sandbox,
        httpx.MockTransport(  # type: ignore[assignment]
            lambda request: httpx.Response(403, content=json.dumps(told))
        ),
    )
    office.night("faulty", OTHERS)
    office.world.wire.sandbox = kept


def broken_api(office: Office) -> None:
    """Every request fails, three times a row, which is what the breaker bears."""
    office.world.changes["api"] = {"breaker": {"failures": 3}}
    fails(rates={"unavailable": 1.0})(office)


def held(office: Office) -> None:
    """All prices of a store move, under narrow guards."""
    limits = {name: NARROW for name in ("changed", "new", "prices", "rejected")}
    wide = {name: {"percent": 100} for name in limits}
    office.world.changes["guards"] = {"store": limits, "total": wide, "source": NARROW}
    office.night("faulty", [{**one, "retail": "150.00"} for one in ROWS[:4]] + ROWS[4:])


def stale(office: Office) -> None:
    """The source was written days ago."""
    [source] = office.world.settings.model_dump(include={"sources"}, exclude_defaults=True)["sources"]
    office.world.changes["sources"] = [{**source, "fresh_within": "26h"}]
    old = office.world.clock.time() - 50 * HOUR
    office.world.write(ROWS)
    os.utime(office.world.source, (old, old))
    office.night("faulty")


def fresh(office: Office) -> None:
    """The source was written just now."""
    now = office.world.clock.time()
    office.world.write(ROWS)
    os.utime(office.world.source, (now, now))
    office.night("mended")


def short(rows: int) -> Callable[[Office], Any]:
    """The source has lost all but these rows."""

    def cause(office: Office) -> None:
        office.world.changes["guards"] = {"source": NARROW}
        office.night("faulty", ROWS[:rows])

    return cause


def whole(office: Office) -> None:
    """The source is whole again."""
    assert office.night("mended", ROWS)["state"] == "complete"


def stuck(office: Office) -> None:
    """Amazon works on an upload for ever; the hourly look sees it while the night still waits."""
    office.world.faults("stuck")
    office.world.job("faulty").send(OTHERS)
    office.world.wait(0.4)  # three times ``results.expect`` are half an hour
    office.hour()
    assert office.names() == []
    office.world.wait(0.2)
    office.hour()


def strange_store(office: Office) -> None:
    """Rows of a store that Amazon does not know as ours."""
    office.world.changes["stores"] = {"ids": ["SEA-001", "PDX-001", "S9"]}
    office.night("faulty", [*ROWS, row(1, store="S9"), row(2, store="S9")])


def no_strange_store(office: Office) -> None:
    """The store is taken out of the configuration."""
    del office.world.changes["stores"]
    works(office)


def settled(office: Office) -> None:
    """The night gives up and is incomplete; a day later the next one sends the rows again."""
    office.account(office.world.job("faulty").end, "faulty")
    assert office.people.heard() == [INCOMPLETE, "began DRIFT"]
    works(office)


def buried(office: Office) -> None:
    """A message that nobody understands has been tried often enough."""
    office.world.queues.put("no json")
    for _ in range(8):
        office.drain().collect()
        office.world.clock.sleep(HOUR)
    office.hour()


def emptied(office: Office) -> None:
    """The dead letters are looked at and gone."""
    office.world.queues.queues["results-dlq"].clear()
    office.hour()


def unsubscribed(office: Office) -> None:
    """Amazon's topic says that the queue was unsubscribed."""
    run = office.drain().open()
    Alarms.of(run).unsubscribed(run.clock.time())
    office.hour()


def failed(office: Office) -> None:
    """Airflow says that a run failed, which has no books."""
    run_failed(office.world.job("faulty").open(), "nightly_catalog_sync", "timed out")


def late(office: Office) -> None:
    """Airflow says that the deadline has passed."""
    run_late(office.world.job("faulty").open(), "nightly_catalog_sync", office.world.clock.time() - 3 * HOUR)


def succeeded(office: Office) -> None:
    """Airflow says that a run went well."""
    works(office)
    run_succeeded(office.world.job("mended").open(), "nightly_catalog_sync")


DAG = "nightly_catalog_sync"
NIGHT = "a night without faults"
TABLE = [
    Case(Kind.RUN_FAILED, failed, "Airflow says that a run failed, and it has no books", succeeded,
         "Airflow says that a run went well", DAG),
    Case(Kind.RUN_INCOMPLETE, fails("server_error_final"), "`server_error_final` on the upload", works, NIGHT,
         "night", ("began DRIFT", "began UPLOADS_FAILED")),
    Case(Kind.BOOKS_UNBALANCED, tampered, "the plan's count of rows read is raised by one behind the run's back", works,
         NIGHT, "night"),
    Case(Kind.RUN_LATE, late, "Airflow says that the deadline has passed", succeeded,
         "Airflow says that a run went well", DAG),
    Case(Kind.FORBIDDEN, fails("forbidden"), "`forbidden` on the upload", works, NIGHT, "",
         (INCOMPLETE, "began DRIFT")),
    Case(Kind.CREDENTIALS_EXPIRED, expired, "every request is answered 403, the token has expired", works, NIGHT, "",
         (INCOMPLETE, "began DRIFT")),
    Case(Kind.BREAKER_OPEN, broken_api, "`unavailable` at every request", works, NIGHT, "",
         (INCOMPLETE, "began DRIFT")),
    Case(Kind.ROWS_HELD, held, "every price of a store moves by a hundred", whole, "the source as it was before"),
    Case(Kind.SOURCE_STALE, stale, "the source was written 50 hours ago", fresh, "the source written just now", "erp"),
    Case(Kind.SOURCE_SHORT, short(5), "the source has lost three rows of eight", whole, "the source as it was before",
         "erp"),
    Case(Kind.STORE_EMPTY, short(4), "the source has lost all rows of a store", whole, "the source as it was before",
         "", ("began SOURCE_SHORT",)),
    Case(Kind.ROWS_REFUSED, fails(refuse_skus=("SKU-1",)), "`refuse_skus`: Amazon refuses one of four SKUs", works,
         NIGHT),
    Case(Kind.BATCH_REFUSED, strange_store, "rows of a store that Amazon does not know", no_strange_store,
         "the store taken out of the configuration", "", ("began ROWS_REFUSED",)),
    Case(Kind.UPLOADS_FAILED, fails("fatal"), "`fatal`", works, NIGHT, "", (INCOMPLETE, "began DRIFT")),
    Case(Kind.UPLOADS_STUCK, stuck, "`stuck`, seen by the hourly look", settled,
         "the run gives up (`RUN_INCOMPLETE` and `DRIFT` begin), and the next night sends the rows again"),
    Case(Kind.DRIFT, fails("cancelled"), "`cancelled`", works, NIGHT, "", (INCOMPLETE, "began UPLOADS_FAILED")),
    Case(Kind.DEAD_LETTERS, buried, "a message that is no JSON, received eight times", emptied,
         "the dead-letter queue is emptied"),
    Case(Kind.LOST_SUBSCRIPTION, fails(rates={"notice_lost": 1.0}), "`notice_lost` for every notice", works, NIGHT),
    Case(Kind.UNSUBSCRIBED, unsubscribed, "the topic's word that the queue was unsubscribed",
         lambda office: (works(office), office.hour()), "a night whose notices come"),
]  # fmt: skip


def test_the_page_has_this_table() -> None:
    """What docs/alerts.md says was proven is what is proven here."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for case in TABLE:
        along = ", ".join(f"`{one.removeprefix('began ')}`" for one in case.along)
        assert f"| `{case.kind.value}` | {case.by} | {along or '–'} | {case.over} |" in lines


def test_the_table_has_every_alert() -> None:
    """All but the one that nothing here can raise, since nothing here runs then."""
    assert [case.kind for case in TABLE] == [kind for kind in Kind if kind is not Kind.NO_RUN]


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_an_alert_begins_is_told_once_and_is_over(office: Office, case: Case) -> None:
    """The cause raises it, an hour later nobody hears it again, and the mending tells its end once."""
    case.cause(office)
    heard, mine = office.people.heard(), f"began {case.kind.value}"
    assert mine in heard
    assert sorted(heard) == sorted({mine, *case.along})
    assert case.name in office.names()
    assert office.book.open()[office.names().index(case.name)].what
    office.hour()
    assert office.people.heard() == []
    case.mend(office)
    heard = office.people.heard()
    assert f"over {case.kind.value}" in heard
    assert not [one for one in heard if one.startswith("began")]
    assert office.names() == []
    office.hour()
    assert office.people.heard() == []


# --- what people are told


def test_a_message_says_what_since_when_how_bad_and_what_to_do(office: Office) -> None:
    """One text for all channels, with nothing in it that Markdown would take for its own."""
    fails("server_error_final")(office)
    [message] = [m for name, m in office.people.told if name == "pager" and m.about["alert"] == "RUN_INCOMPLETE"]
    assert (message.severity.value, message.title) == ("error", "acme: A run is incomplete (night)")
    began = "2026-09-21 14:"
    assert "- What: run faulty: 8 rows failed at Amazon (FATAL, CANCELLED or a server error)" in message.text
    assert f"- Since: {began}" in message.text
    assert "- How bad: critical: until somebody acts" in message.text
    assert "- What to do: docs/runbooks/run-incomplete.md" in message.text
    office.people.heard("pager")
    works(office)
    [message] = [m for name, m in office.people.told if name == "pager"]
    assert (message.severity.value, message.title) == ("info", "acme: over: A run is incomplete (night)")
    assert "- Since: 2026-09-21" in message.text
    assert ", for 1 d" in message.text
    assert "How bad" not in message.text


def test_a_task_marked_success_by_hand_mends_nothing(office: Office) -> None:
    """Without complete books a night has not gone well, whatever Airflow says of it; late it is no more."""
    failed(office)
    late(office)
    run_succeeded(office.world.job("faulty").open(), DAG)
    assert office.names() == [f"RUN_FAILED#{DAG}"]
    run_succeeded(office.world.job("looked", RunKind.COMMAND).open(), DAG)  # a DAG whose runs have no books
    assert office.names() == []


def test_names_of_others_are_no_markup(office: Office) -> None:
    """A store, a SKU or an error of Amazon's cannot make a link, a table or a mention out of a message."""
    run_failed(office.world.job("faulty").open(), DAG, "<!channel> [x](http://evil) # big *b* `c`")
    assert "\\<\\!channel\\> \\[x\\](http://evil) \\# big \\*b\\* \\`c\\`" in office.people.told[0][1].text


def test_severities_have_routes_of_their_own(office: Office) -> None:
    """The pager hears of what is critical alone."""
    fails("forbidden")(office)
    assert office.people.heard("pager") == [INCOMPLETE, "began FORBIDDEN"]
    assert sorted(office.people.heard()) == ["began DRIFT", "began FORBIDDEN", INCOMPLETE]


def test_a_channel_that_fails_is_tried_again_and_the_others_are_not(office: Office) -> None:
    """The mail was taken once; the pager gets it when it works again."""
    office.people.broken = {"pager"}
    fails("forbidden")(office)
    assert (office.people.heard("pager"), INCOMPLETE in office.people.heard()) == ([], True)
    office.hour()
    office.people.broken = set()
    office.hour()
    assert (office.people.heard("pager"), office.people.heard()) == ([INCOMPLETE, "began FORBIDDEN"], [])


def test_what_nobody_could_be_told_is_not_told_when_it_is_over(office: Office) -> None:
    """An alert that began and ended while no channel worked is history, not news."""
    office.people.broken = {"mail"}
    buried(office)
    emptied(office)
    office.people.broken = set()
    office.hour()
    assert (office.people.heard(), [alert.kind for alert in office.book.all()]) == ([], [Kind.DEAD_LETTERS])


def test_without_channels_the_log_tells(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Once, as the channels would."""
    office.alerts(routes={})
    buried(office)
    office.hour()
    assert (
        caplog.text.count("acme: Messages became dead letters: messages in the dead-letter queue of results: about 1")
        == 1
    )


def test_it_is_told_again_after_a_day_and_not_before(office: Office) -> None:
    """An alert that stays is not forgotten, and no hourly noise."""
    buried(office)
    assert office.people.heard() == ["began DEAD_LETTERS"]
    for _ in range(23):
        office.world.wait(1)
        office.hour()
    assert office.people.heard() == []
    office.world.wait(1)
    office.hour()
    assert office.people.heard() == ["still DEAD_LETTERS"]


# --- silence


def test_a_window_keeps_warnings_quiet_and_they_are_told_after_it(office: Office) -> None:
    """What is critical is told all the same."""
    office.alerts(silence=[{"from": "00:00", "to": "00:00"}])
    fails("forbidden")(office)
    assert office.people.heard() == [INCOMPLETE, "began FORBIDDEN"]
    office.alerts(silence=[])
    office.hour()
    assert office.people.heard() == ["began DRIFT"]


def test_an_alert_is_silenced_by_hand_and_wakes(office: Office) -> None:
    """By its name, by its kind, or all; it is told when the silence ends if it still holds."""
    book, now = office.book, office.world.clock.time()
    book.silence("DEAD_LETTERS", now + 24 * HOUR, "ana", "known")
    buried(office)
    assert (office.people.heard(), office.names()) == ([], ["DEAD_LETTERS"])
    assert [(one["name"], one["by"], one["reason"]) for one in book.silences()] == [("DEAD_LETTERS", "ana", "known")]
    assert (book.wake("DEAD_LETTERS"), book.wake("DEAD_LETTERS")) == (True, False)
    office.hour()
    assert office.people.heard() == ["began DEAD_LETTERS"]
    book.silence("*", office.world.clock.time() + HOUR, "ana", "")
    emptied(office)
    assert office.people.heard() == []
    office.world.wait(1)
    office.hour()
    assert (office.people.heard(), book.silences()) == (["over DEAD_LETTERS"], [])
    with pytest.raises(BadInput, match=r"alert = 'DEAD_LETERS': none of NO_RUN, RUN_FAILED"):
        book.silence("DEAD_LETERS", now, "ana", "")


def test_what_comes_back_before_its_end_was_told_has_never_ended(office: Office) -> None:
    """An alert that flaps in a silence is one alert."""
    buried(office)
    [before] = office.open()
    office.people.broken = {"mail"}
    emptied(office)
    office.people.broken = set()
    office.people.heard()
    buried_again(office)
    [after] = office.open()
    assert (office.people.heard(), after.raised_at) == ([], before.raised_at)


def buried_again(office: Office) -> None:
    """The dead letter lies there again."""
    queues = office.world.queues
    queues.send_message(queues.get_queue_url("results-dlq")["QueueUrl"], "no json")
    office.hour()


# --- whose word counts


def test_a_part_of_the_catalog_raises_and_does_not_end(office: Office) -> None:
    """A backfill of one store that works says nothing about the night that did not."""
    fails("forbidden")(office)
    office.world.faults()
    office.people.heard()
    office.world.wait(1)
    assert office.night("part", THIRD, kind=RunKind.BACKFILL, stores=("SEA-001",))["state"] == "complete"
    # Amazon takes requests again, which any run can tell.
    assert (office.people.heard(), office.names()) == (["over FORBIDDEN"], ["RUN_INCOMPLETE#night", "DRIFT"])
    office.world.faults("forbidden")
    assert office.night("part2", OTHERS, kind=RunKind.BACKFILL, stores=("SEA-001",))["state"] == "incomplete"
    assert "RUN_INCOMPLETE#backfill" in office.names()
    works(office)
    assert office.names() == []


def test_a_dry_run_says_nothing(office: Office) -> None:
    """It sends nothing, so nothing is missing."""
    fails("forbidden")(office)
    before = office.names()
    office.world.faults()
    office.night("dry", dry_run=True)
    assert office.names() == before


def test_an_old_run_that_is_accounted_again_says_nothing(office: Office) -> None:
    """Clearing a task of last week must not raise last week's alert."""
    fails("forbidden")(office)
    works(office)
    office.people.heard()
    office.account(office.world.job("faulty").account, "faulty")
    assert (office.people.heard(), office.names()) == ([], [])


def test_released_rows_are_held_no_more(office: Office) -> None:
    """The release itself ends the alert; nobody has to wait for the next night."""
    held(office)
    run = office.world.job("faulty").open()
    approve(run, run.plan["held"]["hash"], "ana", "")
    assert office.night("release", kind=RunKind.BACKFILL, release="faulty")["state"] == "complete"
    assert (office.people.heard(), office.names()) == (["began ROWS_HELD", "over ROWS_HELD"], [])


def test_a_run_that_failed_with_books_is_told_once(office: Office) -> None:
    """Its books say what is missing: a second alert that it failed would say less."""
    fails("forbidden")(office)
    run_failed(office.world.job("faulty").open(), DAG, "account failed")
    assert Kind.RUN_FAILED not in {alert.kind for alert in office.open()}


def test_a_late_run_that_fails_is_late_no_more(office: Office) -> None:
    """It has ended."""
    late(office)
    failed(office)
    assert (office.names(), office.people.heard()) == (
        [f"RUN_FAILED#{DAG}"], ["began RUN_LATE", "over RUN_LATE", "began RUN_FAILED"],
    )  # fmt: skip


def test_what_cannot_be_seen_neither_begins_nor_ends(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The queue cannot be asked: what was known of it stays, and the rest is judged."""
    buried(office)
    office.people.heard()
    blind: Any = object()
    hourly(office.drain().open(), blind)
    assert (office.names(), office.people.heard()) == (["DEAD_LETTERS"], [])
    assert "Alert DEAD_LETTERS cannot be judged: AttributeError" in caplog.text


def test_two_that_look_at_once_tell_once(office: Office) -> None:
    """Whoever claims an alert tells it; one that dies with the claim is followed by another after a while."""
    office.people.broken = {"mail"}
    buried(office)
    office.people.broken = set()
    [alert] = office.open()
    assert (office.book.claim(alert, Change.BEGAN), office.book.claim(alert, Change.BEGAN)) == (True, False)
    office.hour()
    assert office.people.heard() == []
    office.world.clock.sleep(301)
    office.hour()
    assert office.people.heard() == ["began DEAD_LETTERS"]


# --- the heartbeat


def test_only_a_complete_night_about_everything_is_a_heartbeat(office: Office) -> None:
    """Neither an incomplete run, nor a dry one, nor a part."""
    office.alerts(heartbeat={"metric": True})
    beats: list[str] = []

    class Watcher:
        def put_metric_data(self, **data: Any) -> None:
            beats.append(data["MetricData"][0]["Dimensions"][0]["Value"])

    def beaten(name: str, rows: list[Any], **options: Any) -> list[str]:
        office.world.write(rows)
        books = office.world.job(name, **options).whole()
        return beat(office.world.job(name, **options).open(), books, Watcher())

    assert beaten("dry", OTHERS, dry_run=True) == []
    assert beaten("part", OTHERS, kind=RunKind.BACKFILL, stores=("SEA-001",)) == []
    office.world.faults("server_error_final")
    assert beaten("faulty", THIRD) == []
    office.world.faults()
    assert (beaten("whole", THIRD), beats) == (["metric"], ["acme"])
