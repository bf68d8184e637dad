"""What is archived: never what any store may still have, in the right order, and in the end all that has left."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from tests.chaos.deployment import APART, ARCHIVE_AFTER
from tests.chaos.violated import violated

if TYPE_CHECKING:
    from tests.chaos.player import Player


def empty_is_not_delete(player: Player) -> None:
    """Check that what is archived was in no row that a night has read for as long as absences must have counted.

    The night itself, or the release, must have read something of every store in which Amazon had anything.
    """
    since = (ARCHIVE_AFTER[player.world.guarded] - 1) * APART
    runs = {played.run_id: played for played in player.runs}
    for asked in player.world.archived:
        mine = runs[asked.run_id]
        if mine.read_at is None:
            violated(f"I5: {asked.run_id} archives {asked.skus} and has read nothing")
        if unread := asked.stores - {store for store, _ in _read(player, mine.read_at)}:
            violated(f"I5: {asked.run_id} archives {asked.skus} and has read nothing of {sorted(unread)}")
        for played in player.runs:
            if played.read_at is None or not mine.read_at - since <= played.read_at <= mine.read_at:
                continue
            there = {sku for _, sku in _read(player, played.read_at)}
            if (played is mine or played.counts_absences) and there & set(asked.skus):
                violated(f"I5: {asked.run_id} archives {asked.skus}; {played.run_id} had read {sorted(there)}")


def archives_keep_the_order(player: Player) -> None:
    """Check that nothing was archived after a run that read later had sent it, nor sent after such an archive."""
    read_at = {played.run_id: played.read_at or 0.0 for played in player.runs}
    for asked in player.world.archived:
        for sent in player.world.sent:
            if not {sku for _, sku in sent.items} & set(asked.skus):
                continue
            archived_last = sent.at < asked.at
            if archived_last and read_at[sent.run_id] > read_at[asked.run_id]:
                violated(f"I4: {asked.run_id} archives {asked.skus} after {sent.run_id}, which read later, has sent it")
            if not archived_last and read_at[sent.run_id] < read_at[asked.run_id]:
                violated(f"I4: {sent.run_id} sent some of {asked.skus} after {asked.run_id}, which read later")


def all_are_archived(player: Player, held: set[str]) -> None:
    """Check that nothing stands as active that is in no store any more, unless it is held or the source is doubtful."""
    books = player.runs[-1].books
    assert books is not None
    if any(one["code"].startswith(("SOURCE_", "STORE_")) for one in books["guards"]):
        return
    here = {sku for _, sku in player.world.source} | held
    if gone := [key for key, row in player.world.stood().items() if not row.archived and key[1] not in here]:
        violated(f"I7: {sorted(gone)} have left every store and are not archived")


def _read(player: Player, read: float) -> set[tuple[str, str]]:
    """Return the keys that the source had at that time."""
    moments = [at for at, _ in player.world.history]
    return set(player.world.history[bisect_right(moments, read) - 1][1])
