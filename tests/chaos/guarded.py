"""What guards must hold back, counted anew from what reached Amazon; and what a release may send."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.deployment import FRESH, NARROW
from tests.chaos.rows import STORES, Key
from tests.chaos.violated import violated

if TYPE_CHECKING:
    from tests.chaos.player import Played, Player
    from tests.chaos.world import Stood


def nothing_passes_the_guards(player: Player) -> None:
    """Check that no run has sent more changes than a limit allows, or a change out of an old source, unapproved."""
    if not player.world.guarded:
        return
    for played in player.runs:
        if played.stood is not None and not played.options.release:
            _passes_no_guard(player, played, played.stood)


def _passes_no_guard(player: Player, played: Played, stood: Stood) -> None:
    stood = {key: row for key, row in stood.items() if not row.archived}
    active, changed, moved = Counter(store for store, _ in stood), Counter[str](), Counter[str]()
    for key, content in _sent_by(player, played).items():
        if key in stood and stood[key].content != content:
            changed[key[0]] += 1
            old, new = float(stood[key].content[0]), float(content[0])
            moved[key[0]] += abs(new - old) > 0.5 * old
    for what, counts in (("changed", changed), ("prices", moved)):
        for store in STORES:
            if _too_many(counts[store], active[store], NARROW["store"][what]):
                violated(f"guards: {played.run_id} sent {counts[store]} {what} of {active[store]} in {store}")
        if _too_many(counts.total(), active.total(), NARROW["total"][what]):
            violated(f"guards: {played.run_id} sent {counts.total()} {what} of {active.total()} in all")
    if changed and _read_an_old_export(player, played):
        violated(f"I5: {played.run_id} sent {dict(changed)} changes out of an old export")


def what_is_released_was_approved(player: Player) -> None:
    """Check that a release sent only rows that a person had approved, just as the run that held them had read them.

    What a person is shown are the rows that a guard holds, such among them as were in doubt then, too.
    """
    moments = [at for at, _ in player.world.history]
    for played in player.runs:
        sent = _sent_by(player, played)
        if not played.options.release or not sent:
            continue
        if played.options.release not in player.approved:
            violated(f"guards: {played.run_id} sent what {played.options.release} holds, and nobody approved it")
        asked = next(one for one in player.runs if one.run_id == played.options.release)
        assert asked.read_at is not None
        shown = player.world.history[bisect_right(moments, asked.read_at) - 1][1]
        held = _shown_by(player, asked)
        for key, content in sent.items():
            if key not in held or shown[key].content() != content:
                violated(f"guards: {played.run_id} released {key} as {content}; {asked.run_id} held {shown.get(key)}")


def _shown_by(player: Player, played: Played) -> set[Key]:
    """Return the rows that a person was asked about."""
    with player.world.effects.calm():
        run = player.world.run(played.run_id, played.options)
        frames = [run.lake.get_frame(part["key"], ["store_id", "item_sku"]) for part in run.plan["held"]["parts"]]
    return {(store, sku) for frame in frames for store, sku in frame.iter_rows()}


def held_by(player: Player, played: Played) -> dict[Key, str]:
    """Return the rows that the run holds, each with the reason, those included that wait for a barcode."""
    with player.world.effects.calm():
        run = player.world.run(played.run_id, played.options)
        frames = [run.lake.get_frame(key) for key in run.plan["events"]]
        held = [frame.filter(what="held").select("store_id", "item_sku", "code") for frame in frames]
    return {(store, sku): code for frame in held for store, sku, code in frame.iter_rows()}


def _read_an_old_export(player: Player, played: Played) -> bool:
    assert played.read_at is not None
    place = bisect_right([at for at, _ in player.world.history], played.read_at) - 1
    return played.read_at - player.world.exports.get(place, played.read_at) > FRESH


def _sent_by(player: Player, played: Played) -> dict[Key, tuple[str, str]]:
    return {
        key: content
        for sent in player.world.sent
        if sent.run_id == played.run_id
        for key, content in sent.items.items()
    }


def _too_many(rows: int, of: int, limit: dict[str, int]) -> bool:
    return of > 0 and rows >= limit["min_rows"] and 100 * rows > limit["percent"] * of
