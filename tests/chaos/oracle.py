"""The invariants, held to what reached Amazon and what it did, never to the project's own tables alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from tests.chaos.schedule import DAY
from tests.chaos.world import Key, Source

from catalog_sync.run import Options
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from tests.chaos.play import Player


def after_storm(player: Player) -> None:
    """Check what must hold at any moment."""
    _acknowledged_means_reported(player)
    _recorded_before_deleted(player)
    _never_over_the_limit(player)
    _never_an_older_row_after_a_newer_one(player)
    _empty_is_not_delete(player)
    _books_count_what_was_read(player)


def after_rest(player: Player) -> None:
    """Check what must hold once faults are over and the source rests."""
    after_storm(player)
    _converged(player)


def _fail(message: str) -> None:
    from tests.chaos.play import Violated

    raise Violated(message)


def _acknowledged_means_reported(player: Player) -> None:
    run = player.world.run("oracle", Options())
    with player.world.effects.calm():
        rows = Tables(run.lake).read("acknowledged", run.stores)
    reported = {(line.key, line.content) for line in player.world.core.said if line.status == "SUCCESS"}
    for row in rows.iter_rows(named=True):
        key, content = (row["store_id"], row["item_sku"]), (row["standard_price"], row["external_product_id"])
        if row["state"] == "ACTIVE" and (key, content) not in reported:
            _fail(f"I1: {key} stands as acknowledged with {content}, which no report says")


def _recorded_before_deleted(player: Player) -> None:
    for rule in player.world.undeleted_rules:
        _fail(rule)


def _never_over_the_limit(player: Player) -> None:
    window: deque[float] = deque()
    for entry in player.world.api.record.all():
        window.append(entry.time)
        while entry.time - window[0] > 1.0:
            window.popleft()
        if len(window) > 10:
            _fail(f"I3: {len(window)} requests within a second, at {entry.time}")
        if entry.status == 429 and entry.fault is None:
            _fail(f"I3: Amazon answered 429 at {entry.time}")


def _never_an_older_row_after_a_newer_one(player: Player) -> None:
    """A send is as old as the last change of its key that its run has read."""
    read_at = {played.run_id: played.read_at for played in player.runs}
    history = player.world.history
    moments = [at for at, _ in history]
    newest: dict[Key, tuple[int, str]] = {}
    for sent in player.world.sent:
        read = read_at[sent.run_id]
        if read is None:
            _fail(f"I4: {sent.run_id} sent before it had read its source")
            return
        place = bisect_right(moments, read) - 1
        for key, content in sent.items.items():
            age = _changed_at(history, place, key)
            row = history[place][1].get(key)
            if row is None or row.content() != content:
                _fail(f"I4: {sent.run_id} sent {key} as {content}; its source said {row}")
            if key in newest and age < newest[key][0]:
                _fail(f"I4: {sent.run_id} sent {key} as {content} after {newest[key][1]} had sent a newer one")
            newest[key] = max(newest.get(key, (age, sent.run_id)), (age, sent.run_id))


def _changed_at(history: list[tuple[float, Source]], place: int, key: Key) -> int:
    """Return since which moment, up to ``place``, the source has said of the key what it says at ``place``."""
    while place and history[place - 1][1].get(key) == history[place][1].get(key):
        place -= 1
    return place


def _empty_is_not_delete(player: Player) -> None:
    """What is archived was in no row that any run had read in the day before: three runs, twelve hours apart."""
    moments = [at for at, _ in player.world.history]
    read_at = {played.run_id: played.read_at for played in player.runs}
    for asked in player.world.archived:
        last = read_at[asked.run_id]
        for run_id, read in read_at.items():
            if last is None or read is None or not last - DAY + 60 <= read <= last:
                continue
            there = {sku for _, sku in player.world.history[bisect_right(moments, read) - 1][1]}
            if there & set(asked.skus) or (run_id == asked.run_id and not there):
                _fail(f"I5: {asked.run_id} archives {asked.skus}; {run_id}, which read within a day, had {there}")


def _books_count_what_was_read(player: Player) -> None:
    moments = [at for at, _ in player.world.history]
    for played in player.runs:
        if played.books is None or played.read_at is None or not played.books["total"]["read"]:
            continue
        rows = len(player.world.history[bisect_right(moments, played.read_at) - 1][1])
        if played.books["total"]["read"] != rows:
            _fail(f"I6: books of {played.run_id}: {played.books['total']['read']} rows read; the source had {rows}")


def _converged(player: Player) -> None:
    run = player.world.run("oracle", Options())
    with player.world.effects.calm():
        rows = Tables(run.lake).read("acknowledged", run.stores).filter(state="ACTIVE")
    if gone := set(rows["item_sku"]) - {sku for _, sku in player.world.source}:
        _fail(f"I7: {sorted(gone)} have left every store and are not archived")
    active, target = player.world.active(), player.world.source
    # A SKU that left keeps its barcode at Amazon until it is archived, so whoever claims it since is refused.
    left = {(key[0], content[1]) for key, content in active.items() if key not in target}
    for key, row in target.items():
        if active.get(key) != row.content() and (key[0], row.content()[1]) not in left:
            _fail(f"I7: Amazon has {key} as {active.get(key)}; the source says {row.content()}")
    ever = {(key, content) for sent in player.world.sent for key, content in sent.items.items()}
    for key, content in active.items():
        if key not in target and (key, content) not in ever:
            _fail(f"I7: Amazon has {key} as {content}, which nobody sent")
