"""The audit trail: what is in it, that nothing is in it twice, and that no change of it goes unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.stories.world import World, row

from catalog_sync.audit import Entry, What, entries, find, record, verify
from catalog_sync.errors import BadInput
from catalog_sync.lake import Lake
from catalog_sync.release import reject


def trail(world: World) -> list[Entry]:
    """The entries, in order."""
    return list(entries(world.job("any").open().lake))


def file(world: World, number: int) -> Path:
    """Where an entry lies."""
    return world.lake / "audit" / f"{number:012d}.json"


def three(world: World) -> World:
    """Three nights that sent something."""
    for number in range(3):
        world.night(f"r{number}", [row(n, name=f"v{number}") for n in range(2)])
    return world


def test_each_run_that_sends_is_recorded_once(world: World) -> None:
    """With counts, plan and reason; a run that sends nothing is not, nor is a cleared task once more."""
    world.job("r1", reason="try", by="ann").read([row(1)]).plan()
    world.job("r1").upload()
    world.job("r1").end()
    world.job("r1").account()
    world.night("quiet")
    [entry] = trail(world)
    assert (entry.number, entry.who, entry.what, entry.run_id) == (1, "ann", "upload", "r1")
    assert (entry.details["sent"], entry.details["acknowledged"], entry.details["reason"]) == (1, 1, "try")
    assert verify(world.job("any").open()).problems == []


def test_a_run_that_nobody_started_is_its_kinds(world: World) -> None:
    """The schedule has no name."""
    three(world)
    assert {entry.who for entry in trail(world)} == {"(night)"}


def test_an_entry_that_was_answered_by_nobody_is_not_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store repeats a write whose answer was lost, and is told that the number is taken: by ourselves."""
    run = world.job("r1").open()
    assert run.manifest
    create, lost = Lake.create, [True]

    def answered(lake: Lake, key: str, data: bytes) -> bool:
        return create(lake, key, data) and not (lost and lost.pop())

    monkeypatch.setattr(Lake, "create", answered)
    entry = record(run, What.HELD, {"rows": 1})
    assert (trail(world), lost) == ([entry], [])


def test_a_death_between_entry_and_note_records_nothing_twice(world: World) -> None:
    """Whatever was written last: the same entry is found again."""
    run = world.job("r1").open()
    first = record(run, What.HELD, {"rows": 1})
    ledger = world.ledger.items
    for key in [key for key in ledger if key[0].startswith("AUDIT#") and key[1] == "LAST"]:
        del ledger[key]
    assert record(run, What.HELD, {"rows": 1}) == first == find(run, What.HELD)
    assert record(world.job("r2").open(), What.HELD, {}).number == 2
    assert [entry.number for entry in trail(world)] == [1, 2]


def test_a_new_ledger_goes_on_with_the_old_trail(world: World) -> None:
    """The lake is the trail; the ledger only remembers where it ends."""
    three(world)
    world.ledger.items.clear()
    assert record(world.job("new").open(), What.HELD, {}).number == 4
    assert verify(world.job("any").open()).problems == []


def changed(path: Path) -> None:
    """Another name in it."""
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "who": "somebody else"}, ensure_ascii=False, sort_keys=True))


@pytest.mark.parametrize(
    ("number", "tamper", "problem"),
    [
        (1, changed, "entry 2 does not follow from entry 1: one of them was changed"),
        (2, Path.unlink, "entry 2 is missing"),
        (3, Path.unlink, "entry 3 is missing"),
        (2, lambda path: path.write_text("{}"), "entry 2 is no entry"),
        (2, lambda path: path.write_bytes(path.with_stem(f"{1:012d}").read_bytes()), "entry 2 says that it is 1"),
    ],
)
def test_what_was_changed_is_found(world: World, number: int, tamper: object, problem: str) -> None:
    """An entry that was changed, removed, emptied, or put in another's place."""
    three(world)
    tamper(file(world, number))  # type: ignore[operator]
    assert problem in verify(world.job("any").open()).problems


def test_a_broken_trail_is_not_gone_on_with(world: World) -> None:
    """Whoever would append says so, loudly."""
    three(world)
    file(world, 3).write_text("null")
    with pytest.raises(BadInput, match="is no entry of the audit trail; somebody has changed it"):
        record(world.job("r9").open(), What.HELD, {})


def test_no_answer_is_not_a_no(world: World) -> None:
    """Who rejected, and that nobody answered, are two things."""
    world.write([row(1)])
    for name in ("r1", "r2"):
        world.job(name).read().plan()
    assert reject(world.job("r1").open(), "ann", "wrong prices") == "rejected by ann"
    assert reject(world.job("r2").open(), "", "").startswith("not answered")
    assert [(entry.what, entry.who) for entry in trail(world)] == [("rejected", "ann"), ("not answered", "(nobody)")]
