"""Playing nights as Airflow would: stages in order, tried again after a death, cleared by hand, held rows released."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.effects import Died
from tests.chaos.rows import Editor
from tests.chaos.schedule import Incident, Night
from tests.chaos.violated import violated
from tests.chaos.world import Stood, World

from catalog_sandbox.faults import FaultPlan
from catalog_sync.account import account
from catalog_sync.collect import Collector
from catalog_sync.errors import BadInput, CatalogSyncError, RetryLater
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.release import approve, question, reject
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.upload import upload

log = logging.getLogger(__name__)

#: Tries of a task, as the DAG has them.
TRIES = 7
#: The stages up to the last request, each of which needs the one before.
SENDING = ("extract", "prepare", "plan", "upload")
#: Steps of collecting after which something must be wrong: the deadline comes long before.
MOST_STEPS = 20_000


class Abandoned(BaseException):
    """The run's host is gone: nobody goes on with it."""


@dataclass
class Played:
    """What a run came to."""

    run_id: str
    options: Options
    books: dict[str, Any] | None = None
    read_at: float | None = None
    #: What Amazon had acknowledged when its rows were compared; unknown where another run came between.
    stood: Stood | None = None
    #: How many other runs had come between by then.
    nested: int = 0
    planned: bool = False

    @property
    def counts_absences(self) -> bool:
        """Whether what it has read is known to those that decide archives: a whole night that came to a plan."""
        return self.planned and self.options.kind is Kind.NIGHT


@dataclass
class Player:
    """Plays a schedule in a world."""

    world: World
    runs: list[Played] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    deaths: int = 0
    nested: int = 0
    junk: int = 0
    #: The runs whose held rows a person has approved, and what else happened that is no fault.
    approved: set[str] = field(default_factory=set)
    besides: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.editor = Editor(self.world)

    def begin(self) -> None:
        """Let the source have every SKU in every store."""
        self.editor.begin()

    # --- runs

    def night(self, night: Night) -> None:
        """Play one run with all that happens around it."""
        world = self.world
        self._clear(night)
        self.editor.apply(night.edits)
        plan = {
            "script": [strike.scripted() for strike in night.strikes],
            "refuse_skus": night.refused,
            "planogram": night.refused,
            "poison_skus": night.poison,
        }
        world.faults(FaultPlan.model_validate(plan))
        world.queues.failing_deletes = night.failing_deletes
        for kind in night.junk:
            self._throw(kind)
        world.effects.armed = [(one.after, self._incident(one)) for one in night.incidents]
        try:
            self._run(self._options(night))
        except Abandoned:
            self.story.append(f"{world.sender} is abandoned")
        finally:
            world.effects.armed = []
        world.clock.sleep(night.pause)
        world.table.forget(world.clock.now)

    def _options(self, night: Night) -> Options:
        world = self.world
        world.sender = "ann"
        for _ in range(TRIES):
            try:
                if release := self._answered(night):
                    return Options(kind=Kind.BACKFILL, release=release, reason="chaos")
                break
            except Died:
                world.clock.sleep(300)
        if night.drains:
            return Options(kind=Kind.COLLECT)
        if night.store:
            return Options(kind=Kind.BACKFILL, stores=(night.store,), resend=True)
        return Options()

    def _run(self, options: Options, follow_ups: int = 0) -> None:
        played = Played(f"r{len(self.runs) + 1}", options)
        self.runs.append(played)
        self._whole(played, follow_ups)

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
        played, (stage, following, _) = self.runs[-night.cleared[0]], night.cleared[1].partition("+")
        if following or self._of(played).lake.exists(f"runs/{played.run_id}/plan.json") or stage == "collect":
            self.story.append(f"{night.cleared[1]} of {played.run_id} is cleared")
            self.world.sender = played.run_id
            if following:
                self._from(played, "collect" if played.options.kind is Kind.COLLECT else stage)
            else:
                self._stage(played, stage)
                if stage != "plan":
                    self._stage(played, "account")

    def _answered(self, night: Night) -> str:
        """Let a person answer what an earlier run holds; return that run, for this one to release."""
        if night.answer is None:
            return ""
        ago, said = night.answer
        holding = [played for played in self.runs if self._plan_holds(self._of(played))]
        if len(holding) < ago:
            return ""
        asked = holding[-ago]
        run = self._of(asked)
        self.story.append(f"what {asked.run_id} holds is answered: {said}")
        self.besides[f"answer: {said}"] += 1
        digest = question(run)["hash"]
        try:
            if said == "reject":
                reject(run, "ann", "no")
            elif said == "approve":
                self.approved.add(asked.run_id)
                approve(run, digest, "ann", "yes")
            else:
                approve(run, digest[::-1], "ann", "yes")
        except BadInput as error:
            self.story.append(f"{asked.run_id}: {error}")
        return asked.run_id

    def _plan_holds(self, run: Run) -> bool:
        return run.lake.exists(run.key("plan.json")) and run.plan["held"]["rows"] > 0

    def _of(self, played: Played) -> Run:
        return self.world.run(played.run_id, played.options)

    def _whole(self, played: Played, follow_ups: int) -> None:
        self.world.sender = played.run_id
        follow = self._from(played, "collect" if played.options.kind is Kind.COLLECT else "extract")
        if isinstance(follow, dict) and follow["follow_up"] and follow_ups < 2:
            self._run(Options(follow_up=follow_ups + 1), follow_ups + 1)

    def _from(self, played: Played, first: str) -> Any:
        """Do the stage and all that follow it, as the DAG does; return what ``settle`` has made."""
        for name in SENDING[SENDING.index(first) :] if first in SENDING else ():
            if not self._stage(played, name):
                break
        if first not in ("settle", "account"):
            self._stage(played, "collect")
        settled = self._stage(played, "settle") if first != "account" else None
        if played.options.kind is not Kind.COLLECT:
            self._stage(played, "account")
        return settled

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
        made = []
        for shard in shards(run):
            if not run.lake.exists(run.key(f"prepare/{shard['name']}.json")):
                played.stood, played.nested = self.world.stood(), self.nested
            made.append(prepare(run, shard))
        return made

    def _plan(self, run: Run, played: Played) -> Any:
        made = plan(run)
        played.planned = True
        if played.nested != self.nested:
            played.stood = None
        self.besides["guard tripped"] += len(run.plan["guards"])
        self.besides["row held"] += made["held"]
        self.besides["archive planned"] += run.plan["leaving"]["books"]["planned"]
        return made

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
        violated(f"{run.run_id}: collecting does not end")

    def _settle(self, run: Run, played: Played) -> Any:
        return settle(run)

    def _account(self, run: Run, played: Played) -> Any:
        played.books = account(run)
        if played.books["state"] == "unbalanced":
            violated(f"I6: books of {run.run_id}: {'; '.join(played.books['problems'])}")
        return played.books
