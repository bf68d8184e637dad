"""Playing a schedule, as Airflow would run it: stages in order, tried again after a death, cleared by hand."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.effects import Died
from tests.chaos.schedule import DAY, Edit, Incident, Night, Schedule
from tests.chaos.world import SKUS, STORES, Key, Row, Source, World, world

from catalog_sandbox.faults import FaultPlan
from catalog_sync.account import account
from catalog_sync.collect import Collector
from catalog_sync.errors import CatalogSyncError, RetryLater
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.upload import upload

log = logging.getLogger(__name__)

#: Tries of a task, as the DAG has them.
TRIES = 7
#: Steps of collecting after which something must be wrong: the deadline comes long before.
MOST_STEPS = 20_000
#: Nights without faults after which Amazon's catalog must be right: the horizon passes, three count who has left,
#: whoever claims a barcode of what was archived is sent, and a suspension (7 days) is over.
REST = (DAY, DAY, DAY, DAY, 8 * DAY, DAY)


class Abandoned(BaseException):
    """The run's host is gone: nobody goes on with it."""


class Violated(AssertionError):
    """An invariant does not hold."""


@dataclass
class Played:
    """What a run came to."""

    run_id: str
    options: Options
    books: dict[str, Any] | None = None
    read_at: float | None = None


@dataclass
class Player:
    """Plays a schedule in a world."""

    world: World
    runs: list[Played] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    deaths: int = 0
    nested: int = 0
    junk: int = 0
    versions: int = 0
    barcodes: int = 4000
    before: dict[Key, Row] = field(default_factory=dict)

    # --- the source

    def begin(self) -> None:
        """Let the source have every SKU in every store."""
        self.world.edit({(store, sku): self._fresh() for store in STORES for sku in SKUS})

    def _fresh(self, barcode: int | None = None) -> Row:
        self.versions += 1
        if barcode is None:
            self.barcodes += 1
            barcode = self.barcodes
        return Row(self.versions, barcode)

    def edit(self, edits: tuple[Edit, ...]) -> None:
        """Change the source."""
        if not edits:
            return
        source: Source = dict(self.world.source)
        for edit in edits:
            self._edit(source, edit)
        self.world.edit(source)
        if any(edit.what == "lost" for edit in edits):
            self.world.lose_source()

    def _edit(self, source: Source, edit: Edit) -> None:
        key, old = edit.key, source.get(edit.key)
        if edit.what == "empty":
            source.clear()
        elif edit.what == "drop":
            source.pop(key, None)
        elif edit.what == "back" and key in self.before:
            source[key] = self.before[key]
        elif edit.what == "bad" and old:
            source[key] = Row(old.version, old.barcode, good=False)
        elif edit.what == "move" and old:
            self._move(source, key, old)
            return
        elif edit.what == "price" or not old:
            source[key] = self._fresh(old.barcode if old else None)
        if old and source.get(key) != old:
            self.before[key] = old

    def _move(self, source: Source, key: Key, old: Row) -> None:
        """Give the barcode to another SKU of the store, and a fresh one to its holder."""
        other = (key[0], SKUS[(SKUS.index(key[1]) + 1) % len(SKUS)])
        for moved in (key, other):  # going back to a barcode that another SKU has would be a conflict in the source
            self.before.pop(moved, None)
        source[key], source[other] = self._fresh(), self._fresh(old.barcode)

    # --- runs

    def night(self, night: Night) -> None:
        """Play one run with all that happens around it."""
        world = self.world
        self._clear(night)
        self.edit(night.edits)
        world.faults(FaultPlan.model_validate({"script": [strike.scripted() for strike in night.strikes]}))
        world.queues.failing_deletes = night.failing_deletes
        for kind in night.junk:
            self._throw(kind)
        kind = Kind.BACKFILL if night.store else Kind.NIGHT
        options = Options(kind=kind, stores=(night.store,) if night.store else (), resend=bool(night.store))
        played = Played(f"r{len(self.runs) + 1}", options)
        self.runs.append(played)
        world.effects.armed = [(one.after, self._incident(one)) for one in night.incidents]
        try:
            self._whole(played)
        except Abandoned:
            self.story.append(f"{played.run_id} is abandoned")
        finally:
            world.effects.armed = []
        world.clock.sleep(night.pause)
        world.table.forget(world.clock.now)

    def _incident(self, incident: Incident) -> Callable[[str], None]:
        def happen(where: str) -> None:
            self.story.append(f"{self.world.sender}: {incident} ({where})")
            if incident.other is not None:
                self.nested += 1
                sender = self.world.sender
                self.night(incident.other)
                self.world.sender = sender
                return
            self.deaths += 1
            raise Died if incident.what == "retry" else Abandoned

        return happen

    def _throw(self, kind: str) -> None:
        self.junk += 1
        said = {"ingestionId": "ing-of-nobody", "processingStatus": "DONE", "reportDownloadLink": ""}
        if kind == "repeat" and self.world.core.records():
            last = self.world.core.records()[0]
            said |= {"ingestionId": last["ingestion_id"], "processingStatus": last["status"]}
        if kind == "not a state":
            said["processingStatus"] = "FINISHED"
        self.world.queues.put("{" if kind == "malformed" else json.dumps(said))

    def _clear(self, night: Night) -> None:
        if night.cleared is None or len(self.runs) < night.cleared[0]:
            return
        played = self.runs[-night.cleared[0]]
        if self._of(played).lake.exists(f"runs/{played.run_id}/plan.json") or night.cleared[1] == "collect":
            self.story.append(f"{night.cleared[1]} of {played.run_id} is cleared")
            self.world.sender = played.run_id
            self._stage(played, night.cleared[1])
            if night.cleared[1] != "plan":
                self._stage(played, "account")

    def _of(self, played: Played) -> Run:
        return self.world.run(played.run_id, played.options)

    def _whole(self, played: Played, follow_ups: int = 0) -> None:
        self.world.sender = played.run_id
        if self._stage(played, "extract") and self._stage(played, "prepare") and self._stage(played, "plan"):
            self._stage(played, "upload")
        self._stage(played, "collect")
        follow = self._stage(played, "settle")
        self._stage(played, "account")
        if isinstance(follow, dict) and follow["follow_up"] and follow_ups < 2:
            again = Played(f"r{len(self.runs) + 1}", Options(kind=Kind.NIGHT, follow_up=follow_ups + 1))
            self.runs.append(again)
            self._whole(again, follow_ups + 1)

    def _stage(self, played: Played, name: str) -> Any:
        """Try a task until it succeeds or may not be tried again; return what it made, or nothing."""
        for _ in range(TRIES):
            try:
                return getattr(self, f"_{name}")(self._of(played), played) or True
            except Died:
                self.world.clock.sleep(300)  # until Airflow has noticed
                self.world.sender = played.run_id
            except RetryLater as later:
                self.story.append(f"{played.run_id} {name}: {later}")
                self.world.clock.sleep(later.after or 60)
            except CatalogSyncError as error:
                self.story.append(f"{played.run_id} {name}: {type(error).__name__}: {error}")
                return None
        return None

    def _extract(self, run: Run, played: Played) -> Any:
        made = extract(run, "erp")
        played.read_at = float(run.lake.get_json(run.key("extract/erp.json"))["read_at"])
        return made

    def _prepare(self, run: Run, played: Played) -> Any:
        return [prepare(run, shard) for shard in shards(run)]

    def _plan(self, run: Run, played: Played) -> Any:
        return plan(run)

    def _upload(self, run: Run, played: Played) -> Any:
        client, failures = self.world.client(run), []
        for group in plan(run)["groups"]:
            try:
                upload(run, group, client)
            except RetryLater as later:
                failures.append(later)
            except CatalogSyncError as error:
                self.story.append(f"{run.run_id} upload {group}: {type(error).__name__}: {error}")
        if failures:
            raise failures[0]

    def _collect(self, run: Run, played: Played) -> Any:
        collector = Collector(run, self.world.client(run), transport=self.world.wire)
        for _ in range(MOST_STEPS):
            progress = collector.step()
            if progress.round_over:
                collector.archive()
            if progress.finished:
                return True
            if not progress.received:
                self.world.clock.sleep(10)
        raise Violated(f"{run.run_id}: collecting does not end")

    def _settle(self, run: Run, played: Played) -> Any:
        return settle(run)

    def _account(self, run: Run, played: Played) -> Any:
        played.books = account(run)
        if played.books["state"] == "unbalanced":
            raise Violated(f"I6: books of {run.run_id}: {'; '.join(played.books['problems'])}")
        return played.books


def play(schedule: Schedule, folder: Path) -> Player:
    """Play the schedule, then nights of peace, and check the invariants; return the player.

    :raises Violated: an invariant does not hold; the message holds the schedule and what happened.
    """
    from tests.chaos import oracle

    with world(folder, schedule.seed) as made:
        player = Player(made)
        player.begin()
        try:
            for night in schedule.nights:
                player.night(night)
            oracle.after_storm(player)
            _rest(player)
            oracle.after_rest(player)
        except Exception as error:
            told = "\n".join(["", str(schedule), "---", *player.story, "---", f"{type(error).__name__}: {error}"])
            raise Violated(told) from error
        return player


def _rest(player: Player) -> None:
    """Let faults be over and the source rest; a source that was lost or empty is back."""
    source = {key: row if row.good else Row(row.version, row.barcode) for key, row in player.world.source.items()}
    if not source:
        source = {(store, sku): player._fresh() for store in STORES for sku in SKUS}
    # A key that left stays away; one that was rejected is good again.
    player.world.edit(source)
    player.world.queues.failing_deletes = 0
    for pause in REST:
        player.night(Night(pause=pause))
    before = len(player.world.sent)
    player.night(Night())
    if len(player.world.sent) > before:
        keys = sorted({key for sent in player.world.sent[before:] for key in sent.items})
        raise Violated(f"I7: a run over a source at rest, after {len(REST)} nights of peace, still sends {keys}")
