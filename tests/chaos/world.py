"""One retailer's deployment and Amazon, joined in this process: real stages, the real sandbox, simulated time."""

from __future__ import annotations

import csv
import itertools
import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import httpx
from botocore.credentials import Credentials
from tests.chaos.effects import Effects
from tests.chaos.memory_aws import MemoryQueues, MemoryTable

from catalog_sandbox.api import Api
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.core import Core
from catalog_sandbox.faults import FaultPlan
from catalog_sandbox.identities import Identities
from catalog_sandbox.ingestions import Ingestion
from catalog_sandbox.inprocess import SandboxTransport
from catalog_sync import parallel, prepare, tables
from catalog_sync.api.client import CatalogApi
from catalog_sync.breaker import Breaker
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.lake import Lake
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings
from catalog_sync.tickets import Tickets

STORES = ("S1", "S2")
SKUS = ("A", "B", "C", "D")
#: The simulated night begins here; the sandbox's own clock is the same.
EPOCH = 1_790_000_000.0
HEADER = ("item_no", "gtin", "descr", "retail", "store_no")

Key = tuple[str, str]
Content = dict[str, Any]


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
class Row:
    """What the source says of one SKU in one store. ``good`` rows pass the contract."""

    version: int
    barcode: int
    good: bool = True

    def cells(self, key: Key) -> dict[str, str]:
        """Return the row of the source file."""
        price = f"{self.version}.00" if self.good else "n/a"
        return dict(zip(HEADER, (key[1], str(self.barcode), f"Item {key[1]}", price, key[0]), strict=True))

    def content(self) -> tuple[str, str]:
        """Return what tells its item from others: price and barcode."""
        return f"{self.version}.00", str(self.barcode)


Source = dict[Key, Row]


@dataclass(frozen=True)
class Sent:
    """An upload request as it reached Amazon: when, by which run, and what it carried."""

    at: float
    run_id: str
    items: dict[Key, tuple[str, str]]


@dataclass(frozen=True)
class Archived:
    """An archive request as it reached Amazon: when, by which run, and for which SKUs."""

    at: float
    run_id: str
    skus: tuple[str, ...]


@dataclass(frozen=True)
class Reported:
    """A line that a report of Amazon says ``SUCCESS`` or ``FAILED`` of."""

    key: Key
    content: tuple[str, str]
    status: str


def content_of(item: Content) -> tuple[str, str]:
    """Return price and barcode of an item as sent."""
    return item["standard_price"], item["external_product_id"]


class RecordingCore(Core):
    """The sandbox's core, which also keeps what each report says of which content."""

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.said: list[Reported] = []

    def _process(self, ingestion: Ingestion, body: dict[str, Any]) -> list[dict[str, Any]]:
        lines = super()._process(ingestion, body)
        if "catalogItems" in body and ingestion.fault not in ("fatal", "fatal_half", "cancelled"):
            for line, item in zip(lines, body["catalogItems"], strict=True):
                self.said.append(Reported((line["storeId"], line["itemSku"]), content_of(item), line["status"]))
        return lines


class ChaosLake(Lake):
    """The lake, each of whose writes is an effect."""

    effects: Effects

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        with self.effects.around("lake put"):
            super().put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one."""
        with self.effects.around("lake create"):
            return super().create(key, data)


class Wire(httpx.BaseTransport):
    """The way to Amazon: notes what arrives there, and when; a request is an effect."""

    def __init__(self, world: World, api: Api) -> None:
        self._world, self._inner = world, SandboxTransport(api)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        world = self._world
        if request.method == "GET":
            return self._inner.handle_request(request)
        with world.effects.around("request"):
            if request.url.path.endswith("/upload"):
                items = json.loads(request.content)["catalogItems"]
                carried = {(item["store_id"], item["item_sku"]): content_of(item) for item in items}
                world.sent.append(Sent(world.clock.now, world.sender, carried))
            elif request.url.path.endswith("/archive"):
                skus = json.loads(request.content)["itemSkus"]
                world.archived.append(Archived(world.clock.now, world.sender, tuple(skus)))
            world.clock.now += 0.03
            return self._inner.handle_request(request)


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
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.clock, self.effects = Clock(), Effects()
        self.table = MemoryTable(self.effects)
        self.undeleted_rules: list[str] = []
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
        self.settings = settings(folder)
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
        lake.effects = self.effects
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
            self.undeleted_rules.append(f"I2: a notice of {said['ingestionId']} was deleted before it was recorded")


def settings(folder: Path) -> Settings:
    """Return the configuration: batches of three items, and the default waits."""
    return Settings.model_validate(
        {
            "retailer": "acme",
            "stores": {"ids": list(STORES)},
            "lake": str(folder / "lake"),
            "ledger": {"table": "Ledger"},
            "results": {"queue": "results", "topic_arn": "arn:aws:sns:us-east-1:1:T", "signed": False, "wait": "20s"},
            "api": {"max_items": 3},
            "sources": [{"name": "erp", "kind": "file", "path": str(folder / "items.csv"), "format": "csv"}],
            "mapping": {
                "item_sku": "item_no", "external_product_id": "gtin", "item_name": "descr",
                "standard_price": "retail", "store_id": "store_no",
            },
        }
    )  # fmt: skip


@contextmanager
def world(folder: Path, seed: int) -> Iterator[World]:
    """Yield a world in ``folder``, with what the process shares turned to simulated time, one core and one seed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = World(folder, seed)
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
    ):
        yield made


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
