"""The real domain against the real sandbox application, in one process, in a time that moves only when somebody waits.

A ``World`` is one retailer: its sources, lake, ledger and queue, and Amazon. A ``Job`` is one run of it, stage by stage
as the DAG has them; each stage opens the run anew, as each task does.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from botocore.credentials import Credentials
from obstore.store import LocalStore
from tests.chaos.effects import Died, Effects
from tests.chaos.memory_aws import MemoryQueues, MemoryTable
from tests.conftest import SimulatedClock

from catalog_sandbox.api import Api
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.core import Core
from catalog_sandbox.faults import FaultPlan
from catalog_sandbox.identities import Identities
from catalog_sandbox.inprocess import SandboxTransport
from catalog_sync.account import account
from catalog_sync.api.client import CatalogApi
from catalog_sync.attempts import Attempt
from catalog_sync.breaker import Breaker
from catalog_sync.collect import Collector
from catalog_sync.disk import Free, free_bytes
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import CatalogSyncError
from catalog_sync.extract import extract
from catalog_sync.inbox import Inbox
from catalog_sync.lake import Lake
from catalog_sync.lease import Lease
from catalog_sync.ledger import LedgerTable
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settings import Settings
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.tables import Tables
from catalog_sync.tickets import Tickets
from catalog_sync.upload import upload

BASE = "https://sandbox.test"
TOPIC = "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus"
HEADER = ["item_no", "gtin", "descr", "retail", "store_no"]
#: Requests of which nothing comes back for so long end the collecting of any run.
HOUR = 3600.0

Row = dict[str, str]
Key = tuple[str, str]


def row(number: int, name: str = "A", store: str = "SEA-001") -> Row:
    """A valid row of the source; its name tells which version of it this is."""
    return {
        "item_no": f"SKU-{number}", "gtin": str(4000 + number), "descr": name, "retail": "1.50", "store_no": store
    }  # fmt: skip


class Fate(Effects):
    """Lets the process die right after the effect numbered ``last``, counted from now on; 0 lets it live."""

    def __init__(self) -> None:
        super().__init__()
        #: After which kinds of effect it has died so far.
        self.deaths: list[str] = []
        self.rest()

    def rest(self, last: int = 0) -> None:
        """Begin to count anew: a new process begins."""
        self.last, self.points = last, 0

    @property
    def dead(self) -> bool:
        """Whether the process has died; its other threads then do nothing any more."""
        return 0 < self.last <= self.points

    def _point(self, where: str) -> None:
        if self.dead:
            raise Died(where)
        if where.startswith("after"):
            self.points += 1
        if self.dead:
            self.deaths.append(where)
            raise Died(where)


class MortalLake(Lake):
    """A lake in which each write is an effect."""

    fate: Fate

    def put(self, key: str, data: bytes) -> None:
        """Write the object."""
        with self.fate.around("lake put"):
            super().put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one."""
        with self.fate.around("lake create"):
            return super().create(key, data)


class Wire(httpx.BaseTransport):
    """Carries requests to the sandbox, and notes what each upload carried, in the order of arrival.

    ``watch`` is called after each upload has arrived and before its answer gets back.
    """

    def __init__(self, api: Api, fate: Fate) -> None:
        self._fate = fate
        self.sandbox = SandboxTransport(api)
        self.uploads: list[dict[Key, str]] = []
        #: The bodies of archive requests.
        self.archives: list[dict[str, list[str]]] = []
        self.watch: Callable[[], None] = lambda: None
        #: Answers report downloads instead of the sandbox, if it returns something.
        self.reports: Callable[[httpx.Request], httpx.Response | None] = lambda request: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the sandbox's answer."""
        if request.method == "GET":
            return self.reports(request) or self.sandbox.handle_request(request)
        if request.url.path.endswith(("/upload", "/archive")):
            asked = json.loads(request.read())
            if items := asked.get("catalogItems"):
                self.uploads.append({(item["store_id"], item["item_sku"]): item["item_name"] for item in items})
            else:
                self.archives.append(asked)
            with self._fate.around("request"):
                try:
                    return self.sandbox.handle_request(request)
                finally:
                    self.watch()
        return self.sandbox.handle_request(request)


class World:
    """One retailer and Amazon.

    :param folder: where the source and the lake lie.
    """

    def __init__(self, clock: SimulatedClock, folder: Path) -> None:
        self.clock, self.fate = clock, Fate()
        self.source, self.lake = folder / "items.csv", folder / "lake"
        self.lake.mkdir(parents=True)
        self.ledger = MemoryTable(self.fate)
        self.queues = MemoryQueues(clock, self.fate, random.Random(0))
        config = SandboxConfig()
        self.amazon = Core(config, clock=clock.time, publish=self.publish, base_url=BASE)
        self.api = Api(self.amazon, Identities(config), clock.time)
        self.wire = Wire(self.api, self.fate)
        self.notices: list[str] = []
        #: Settings that the story changes.
        self.changes: dict[str, Any] = {}
        #: How many bytes are free on the lake's disk.
        self.free: Free = free_bytes

    def retailer(self, *stores: str) -> None:
        """Let Amazon know exactly these stores of the retailer."""
        self.amazon.config = SandboxConfig.model_validate({"retailers": {"acme": stores}})
        self.api = Api(self.amazon, Identities(self.amazon.config), self.clock.time)
        self.wire.sandbox = SandboxTransport(self.api)

    def publish(self, text: str) -> None:
        """Deliver a notice, raw."""
        self.notices.append(text)
        self.queues.put(text)

    def faults(self, *script: str | dict[str, Any], **plan: Any) -> None:
        """Order faults from Amazon: a script in order, or rates."""
        lines = [{"fault": line} if isinstance(line, str) else line for line in script]
        self.amazon.faults.replace(FaultPlan.model_validate({"script": lines, **plan}))

    def write(self, rows: list[Row]) -> None:
        """Write the source."""
        with self.source.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows)

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": ["SEA-001", "PDX-001"]}, "lake": str(self.lake),
                "results": {"queue": "results", "topic_arn": TOPIC, "signed": False},
                "sources": [{"name": "erp", "kind": "file", "path": str(self.source), "format": "csv"}],
                "mapping": {
                    "item_sku": "item_no", "external_product_id": "gtin", "item_name": "descr",
                    "standard_price": "retail", "store_id": "store_no",
                },
                **self.changes,
            }
        )  # fmt: skip

    def job(self, name: str, kind: Kind = Kind.NIGHT, **options: Any) -> Job:
        """Return a run called ``name``, not yet begun."""
        return Job(self, name, Options(kind=kind, **options))

    def night(self, name: str, rows: list[Row] | None = None) -> dict[str, Any]:
        """Let the source hold ``rows`` (as before when not given), do the whole job, and return its books."""
        if rows is not None:
            self.write(rows)
        return self.job(name).whole()

    def wait(self, hours: float) -> None:
        """Let time pass, for Amazon too."""
        self.clock.sleep(hours * HOUR)
        self.amazon.tick()

    # --- what Amazon has, and what we hold to be acknowledged

    def catalog(self) -> dict[Key, str]:
        """Amazon's active items: (store, SKU) → name."""
        return {
            (item["store_id"], item["item_sku"]): item["item_name"]
            for item in self.amazon.rows()
            if item["state"] == "ACTIVE"
        }

    def names(self) -> set[str]:
        """The names that Amazon's active items have."""
        return set(self.catalog().values())

    def acknowledged(self) -> dict[Key, tuple[str, bool]]:
        """Our table: (store, SKU) → its name, and whether it is dirty."""
        lake = Lake(LocalStore(self.lake), str(self.lake))
        rows = Tables(lake).read("acknowledged", ["SEA-001", "PDX-001"])
        return {
            (store, sku): (name, until is not None)
            for store, sku, name, until in rows.select("store_id", "item_sku", "item_name", "dirty_until").iter_rows()
        }

    def dirty(self) -> set[str]:
        """The SKUs of the acknowledged rows that are dirty."""
        return {sku for (_, sku), (_, is_dirty) in self.acknowledged().items() if is_dirty}


class Job:
    """One run, stage by stage."""

    def __init__(self, world: World, name: str, options: Options) -> None:
        self.world, self.name, self.options = world, name, options

    def open(self) -> Run:
        """Open the run, as each task does."""
        world = self.world
        ledger = LedgerTable(world.ledger, "Ledger", world.clock.sleep)
        lake = MortalLake(LocalStore(world.lake), str(world.lake), free=world.free)
        lake.fate = world.fate
        unused: Any = None
        return Run(world.settings, unused, self.name, self.options, world.clock, lake, ledger, unused)

    def client(self, run: Run) -> CatalogApi:
        """Amazon's API, as the run calls it."""
        tickets = Tickets(run.ledger.client, "Ledger", run.clock)
        credentials = Credentials(DEFAULT_KEY, DEFAULT_SECRET)
        timeout = run.settings.api.timeout.total_seconds()
        breaker = Breaker.of(run)
        return CatalogApi(BASE, credentials, "us-east-1", tickets, breaker, run.clock, timeout, self.world.wire)

    def collector(self) -> Collector:
        """The collector of the run."""
        run = self.open()
        queue = self.world.queues.get_queue_url("results")["QueueUrl"]
        inbox = Inbox(self.world.queues, queue, TOPIC, None, wait=0)
        return Collector(run, self.client(run), inbox, transport=self.world.wire)

    # --- the stages

    def extract(self) -> None:
        """Extract every source."""
        for source in self.open().sources:
            extract(self.open(), source)

    def read(self, rows: list[Row] | None = None) -> Job:
        """Extract and prepare, the source holding ``rows`` (as before when not given)."""
        if rows is not None:
            self.world.write(rows)
        self.extract()
        for shard in shards(self.open()):
            prepare(self.open(), shard)
        return self

    def plan(self) -> dict[str, Any]:
        """Plan."""
        return plan(self.open())

    def upload(self, *batches: int) -> dict[str, Any]:
        """Send the given batches, by default all."""
        run = self.open()
        return upload(run, batches or range(1, run.plan["batches"] + 1), self.client(run))

    def collect(self) -> Job:
        """Collect until nothing is awaited."""
        collector = self.collector()
        for turn in itertools.count():
            self.world.amazon.tick()
            progress = collector.step()
            if progress.round_over:
                collector.archive()
            if progress.finished:
                break
            # An upload takes about two minutes; hours in which nothing comes are passed in long strides.
            self.world.clock.sleep(150 if turn < 4 else 900)
        return self

    def settle(self) -> dict[str, Any]:
        """Settle."""
        return settle(self.open())

    def account(self) -> dict[str, Any]:
        """Make the books."""
        return account(self.open())

    def send(self, rows: list[Row] | None = None) -> Job:
        """Do everything up to the last upload."""
        self.read(rows).plan()
        if self.open().plan["batches"]:
            self.upload()
        return self

    def end(self) -> dict[str, Any]:
        """Do everything after the last upload, and return the books."""
        self.collect().settle()
        return self.account()

    def whole(self) -> dict[str, Any]:
        """Do the whole job as the DAG does, where a failed upload stops nothing else, and return the books."""
        self.read().plan()
        if self.open().plan["batches"] and not self.options.dry_run:
            with contextlib.suppress(CatalogSyncError):
                self.upload()
        return self.end()

    # --- what it left

    def attempts(self) -> list[Attempt]:
        """Its attempts, as the ledger has them."""
        run = self.open()
        return attempts_of(run).of_run(run.run_id)

    def renew(self) -> None:
        """Renew the lease, as every request does."""
        run = self.open()
        number = run.plan["plan_number"]
        run.ledger.transact([Lease.of(run).renewal(number, run.run_id, run.clock.time())])

    def left_to(self) -> set[str]:
        """Why its rows were left in doubt, according to the table of events."""
        run = self.open()
        events = Tables(run.lake).read("events", [run.run_id])
        return set(events.filter(what="in_doubt")["message"])

    def states(self) -> list[str]:
        """The states of its attempts; of settled ones, that in which they were settled."""
        return [attempt.end.value for attempt in self.attempts()]


def counts(books: dict[str, Any]) -> dict[str, int]:
    """The columns of the books that are not zero."""
    return {column: rows for column, rows in books["total"].items() if rows}


def late(books: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What the books say of other runs: run → outcome → rows."""
    found: dict[str, dict[str, int]] = {}
    for line in books["late"]:
        mine = found.setdefault(line["of_run"], {})
        for counted in line["stores"].values():
            for outcome, rows in counted.items():
                mine[outcome] = mine.get(outcome, 0) + rows
    return found
