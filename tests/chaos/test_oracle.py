"""The oracle can fail: each way in which the project could break an invariant is made, and is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.chaos.play import play
from tests.chaos.rows import SKUS
from tests.chaos.schedule import DAY, Edit, Incident, Night, Schedule, Strike
from tests.chaos.violated import Violated
from tests.chaos.world import EPOCH

from catalog_sync import catalog_rows, collect, diff, guarding, held, outcomes, plan, prepare, shards, tickets, upload
from catalog_sync.attempts import State
from catalog_sync.lease import Lease

PRICE = (Edit("price", ("S1", "A")),)


@pytest.fixture
def folder(fast_folder: Path) -> Path:
    """A folder for one world."""
    return fast_folder / "world"


def violated(folder: Path, *nights: Night, guarded: bool = False) -> str:
    """Play the nights and return the violation, its last line."""
    with pytest.raises(Violated) as found:
        play(Schedule(1, nights, guarded), folder)
    return str(found.value).splitlines()[-1]


def test_the_schedules_of_this_page_violate_nothing(folder: Path) -> None:
    """What each mutant is caught with passes without it."""
    for nights in (FATAL, HALF, REJECTED_LATER, CLEARED, (Night(),), BROKEN_REPORT, CRASH, HALF_THEN_BAD):
        play(Schedule(1, nights, mended=nights is not HALF_THEN_BAD), folder)
    for nights in (PRICES, OLD_EXPORT, REJECTED, RELEASED, CHANGED_MEANWHILE):
        play(Schedule(1, nights, guarded=True), folder)


FATAL = (Night(strikes=(Strike("fatal", 0, 3),)),)
#: Half of two new prices is applied by uploads that end FATAL; then the source goes back.
BOTH = (("S1", "A"), ("S1", "B"))
HALF = (
    Night(),
    Night(tuple(Edit("price", key) for key in BOTH), (Strike("fatal_half", 0, 3),)),
    Night(tuple(Edit("back", key) for key in BOTH)),
)
REJECTED_LATER = (Night(), Night((Edit("bad", ("S1", "A")),)), Night(PRICE))
#: Uploading fails for good; after the next night somebody clears the old task.
CLEARED = (Night(PRICE, (Strike("forbidden", 0, 6),)), Night(PRICE), Night(cleared=(2, "upload")))
BROKEN_REPORT = (Night(strikes=(Strike("report_unlisted", 0, 3),)),)
#: The process dies after the request was accepted and before that is recorded.
CRASH = (Night(incidents=(Incident(62),)),)
#: Half of two new prices is applied by uploads that end FATAL; then those rows are bad, and stay so.
HALF_THEN_BAD = (*HALF[:2], Night(tuple(Edit("bad", key) for key in BOTH)))

# Where guards are narrow:
PRICES = (Night(), Night((Edit("prices"),)))
#: A price changes, and days later the export of the day before that lies there once more.
OLD_EXPORT = (Night(pause=2 * DAY), Night(PRICE, pause=2 * DAY), Night(pause=2 * DAY), Night((Edit("export"),)))
REJECTED = (*PRICES, Night(answer=(1, "reject")))
RELEASED = (*PRICES, Night(answer=(1, "approve")))
CHANGED_MEANWHILE = (*PRICES, Night(PRICE, answer=(1, "approve")))


def test_an_end_without_a_report_that_is_taken_for_one_breaks_i1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a FATAL upload acknowledged: no report says so."""
    monkeypatch.setitem(outcomes._WHOLE, State.FATAL, (outcomes.ACKNOWLEDGED, ""))
    assert "I1" in violated(folder, *FATAL)


def test_a_message_deleted_before_it_is_recorded_breaks_i2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice that is only logged is lost with the message."""
    monkeypatch.setattr(collect.Collector, "_record", lambda self, message: message.recorded())
    assert "I2" in violated(folder, Night())


def test_requests_without_tickets_break_i3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again at once without a ticket is more than ten requests in some second."""
    monkeypatch.setattr(tickets.Tickets, "take", lambda self, operation, spare=False: self._clock.time())
    monkeypatch.setattr(upload, "wait_exponential_jitter", lambda **_: lambda state: 0.05)
    monkeypatch.setattr(upload, "PATIENCE", 1.0)
    assert "I3" in violated(folder, Night(strikes=(Strike("throttled", 0, 30),)))


def test_a_task_that_ignores_newer_plans_breaks_i4(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fencing token a task that is cleared days later sends what is old by now."""

    def renewal(self: Lease, token: int, owner: str, now: float) -> dict[str, Any]:
        return {"Update": self.ledger.update_request(*self.key, {"held_until": now + 900})}

    monkeypatch.setattr(Lease, "renewal", renewal)
    assert "I4" in violated(folder, *CLEARED)


def test_books_that_forget_rows_break_i6(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected rows that are not counted: the books do not add up."""
    count = prepare._count
    monkeypatch.setattr(
        prepare, "_count", lambda counts, what, *frames: None if what == "rejected" else count(counts, what, *frames)
    )
    assert "I6" in violated(folder, *REJECTED_LATER)


def test_doubt_that_is_forgotten_breaks_i7(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half applied, then the source goes back, and nobody thinks the rows dirty: Amazon keeps the wrong price."""
    turn = catalog_rows._turn
    clean = pl.lit(None, dtype=pl.Int64)
    monkeypatch.setattr(
        catalog_rows, "_turn", lambda before, rows, now: turn(before, rows, now).with_columns(dirty_until=clean)
    )
    assert "I7" in violated(folder, *HALF)


def test_a_row_that_is_taken_for_unchanged_breaks_i7(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is never sent: Amazon's catalog is not the source's."""
    compare = diff.diff

    def blind(items: pl.DataFrame, *arguments: Any) -> pl.DataFrame:
        made = compare(items, *arguments)
        return made.with_columns(
            action=pl.when(pl.col("action") == "changed").then(pl.lit("unchanged")).otherwise("action")
        )

    monkeypatch.setattr(prepare, "diff", blind)
    assert "I7" in violated(folder, Night(), Night(PRICE))


def test_guards_that_do_not_judge_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All prices of a store move at once, and are sent."""
    monkeypatch.setattr(guarding, "judge", lambda *judged: [])
    assert "guards: r2 sent 4 changed of 4 in S1" in violated(folder, *PRICES, guarded=True)


def test_changes_out_of_an_old_export_break_i5(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks how old the source is."""
    monkeypatch.setattr(shards, "judge_sources", lambda *judged: [])
    assert "I5: r4 sent {'S1': 1} changes out of an old export" in violated(folder, *OLD_EXPORT, guarded=True)


def test_an_archive_by_nights_that_read_nothing_of_a_store_breaks_i5(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is gone from the source, and A from the other one; the guard of empty stores does not look."""
    gone = Night((*(Edit("drop", ("S2", sku)) for sku in SKUS), Edit("leave", ("S1", "A"))))
    monkeypatch.setattr(guarding, "_empty_stores", lambda run, counts: [])
    assert "has read nothing of ['S2']" in violated(folder, Night(), gone, Night(), Night())


def test_a_release_that_nobody_approved_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may start a run, may release; a person's no does not count."""
    monkeypatch.setattr(guarding, "require_approval", lambda run, by: None)
    assert "guards: r3 sent what r2 holds, and nobody approved it" in violated(folder, *REJECTED, guarded=True)


def test_a_release_of_more_than_was_approved_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row has changed since it was shown, and goes with the others."""

    def careless(candidates: pl.DataFrame, approved: pl.DataFrame) -> pl.DataFrame:
        same = candidates.join(approved, on=["store_id", "item_sku"], how="semi", maintain_order="left")
        return same.with_columns(hold=pl.lit(""))

    monkeypatch.setattr(held, "release", careless)
    assert "guards: r3 released ('S1', 'A')" in violated(folder, *CHANGED_MEANWHILE, guarded=True)


def test_a_held_row_that_is_forgotten_breaks_i7(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held once is taken for unchanged: no later night derives it again."""
    compare = diff.diff

    def forgetful(items: pl.DataFrame, *arguments: Any) -> pl.DataFrame:
        made = compare(items, *arguments)
        late = arguments[3] > EPOCH + 1.5 * DAY
        return made.with_columns(action=pl.when(late).then(pl.lit("unchanged")).otherwise("action"))

    monkeypatch.setattr(prepare, "diff", forgetful)
    assert "I7" in violated(folder, *PRICES, guarded=True)


def test_a_rejected_row_whose_doubt_is_forgotten_breaks_i7(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half applied, then rejected for good: Amazon has what nothing proves, and the table calls it proven."""
    turn = catalog_rows._turn
    clean = pl.lit(None, dtype=pl.Int64)
    monkeypatch.setattr(
        catalog_rows, "_turn", lambda before, rows, now: turn(before, rows, now).with_columns(dirty_until=clean)
    )
    with pytest.raises(Violated, match=r"I7: .* was acknowledged \(it left or was rejected\)"):
        play(Schedule(1, HALF_THEN_BAD, mended=False), folder)


def test_what_is_written_twice_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of changes under one name for every try."""
    put = plan._put_list

    def again(run: Any, *arguments: Any) -> list[str]:
        run.lake.put(run.key("changes.csv"), run.token().encode())
        run.lake.put(run.key("changes.csv"), run.token().encode())
        return put(run, *arguments)

    monkeypatch.setattr(plan, "_put_list", again)
    assert "design 7: runs/r1/changes.csv was written twice" in violated(folder, Night())
