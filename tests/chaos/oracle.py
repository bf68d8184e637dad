"""The invariants, held to what reached Amazon and what it did, never to the project's own tables alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from typing import TYPE_CHECKING

from tests.chaos import guarded, leavers
from tests.chaos.rows import Key, Source
from tests.chaos.violated import violated

from catalog_sync.audit import verify
from catalog_sync.run import Options

if TYPE_CHECKING:
    from tests.chaos.player import Player


def after_storm(player: Player) -> None:
    """Check what must hold at any moment."""
    _acknowledged_means_reported(player)
    _recorded_before_deleted(player)
    _never_over_the_limit(player)
    _never_an_older_row_after_a_newer_one(player)
    leavers.empty_is_not_delete(player)
    leavers.archives_keep_the_order(player)
    _books_count_what_was_read(player)
    guarded.nothing_passes_the_guards(player)
    guarded.what_is_released_was_approved(player)
    _the_trail_is_whole(player)


def after_rest(player: Player) -> None:
    """Check what must hold once faults are over, the source rests, and what was held is released."""
    after_storm(player)
    converged(player, {})


def _acknowledged_means_reported(player: Player) -> None:
    reported = {(line.key, line.content) for line in player.world.core.said if line.status == "SUCCESS"}
    for key, row in player.world.stood().items():
        if (key, row.content) not in reported:
            violated(f"I1: {key} stands as acknowledged with {row.content}, which no report says")
        if row.archived and key[1] not in player.world.core.said_archived:
            violated(f"I1: {key} stands as archived, which no report says")


def _recorded_before_deleted(player: Player) -> None:
    for rule in player.world.broken_rules:
        violated(rule)


def _never_over_the_limit(player: Player) -> None:
    window: deque[float] = deque()
    for entry in player.world.api.record.all():
        window.append(entry.time)
        while entry.time - window[0] > 1.0:
            window.popleft()
        if len(window) > 10:
            violated(f"I3: {len(window)} requests within a second, at {entry.time}")
        if entry.status == 429 and entry.fault is None:
            violated(f"I3: Amazon answered 429 at {entry.time}")


def _never_an_older_row_after_a_newer_one(player: Player) -> None:
    """A send is as old as the last change of its key that its run has read."""
    read_at = {played.run_id: played.read_at for played in player.runs}
    history = player.world.history
    moments = [at for at, _ in history]
    newest: dict[Key, tuple[int, str]] = {}
    for sent in player.world.sent:
        read = read_at[sent.run_id]
        if read is None:
            violated(f"I4: {sent.run_id} sent before it had read its source")
        place = bisect_right(moments, read) - 1
        for key, content in sent.items.items():
            age = _changed_at(history, place, key)
            row = history[place][1].get(key)
            if row is None or row.content() != content:
                violated(f"I4: {sent.run_id} sent {key} as {content}; its source said {row}")
            if key in newest and age < newest[key][0]:
                violated(f"I4: {sent.run_id} sent {key} as {content} after {newest[key][1]} had sent a newer one")
            newest[key] = max(newest.get(key, (age, sent.run_id)), (age, sent.run_id))


def _changed_at(history: list[tuple[float, Source]], place: int, key: Key) -> int:
    """Return since which moment, up to ``place``, the source has said of the key what it says at ``place``."""
    while place and history[place - 1][1].get(key) == history[place][1].get(key):
        place -= 1
    return place


def _books_count_what_was_read(player: Player) -> None:
    moments = [at for at, _ in player.world.history]
    for played in player.runs:
        if played.books is None or played.read_at is None or not played.books["total"]["read"]:
            continue
        source = player.world.history[bisect_right(moments, played.read_at) - 1][1]
        rows = Counter(store for store, _ in source)
        read = {store: line["read"] for store, line in played.books["stores"].items() if line["read"]}
        if read != rows:
            violated(f"I6: books of {played.run_id}: {read} rows read; the source had {dict(rows)}")


def _the_trail_is_whole(player: Player) -> None:
    with player.world.effects.calm():
        verdict = verify(player.world.run("oracle", Options()))
    if verdict.problems:
        violated(f"the audit trail: {'; '.join(verdict.problems)}")


def held_rows_stand(player: Player) -> None:
    """Check that all is right but for the rows that the last run holds, and that those are as they were acknowledged.

    What an upload has done that came to no proof may stand there too, but then the row is known to be doubtful.
    """
    held = guarded.held_by(player, player.runs[-1])
    converged(player, held)
    source, active, stood = player.world.source, player.world.active(), player.world.stood()
    for key in active.keys() | stood.keys():
        if key in source and source[key].good and key not in held:
            continue
        wanted = stood[key].content if key in stood and not stood[key].archived else None
        if key in stood and stood[key].proven and active.get(key) != wanted:
            why = held.get(key, "it left or was rejected")
            violated(f"I7: Amazon has {key} as {active.get(key)}; {wanted} was acknowledged ({why})")


def converged(player: Player, held: dict[Key, str]) -> None:
    """Check that Amazon's active catalog is the source's, but for rows that are held, bad, or blocked by such.

    :param held: the rows that are held, each with the reason.
    """
    active, target = player.world.active(), player.world.source
    leavers.all_are_archived(player, {sku for _, sku in held})
    moving = {key for key, row in target.items() if row.good and key not in held}
    # A SKU that left, or whose row is held or bad, keeps its barcode at Amazon, so whoever claims it since is refused.
    kept = {(key[0], content[1]) for key, content in active.items() if key not in moving}
    for key in moving:
        wanted = target[key].content()
        if active.get(key) != wanted and (key[0], wanted[1]) not in kept:
            violated(f"I7: Amazon has {key} as {active.get(key)}; the source says {wanted}")
    ever = {(key, content) for sent in player.world.sent for key, content in sent.items.items()}
    for key, content in active.items():
        if (key, content) not in ever:
            violated(f"I7: Amazon has {key} as {content}, which nobody sent")
