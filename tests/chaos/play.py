"""Playing a whole schedule, then nights of peace, and holding what came of it to the invariants."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import oracle
from tests.chaos.player import Player
from tests.chaos.recorded import Sent
from tests.chaos.rows import SKUS, Row
from tests.chaos.schedule import DAY, Night, Schedule
from tests.chaos.violated import Violated, violated
from tests.chaos.world import world

#: Nights without faults after which Amazon's catalog must be right: the horizon passes, three count who has left,
#: whoever claims a barcode of what was archived is sent, and a suspension (7 days) is over.
REST = (DAY, DAY, DAY, DAY, 8 * DAY, DAY)
#: Fewer do, once one sends nothing and the tables say that nothing waits; but of so many schedules one rests in full.
IN_FULL = 8
#: What a person says to what is held, once the source rests, and then always says yes: rows that waited for released
#: ones are due then.
FIRST, YES = ("approve", "reject", "mistyped"), ("approve",) * 3


def play(schedule: Schedule, folder: Path) -> Player:
    """Play the schedule, then nights of peace, and check the invariants; return the player.

    :raises Violated: an invariant does not hold; the message holds the schedule and what happened.
    """
    with world(folder, schedule.seed, schedule.guarded) as made:
        player = Player(made)
        player.begin()
        try:
            for night in (*[Night()] * schedule.loaded, *schedule.nights):
                player.night(night)
            oracle.after_storm(player)
            _rest(player, schedule.seed, schedule.mended)
            oracle.after_rest(player)
        except Exception as error:
            told = "\n".join(["", str(schedule), "---", *player.story, "---", f"{type(error).__name__}: {error}"])
            raise Violated(told) from error
        return player


def _rest(player: Player, seed: int, mended: bool) -> None:
    """Let faults be over and the source rest; a source that was lost or empty is back."""
    world, editor = player.world, player.editor
    rows, editor.beyond_export = editor.beyond_export or world.source, None
    # A key that left stays away.
    source = {key: Row(row.version, row.barcode, row.good or mended) for key, row in rows.items()}
    world.edit(source or editor.everything())
    world.queues.failing_deletes = 0
    full = seed % IN_FULL == 0
    for number, pause in enumerate(REST):
        archived = len(world.archived)
        quiet = not _uploads_of(player, Night(pause=pause)) and len(world.archived) == archived
        if number and not full and quiet and world.nothing_pends():
            break
    else:
        _sends_nothing(player, f"after {len(REST)} nights of peace")
    oracle.held_rows_stand(player)
    for said in (FIRST[seed % len(FIRST)], *YES):
        if not _last_holds(player):
            return
        player.night(Night(answer=(1, said)))
        _until_nothing_is_sent(player)


def _last_holds(player: Player) -> int:
    books = player.runs[-1].books
    return int(books["held"].get("rows", 0)) if books else 0


def _until_nothing_is_sent(player: Player) -> None:
    """Rest while a row waits for the barcode that another one gives up, which waits for a third: a night for each."""
    for _ in SKUS:
        if not _uploads_of(player, Night()):
            return
    _sends_nothing(player, "after what was held is released")


def _sends_nothing(player: Player, when: str) -> None:
    if sent := _uploads_of(player, Night()):
        keys = sorted({key for one in sent for key in one.items})
        violated(f"I7: a run over a source at rest, {when}, still sends {keys}")


def _uploads_of(player: Player, night: Night) -> list[Sent]:
    before = len(player.world.sent)
    player.night(night)
    return player.world.sent[before:]
