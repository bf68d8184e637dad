"""One retailer's deployment and Amazon, joined in this process: real stages, the real sandbox, simulated time."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import polars as pl
from botocore.credentials import Credentials
from tests.chaos.deployment import settings
from tests.chaos.effects import Effects
from tests.chaos.memory_aws import MemoryQueues, MemoryTable
from tests.chaos.recorded import Archived, ChaosLake, RecordingCore, Sent, Wire
from tests.chaos.rows import HEADER, STORES, Key, Source, content_of

from catalog_sandbox.api import Api
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.faults import FaultPlan
from catalog_sandbox.identities import Identities
from catalog_sync import parallel, prepare, tables
from catalog_sync.api.client import CatalogApi
from catalog_sync.breaker import Breaker
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.contract.apply import NOBODY, ContractResult, apply_contract
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Options, Run
from catalog_sync.tables import Tables
from catalog_sync.tickets import Tickets

#: The simulated night begins here; the sandbox's own clock is the same.
EPOCH = 1_790_000_000.0
#: What the contract has made of which rows, in this process.
_KEPT: dict[tuple[Any, ...], ContractResult] = {}


class Clock:
    """Simulated time; whatever Amazon does meanwhile happens while somebody sleeps."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.tick = lambda: None

    def time(self) -> float:
        """Return the time; a moment passes each time somebody asks."""
        self.now += 0.0001
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += max(seconds, 0.0)
        self.tick()


@dataclass(frozen=True)
class Acknowledged:
    """A row that Amazon has acknowledged; ``proven``: nothing makes it doubtful; ``archived``: it is not active."""

    content: tuple[str, str]
    proven: bool
    archived: bool = False


Stood = dict[Key, Acknowledged]


class _Aws:
    """The retailer's AWS account: SQS alone, since the ledger and the lake are handed over."""

    def __init__(self, world: World) -> None:
        self._world = world

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        assert service == "sqs", service
        return self._world.queues


class World:
    """Amazon, AWS and the retailer's source.

    :param folder: an empty folder of its own; memory is fastest.
    :param seed: what all chance within comes from.
    :param guarded: whether the guards' limits are as narrow as the catalog is small.
    """

    def __init__(self, folder: Path, seed: int, guarded: bool = False) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.clock, self.effects = Clock(), Effects()
        self.table = MemoryTable(self.effects)
        self.broken_rules: list[str] = []
        self.queues = MemoryQueues(self.clock, self.effects, self.random, self._deleted)
        self._ids = itertools.count(1)
        sandbox = SandboxConfig.model_validate({"retailers": {"acme": STORES}, "seed": seed})
        self.core = RecordingCore(
            sandbox,
            clock=lambda: self.clock.now,
            publish=self.queues.put,
            base_url="https://amazon.test",
            new_id=lambda: f"ing-{next(self._ids)}",
        )
        self.clock.tick = self.core.tick
        self.api = Api(self.core, Identities(sandbox), lambda: self.clock.now)
        self.wire = Wire(self, self.api)
        self.sent: list[Sent] = []
        self.archived: list[Archived] = []
        self.sender = ""
        self.injected: list[FaultPlan] = []
        #: The source as it was from each moment on.
        self.history: list[tuple[float, Source]] = [(0.0, {})]
        #: Of the places in it where an old export lay, how old that was: when it was made.
        self.exports: dict[int, float] = {}
        self.guarded = guarded
        self.settings = settings(folder, guarded)
        self._tokens = itertools.count(1)

    @property
    def source(self) -> Source:
        """The source as it is now."""
        return self.history[-1][1]

    def edit(self, source: Source) -> None:
        """Let the retailer's systems say something else from now on."""
        self.clock.sleep(1)
        self.history.append((self.clock.now, source))
        with (self.folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(row.cells(key) for key, row in sorted(source.items()))
        self.export()

    def export(self, at: float | None = None) -> None:
        """Let the file be as young as this, by default made just now, as it is every night."""
        at = self.clock.now if at is None else at
        if (self.folder / "items.csv").exists():
            os.utime(self.folder / "items.csv", (at, at))

    def lose_source(self) -> None:
        """Let the source be unreadable until the next edit."""
        (self.folder / "items.csv").unlink(missing_ok=True)

    def faults(self, plan: FaultPlan) -> None:
        """Order faults of Amazon's."""
        self.core.faults.replace(plan)

    def run(self, run_id: str, options: Options) -> Run:
        """Open a run."""
        lake = ChaosLake.open(str(self.folder / "lake"), lambda: None)  # type: ignore[arg-type, return-value]
        assert isinstance(lake, ChaosLake)
        lake.effects, lake.broken_rules = self.effects, self.broken_rules
        ledger = LedgerTable(self.table, "Ledger", self.clock.sleep)
        aws: Any = _Aws(self)
        return Run(
            self.settings,
            EnvironmentConnections({}),
            run_id,
            options,
            self.clock,
            lake,
            ledger,
            aws,
            lambda: f"t{next(self._tokens):05d}",
        )

    def client(self, run: Run) -> CatalogApi:
        """Return a client of Amazon's API."""
        return CatalogApi(
            "https://amazon.test",
            Credentials(DEFAULT_KEY, DEFAULT_SECRET),
            "us-east-1",
            Tickets(self.table, "Ledger", self.clock),
            Breaker.of(run),
            self.clock,
            transport=self.wire,
        )

    def stood(self) -> Stood:
        """Return the rows of our own table of what Amazon has acknowledged, active or archived."""
        with self.effects.calm():
            rows = Tables(self.run("oracle", Options()).lake).read("acknowledged", STORES)
        return {
            (row["store_id"], row["item_sku"]): Acknowledged(
                content_of(row), row["dirty_until"] is None, row["state"] != "ACTIVE"
            )
            for row in rows.iter_rows(named=True)
        }

    def nothing_pends(self) -> bool:
        """Return whether our tables hold no row that is doubtful, suspended after a refusal, or counted as absent."""
        with self.effects.calm():
            tables = Tables(self.run("oracle", Options()).lake)
            doubtful = tables.read("acknowledged", STORES, ["dirty_until"])["dirty_until"].is_not_null().any()
            absent = tables.read("absent", ["acme"]).filter(pl.col("item_sku") != "")
            return not doubtful and tables.read("refusals", STORES).is_empty() and absent.is_empty()

    def active(self) -> dict[Key, tuple[str, str]]:
        """Return Amazon's active catalog."""
        return {
            (item["store"], item["item_sku"]): content_of(item)
            for item in self.core.rows()
            if item["state"] == "ACTIVE"
        }

    def _deleted(self, body: str) -> None:
        """Hold a delete to I2: what the message says is in the ledger."""
        try:
            said = json.loads(body)
            wanted = {"INPROGRESS": 2, "DONE": 3, "CANCELLED": 3, "FATAL": 3}[said["processingStatus"]]
        except (ValueError, KeyError, TypeError):
            return
        del wanted
        item = self.table.items.get((f"INGESTION#{said['ingestionId']}", "NOTICE"))
        if item is None:
            self.broken_rules.append(f"I2: a notice of {said['ingestionId']} was deleted before it was recorded")


@contextmanager
def world(folder: Path, seed: int, guarded: bool = False) -> Iterator[World]:
    """Yield a world in ``folder``, with what the process shares turned to simulated time, one core and one seed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = World(folder, seed, guarded)
    random.seed(seed)
    write = tables.write_deltalake

    def commit(*arguments: Any, **named: Any) -> None:
        with made.effects.around("table commit"):
            write(*arguments, **named)

    with _patched(
        (botocore.auth, "get_current_datetime", lambda *_: datetime.fromtimestamp(made.clock.now, UTC)),
        (tables, "write_deltalake", commit),
        (parallel, "cores", lambda: 1),
        (prepare, "cores", lambda: 1),
        (prepare, "apply_contract", _contract),
    ):
        yield made


def _contract(rows: pl.DataFrame, **named: Any) -> ContractResult:
    """Return what the contract makes of the rows: a pure function, a third of a night's time, asked the same often."""
    holders = named.get("holders", NOBODY)
    asked = (*_exact(rows), *_exact(holders), repr(named["rules"]), repr(named["stores"]))
    if asked not in _KEPT:
        if len(_KEPT) > 1_000:
            _KEPT.clear()
        _KEPT[asked] = apply_contract(rows, **named)
    return _KEPT[asked]


def _exact(frame: pl.DataFrame) -> tuple[str, str]:
    return repr(frame.schema), repr(frame.rows())


@contextmanager
def _patched(*places: tuple[Any, str, Any]) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    try:
        for module, name, value in places:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
