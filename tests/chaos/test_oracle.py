"""The oracle can fail: each way in which the project could break an invariant is made, and is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.chaos.play import Violated, play
from tests.chaos.schedule import Edit, Incident, Night, Schedule, Strike

from catalog_sync import catalog_rows, collect, diff, outcomes, prepare, tickets, upload
from catalog_sync.attempts import State
from catalog_sync.lease import Lease

PRICE = (Edit("price", ("S1", "A")),)


@pytest.fixture
def folder(fast_folder: Path) -> Path:
    """A folder for one world."""
    return fast_folder / "world"


def violated(folder: Path, *nights: Night) -> str:
    """Play the nights and return the violation, its last line."""
    with pytest.raises(Violated) as found:
        play(Schedule(1, nights), folder)
    return str(found.value).splitlines()[-1]


def test_the_schedules_of_this_page_violate_nothing(folder: Path) -> None:
    """What each mutant is caught with passes without it."""
    for nights in (FATAL, HALF, REJECTED_LATER, CLEARED, (Night(),), BROKEN_REPORT, CRASH):
        play(Schedule(1, nights), folder)


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
