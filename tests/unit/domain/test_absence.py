"""Counting absences: what a run may say of a SKU that it has not read."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from catalog_sync.absence import Reading, counted, due, why_not_counted
from catalog_sync.tables import ABSENT

DAY = 86_400.0
EMPTY = pl.DataFrame(schema=ABSENT)


def skus(text: str) -> pl.Series:
    return pl.Series("item_sku", text.split(), pl.String)


def reading(day: float, gone: str = "", present: str = "", complete: bool = True, untellable: int = 0) -> Reading:
    """What the run of that day has read, within an hour."""
    began = DAY * day
    return Reading("acme", f"r{day:g}", began, began + 3600, complete, untellable, skus(present), skus(gone))


def after(*readings: Reading, before: pl.DataFrame = EMPTY) -> pl.DataFrame:
    """The table after the readings."""
    for one in readings:
        before = counted(before, one, timedelta(hours=12))
    return before


def missed(lines: pl.DataFrame) -> dict[str, int]:
    """SKU → runs missed."""
    return {sku: runs for sku, runs in lines.select("item_sku", "runs_missed").iter_rows() if sku}


def test_each_complete_run_counts_once() -> None:
    """However often it is tried; the third is due after three."""
    lines = after(reading(1, "A B"), reading(2, "A"), reading(2, "A"), reading(3, "A"))
    assert missed(lines) == {"A": 3}
    assert due(lines, "r3", 3).to_list() == ["A"]
    assert due(lines, "r3", 4).to_list() == []
    assert after(reading(3, "A"), before=lines).equals(lines)


def test_only_the_run_that_counted_last_may_archive() -> None:
    """An older plan that is made late finds nothing due."""
    lines = after(reading(1, "A"), reading(2, "A"))
    assert due(lines, "r1", 1).to_list() == []


def test_a_run_that_is_not_complete_counts_nobody_and_still_sees_who_is_there() -> None:
    """A short source proves presence, never absence."""
    lines = after(reading(1, "A B"), reading(2, "A B", present="B", complete=False))
    assert missed(lines) == {"A": 1}
    assert due(lines, "r2", 1).to_list() == []


def test_an_older_reading_says_nothing_after_a_newer_one() -> None:
    """Its sources were read before the newer run ended reading: neither its presences nor its absences count."""
    lines = after(reading(1, "A"), reading(3, "A"))
    late = reading(2, "A B", present="C")
    assert after(late, before=lines).equals(lines)
    assert why_not_counted(lines, late) == "run r3 has read the sources since"


def test_a_sku_that_was_back_counts_anew() -> None:
    """And one that Amazon no longer has is forgotten."""
    assert missed(after(reading(1, "A B"), reading(2, "A B"), reading(3, present="A"), reading(4, "A"))) == {"A": 1}


def test_runs_too_close_together_count_as_one() -> None:
    """They read the same exports."""
    second = reading(1.1, "A")
    lines = after(reading(1, "A"), second)
    assert missed(lines) == {"A": 1}
    assert "archive.apart" in why_not_counted(lines, second)
    assert missed(after(reading(1.5, "A"), before=lines)) == {"A": 2}


def test_rows_whose_sku_cannot_be_told_may_be_the_absent_one() -> None:
    """More of them than in the last run that had the SKU: that run counts nothing of it."""
    lines = after(reading(1, untellable=2), reading(2, "A", untellable=3), reading(3, "A B", untellable=3))
    assert missed(lines) == {"A": 0, "B": 1}
    assert due(lines, "r3", 1).to_list() == ["B"]
    assert missed(after(reading(4, "A B", untellable=2), before=lines)) == {"A": 1, "B": 2}


def test_a_short_run_makes_nobody_bolder() -> None:
    """It lacks rows, those whose SKU cannot be told among them, or has more of them than a good one."""
    lines = after(reading(1, untellable=2), reading(2, untellable=9, complete=False), reading(3, "A", untellable=3))
    assert missed(lines) == {"A": 0}
    lines = after(reading(1, untellable=2), reading(2, untellable=0, complete=False), reading(3, "A", untellable=2))
    assert missed(lines) == {"A": 0}


def test_the_first_run_ever_trusts_no_row_that_it_cannot_tell() -> None:
    """Nobody knows how many there were before."""
    assert missed(after(reading(1, "A", untellable=1))) == {"A": 0}
    assert missed(after(reading(1, "A"))) == {"A": 1}
