"""The invariants under schedules of faults, deaths, edits and other runs (``make chaos`` plays ten thousand)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from tests.chaos.play import play
from tests.chaos.schedule import Schedule, schedules

#: Schedules in all, in pieces that pytest-xdist can share out.
PIECES, EACH = 12, 25


@pytest.fixture(scope="module")
def folder(fast_folder: Path) -> Path:
    """A folder for one world at a time."""
    return fast_folder / "world"


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_invariant_holds_under_any_schedule(folder: Path, piece: int) -> None:
    """I1 to I7 hold after each schedule of the seed, and again once faults are over and the source rests."""

    @seed(piece)
    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(schedules)
    def check(schedule: Schedule) -> None:
        play(schedule, folder)

    check()
