"""A retailer and Amazon in this process: real stages against the real sandbox application, in simulated time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tests.chaos.rows import HEADER, STORES
from tests.chaos.world import World

from catalog_sandbox.api import Entry
from catalog_sandbox.faults import FaultPlan
from catalog_sync.account import account
from catalog_sync.api.client import CatalogApi
from catalog_sync.attempts import Attempt
from catalog_sync.collect import Collector
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import CatalogSyncError
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.tables import Tables
from catalog_sync.upload import upload

#: A store that the retailer has configured and that Amazon does not know.
STRANGE_STORE = "S9"

Row = dict[str, str]


def row(number: int, store: str = STORES[0], **changes: str) -> Row:
    """A valid row of the source."""
    values = (f"SKU-{number}", str(4000 + number), f"Item {number}", "1.50", store)
    return {**dict(zip(HEADER, values, strict=True)), **changes}


def both_stores(number: int = 4) -> list[Row]:
    """So many rows for each of the two stores."""
    return [row(n, store) for store in STORES for n in range(number)]


class Retailer:
    """Runs against one world; batches hold up to 1,000 items unless the settings are changed."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.source = folder / "items.csv"
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Take other settings: ``changes`` replace those at the top level."""
        raw = self.world.settings.model_dump(exclude={"base"}, exclude_defaults=True)
        stores = {"ids": [*STORES, STRANGE_STORE]}
        self.world.settings = Settings.model_validate({**raw, "stores": stores, "api": {"max_items": 1000}, **changes})

    def write(self, rows: list[Row]) -> None:
        """Write the source."""
        self.world.clock.sleep(1)
        with self.source.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows)

    def faults(self, *script: str | dict[str, Any], **plan: Any) -> None:
        """Order faults, which strike uploads one after the other."""
        lines = [line if isinstance(line, dict) else {"fault": line, "operation": "upload"} for line in script]
        self.world.faults(FaultPlan.model_validate({"script": lines, **plan}))

    def run(self, name: str = "n1") -> Run:
        """Open a run."""
        return self.world.run(name, Options())

    def plan(self, rows: list[Row] | None = None, name: str = "n1") -> None:
        """Do everything up to the plan."""
        if rows is not None:
            self.write(rows)
        run = self.run(name)
        extract(run, "erp")
        for shard in shards(run):
            prepare(run, shard)
        plan(run)

    def send(self, api: CatalogApi | None = None, name: str = "n1") -> list[CatalogSyncError]:
        """Run each upload task once, as a scheduler without retries would; return the errors in order."""
        run = self.run(name)
        errors = []
        for group in plan(run)["groups"]:
            try:
                upload(run, group, api or self.world.client(run))
            except CatalogSyncError as error:
                errors.append(error)
        return errors

    def finish(self, name: str = "n1") -> dict[str, Any]:
        """Collect, settle and account; return the books."""
        run = self.run(name)
        collector = Collector(run, self.world.client(run), transport=self.world.wire)
        while True:
            progress = collector.step()
            if progress.round_over:
                collector.archive()
            if progress.finished:
                break
            self.world.clock.sleep(10)
        settle(run)
        return account(run)

    def night(self, name: str, rows: list[Row] | None = None) -> dict[str, Any]:
        """Do a whole run; return its books."""
        self.plan(rows, name)
        self.send(name=name)
        return self.finish(name)

    def attempts(self, name: str = "n1") -> list[Attempt]:
        """The run's attempts in order."""
        return attempts_of(self.run(name)).of_run(name)

    def seen(self, name: str = "n1") -> list[str]:
        """What came of each attempt: its state, and the verdict on its answer where there was none to follow."""
        return [f"{one.state} {one.item.get('verdict', '')}".strip() for one in self.attempts(name)]

    def requests(self) -> list[Entry]:
        """The upload requests, as Amazon recorded them."""
        return [entry for entry in self.world.api.record.all() if entry.operation == "upload"]

    def tickets(self) -> int:
        """How many tickets have been taken."""
        return sum(pk.startswith("RATE#") for pk, _ in self.world.table.items)

    def refusals(self) -> dict[str, str]:
        """The refused rows: ``store/SKU`` → code."""
        frame = Tables(self.run().lake).read("refusals", [*STORES, STRANGE_STORE], ["store_id", "item_sku", "code"])
        return {f"{store}/{sku}": code for store, sku, code in frame.iter_rows()}


def sent_side(books: dict[str, Any]) -> dict[str, int]:
    """What became of the planned rows, without zeros."""
    columns = ("unsent", "acknowledged", "refused", "failed", "unknown")
    return {column: books["total"][column] for column in columns if books["total"][column]}
