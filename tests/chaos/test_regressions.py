"""What schedules have found, each as a test of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.play import play
from tests.chaos.player import Player
from tests.chaos.schedule import Edit, Incident, Night, Schedule, Strike
from tests.chaos.world import world

from catalog_local.environment import CHECKOUT
from catalog_sync import settle
from catalog_sync.account import account


@pytest.mark.parametrize("moment", ["before", "after"])
def test_books_that_are_made_while_results_are_settled_are_incomplete(
    fast_folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """An outcome counts once its attempt is settled: neither its file alone nor the table's row is a settled result."""
    apply, early = settle._apply, []

    def meanwhile(run: Any, outcomes: Any, now: float) -> None:
        if moment == "after":
            apply(run, outcomes, now)
        early.append(account(run))
        if moment == "before":
            apply(run, outcomes, now)

    with world(fast_folder / "world", 0) as made:
        player = Player(made)
        player.begin()
        monkeypatch.setattr(settle, "_apply", meanwhile)
        player.night(Night())
    assert [books["state"] for books in early] == ["incomplete"]
    assert early[0]["total"]["unknown"] == 8
    books = player.runs[0].books
    assert books is not None
    assert (books["state"], books["total"]["acknowledged"]) == ("complete", 8)


def test_a_store_that_vanishes_after_a_first_load_that_was_never_complete_loses_nothing(fast_folder: Path) -> None:
    """Amazon has rows of it, so it was loaded, although no run was ever complete (I5)."""
    with world(fast_folder / "world", 0) as made:
        player = Player(made)
        player.begin()
        player.night(Night(strikes=(Strike("report_fields_missing", times=6),)))
        assert (player.runs[0].books or {})["state"] == "incomplete"
        made.edit({key: row for key, row in made.source.items() if key == ("S1", "A")})
        for _ in range(5):
            player.night(Night())
        books = player.runs[-1].books
    assert books is not None
    assert ("STORE_EMPTY", "S2") in {(one["code"], one["store"]) for one in books["guards"]}
    assert made.archived == []


def test_a_store_of_which_amazon_has_nothing_stops_no_archive(fast_folder: Path) -> None:
    """It is configured and not open yet: no source and no upload ever had a row of it."""
    begins = Night(edits=(Edit("empty"), Edit("price", ("S1", "A"))), pause=600)
    leaves = Night(edits=(Edit("price", ("S1", "B")), Edit("leave", ("S1", "A"))), pause=600)
    player = play(Schedule(nights=(begins, leaves), mended=False), fast_folder)
    assert [asked.skus for asked in player.world.archived] == [("A",)]


@pytest.mark.timeout(60)
def test_a_run_that_begins_holds_up_no_other_of_its_process(fast_folder: Path) -> None:
    """While one writes down what it was asked, another one, whose preparing in threads is tried again, goes its way."""
    other = Night(incidents=(Incident(14),), pause=600)
    player = play(Schedule(nights=(Night(incidents=(Incident(0, "other", other),)),)), fast_folder)
    assert player.deaths == 1
    assert [played.books and played.books["state"] for played in player.runs[:2]] == ["complete", "complete"]


def test_an_archive_that_another_run_settles_meanwhile_is_not_missing_in_its_books(fast_folder: Path) -> None:
    """It is in the books of the run that asked for it, whoever settles it (I6)."""
    other = Night(edits=(Edit("price", ("S2", "A")),), pause=600)
    night = Night(
        edits=(Edit("leave", ("S1", "C")), Edit("price", ("S1", "A"))),
        strikes=(Strike("reset_after", times=6),),
        incidents=(Incident(150, "other", other),),
    )
    player = play(Schedule(nights=(night,), guarded=True, loaded=True), fast_folder)
    mine, meanwhile = (played.books for played in player.runs[1:3])
    assert mine
    assert meanwhile
    assert meanwhile["catalog"]["S2"] == {
        "active_before": 4, "new": 0, "reactivated": 0, "archived": 0, "active_after": 4
    }  # fmt: skip
    assert mine["catalog"]["S2"]["archived"] == 1


@pytest.mark.parametrize("fault", [(), (Strike("fatal", skip=1),)])
def test_books_that_are_made_again_after_another_run_archived_balance(
    fast_folder: Path, fault: tuple[Strike, ...]
) -> None:
    """Complete ones stand, incomplete ones do not count what the other run has done to the same rows since (I6)."""
    sends = Night(edits=(Edit("price", ("S1", "A")), Edit("price", ("S2", "B"))), strikes=fault)
    leaves, cleared = Night(edits=(Edit("leave", ("S1", "A")),)), Night(cleared=(4, "account"))
    player = play(Schedule(nights=(sends, leaves, Night(), Night(), cleared), loaded=True), fast_folder)
    assert [asked.skus for asked in player.world.archived] == [("A",)]
    assert "account of r2 is cleared" in player.story


def test_a_row_that_was_held_while_it_was_in_doubt_is_released(fast_folder: Path) -> None:
    """A person was shown it among the others, and approved it as it was."""
    doubtful = Night(edits=(Edit("price", ("S1", "B")),), strikes=(Strike("bad_gateway_after", times=6),), pause=600)
    held = Night(edits=(Edit("prices", ("S1", "A")),), pause=26 * 3600)
    player = play(
        Schedule(nights=(doubtful, held, Night(answer=(1, "approve"))), guarded=True, loaded=True), fast_folder
    )
    assert any(sent.run_id == "r4" and ("S1", "B") in sent.items for sent in player.world.sent)


def test_every_test_that_the_page_names_exists() -> None:
    """What was found is told with the test that holds it (docs/chaos.md)."""
    page = (CHECKOUT / "docs" / "chaos.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"def (test_\w+)\(", tests))
