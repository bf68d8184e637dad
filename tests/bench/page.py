"""How long each view of the Catalog page takes with millions of acknowledged rows and a year of runs.

    python -m tests.bench.page --stores 100 --rows 100000 --runs 365 --json FILE

Builds a lake in a temporary folder and a ledger in memory, and asks each view many times with other SKUs. The newest
run is a first load under way: every row planned, all batches sent. boto3 signs, sends and parses as it does with
DynamoDB, which answers at once here: its own milliseconds, and those of the way to it, come besides, for one to three
requests a view.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from deltalake import write_deltalake
from moto import mock_aws
from tests.chaos.memory_aws import MemoryTable

from catalog_sync import journal
from catalog_sync.alerts.book import AlertBook, Finding
from catalog_sync.alerts.kinds import ABOUT
from catalog_sync.aws import Aws
from catalog_sync.clock import utc
from catalog_sync.ledger import LedgerTable, pack
from catalog_sync.plan_summary import COLUMNS
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings
from catalog_sync.tables import ABSENT, ACKNOWLEDGED, EVENTS, HELD, REFUSALS, WRITER, Tables
from catalog_sync.views.alerts import alerts
from catalog_sync.views.refused import refused
from catalog_sync.views.runs import batches, one, runs
from catalog_sync.views.stuck import stuck
from catalog_sync.why import RUNS, why

DAY, NOW = 86_400.0, 1_790_000_000.0
BATCH = 10_000
#: Stores of which SKUs are asked; only their extracts are written out.
ASKED = 5


class Still:
    """A clock that stands."""

    def time(self) -> float:
        """Return the time."""
        return NOW

    def sleep(self, seconds: float) -> None:
        """Return at once."""


def skus(rows: int) -> pl.Series:
    """The SKUs of a store, sorted."""
    return pl.select(pl.format("SKU-{}", pl.int_range(rows).cast(pl.String).str.zfill(8))).to_series().alias("item_sku")


def fill(schema: dict[str, Any], **columns: Any) -> pl.DataFrame:
    """A frame of the schema with these columns and plausible others."""
    frame = pl.DataFrame(columns)
    plain = {pl.String: pl.lit("a text of some length"), pl.Int64: pl.lit(1)}
    others = []
    for name, kind in schema.items():
        if name not in frame.columns:
            value = plain.get(type(kind) if not isinstance(kind, type) else kind)
            value = pl.lit(utc(NOW - DAY)) if isinstance(kind, pl.Datetime) else value
            others.append((pl.lit(None) if value is None else value).cast(kind).alias(name))
    return frame.with_columns(others).select(pl.col(name).cast(kind) for name, kind in schema.items())


def at_once(table: MemoryTable) -> Any:
    """Return a DynamoDB client whose requests the table answers: moto's own work would be nine tenths of a view."""

    def answer(request: Any, **kwargs: Any) -> AWSResponse:
        operation = xform_name(request.headers["X-Amz-Target"].decode().rpartition(".")[2])
        body = json.dumps(getattr(table, operation)(**json.loads(request.body))).encode()
        headers = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(body))}
        return AWSResponse(request.url, 200, headers, Raw(body))

    client = boto3.client("dynamodb", region_name="us-east-1")
    client.meta.events.register_first("before-send.dynamodb", answer)
    return client


class Raw(io.BytesIO):
    """A body as botocore reads it."""

    def stream(self, **kwargs: Any) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


class Year:
    """A retailer with a year behind it."""

    def __init__(self, folder: Path, stores: int, rows: int, nights: int) -> None:
        self.stores, self.rows, self.nights = [f"ST-{n:03d}" for n in range(stores)], rows, nights
        client = at_once(MemoryTable())
        config = Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": self.stores}, "lake": str(folder),
                "results": {"queue": "results", "topic_arn": "arn:aws:sns:us-east-1:123456789012:t"},
                "sources": [{"name": "erp", "kind": "file", "path": "items.csv", "format": "csv"}],
                "mapping": {"item_sku": "a", "store_id": "b"}, "ledger": {"table": "Ledger"},
            }
        )  # fmt: skip
        from catalog_sync.lake import Lake

        aws = Aws.of("us-east-1", "testing", "testing")
        lake = Lake.open(config.lake, lambda: aws)
        unused: Any = None
        self.run = Run(config, unused, "page", Options(), Still(), lake, LedgerTable(client, "Ledger"), aws)
        self.names = [f"night-{n:04d}" for n in range(nights)]

    def build(self) -> None:
        """Write everything."""
        self._tables()
        for number, name in enumerate(self.names):
            self._night(self.run.of(name), NOW - (self.nights - number) * DAY)
        self._alerts()
        self._under_way(self.run.of("night-now"))

    def _tables(self) -> None:
        names, tables = skus(self.rows), Tables(self.run.lake)
        for first in range(0, len(self.stores), 10):
            some = pl.DataFrame({"store_id": self.stores[first : first + 10]}).join(names.to_frame(), how="cross")
            known = {"state": pl.repeat("ACTIVE", len(some), eager=True)}
            self._append("acknowledged", fill(ACKNOWLEDGED, **some.to_dict(), **known), "store_id")
        for table, schema, each in (("refusals", REFUSALS, 200), ("held", HELD, 100)):
            some = pl.DataFrame({"store_id": self.stores}).join(names.head(each).to_frame(), how="cross")
            self._append(table, fill(schema, **some.to_dict()), "store_id")
        gone = pl.select(pl.format("GONE-{}", pl.int_range(self.rows))).to_series().sort()
        retailer = pl.repeat("acme", len(gone), eager=True)
        self._append("absent", fill(ABSENT, retailer=retailer, item_sku=gone), "retailer")
        for number, name in enumerate(self.names):
            # Only the last runs' events are read; there, a hundredth of all rows has one.
            many = self.rows // 100 if number >= self.nights - RUNS else 20
            some = pl.DataFrame({"store_id": self.stores}).join(names.sample(many, seed=number).to_frame(), how="cross")
            frame = fill(EVENTS, **some.to_dict(), run_id=pl.repeat(name, len(some), eager=True))
            self._append("events", frame.sort("item_sku"), "run_id")
        assert tables.version("events") is not None

    def _alerts(self) -> None:
        """Every kind is open, ten times over."""
        book = AlertBook.of(self.run)
        for number in range(200):
            kind = list(ABOUT)[number % len(ABOUT)]
            book.raise_(
                Finding(kind, "a sentence of some length with its numbers", f"subject-{number}"), self.names[-1]
            )

    def _append(self, table: str, frame: pl.DataFrame, partition: str) -> None:
        uri = self.run.lake.url(f"tables/{table}")
        write_deltalake(uri, frame, mode="append", partition_by=[partition], writer_properties=WRITER)

    def _night(self, run: Run, at: float) -> None:
        line = {"read": len(self.stores) * self.rows, "rejected": 500, "planned": 20_000, "acknowledged": 19_900}
        made = {
            "run_id": run.run_id, "state": "complete", "dry_run": False, "accounted_at": at + 3600, "plan": {},
            "stores": {store: line for store in self.stores}, "total": line, "repaired": {"NAME_TRIM": 900},
            "rejected": {f"CODE_{n}": 100 + n for n in range(12)}, "problems": [], "alarms": [], "guards": [],
            "transformed": {}, "warned": {}, "held": {"by_code": {"GUARD_CHANGED": 10}, "rows": 10, "since": at},
        }  # fmt: skip
        sample = {"store_id": "ST-000", "item_sku": "SKU-1", "value": "x" * 60, "message": "m" * 100, "source": "erp"}
        kinds = [{"code": f"CODE_{n}", "field": "f", "rows": 100, "samples": [sample] * 5} for n in range(60)]
        held = [{"code": "GUARD_CHANGED", "action": "changed", "rows": 10, "stores": 3, "since": at}]
        ages = [{"code": "GUARD_CHANGED", "since": at - n * DAY, "rows": 10} for n in range(400)]
        seen = {
            "rejected": kinds, "refused": kinds[:20], "held": held, "held_since": ages, "held_rows": [sample] * 50,
            "suspended": [], "suspended_rows": [sample] * 50,
        }  # fmt: skip
        self._began(run, at)
        run.lake.put_json(run.key("books.json"), made)
        run.lake.put_json(run.key("overview.json"), seen)
        journal.ended(run, made, seen)

    def _began(self, run: Run, at: float) -> None:
        from dataclasses import asdict

        run.lake.put_json(
            run.key("run.json"),
            {"run_id": run.run_id, "options": asdict(Options()), "started_at": at, "plan_number_before": 0},
        )
        journal.began(run)

    def _under_way(self, run: Run) -> None:
        self._began(run, NOW - 3000)
        names, each = skus(self.rows), -(-self.rows // BATCH)
        files, plans, shards = [], [], []
        for place, store in enumerate(self.stores):
            key = run.key(f"extract/erp/{min(place, ASKED):05d}.parquet")
            if place <= ASKED:
                source = {"source": pl.repeat("erp", self.rows, eager=True)}
                known = {"store_id": pl.repeat(store, self.rows, eager=True), "item_sku": names, **source}
                texts = {f"field_{n}": pl.repeat("a text", self.rows, eager=True) for n in range(8)}
                row = pl.int_range(self.rows, eager=True)
                run.lake.put_frame(key, pl.DataFrame({**known, **texts, "source_row": row}))
                candidates = pl.DataFrame(known).with_columns(
                    action=pl.lit("new"), hold=pl.lit(""), content_hash=pl.lit("0" * 32), price_moved=pl.lit(False),
                    item_json=pl.lit("x" * 300),
                )  # fmt: skip
                run.lake.put_frame(run.key(f"rows/{place}.parquet"), candidates)
            files.append({"store": store, "key": key, "rows": self.rows})
            shard = f"shard-{place:04d}"
            shards.append({"name": shard, "stores": [store], "rows": self.rows})
            rows_key = run.key(f"rows/{min(place, ASKED)}.parquet")
            kinds = {kind: [] for kind in ("rejects", "repairs", "warnings", "events", "rejects_csv")}
            run.lake.put_json(run.key(f"prepare/{shard}.json"), {"name": shard, "rows": [rows_key], **kinds})
            for part in range(each):
                batch_key = run.key(f"batches/{min(place, ASKED):03d}-{part:05d}.rows.parquet")
                some = names[part * BATCH : (part + 1) * BATCH]
                if place <= ASKED:
                    run.lake.put_frame(batch_key, pl.DataFrame({"item_sku": some}))
                plans.append({
                    "number": len(plans) + 1, "rows_key": batch_key, "items": len(some), "sha256": "0" * 64,
                    "key": "x", "bytes": 1, "ranges": [{"store": store, "start": 0, "stop": len(some)}],
                })  # fmt: skip
        run.lake.put_json(run.key("extract/erp.json"), {"files": files, "unreadable_key": None, "read": 1})
        run.lake.put_json(run.key("shards.json"), {"shards": shards, "counts": {}, "sources": []})
        counts = {store: {"read": self.rows, "planned": self.rows} for store in self.stores}
        summary = {"stores": {store: dict.fromkeys(COLUMNS, 1) for store in self.stores}}
        run.lake.put_json(run.key("plan.json"), {
            "batch_list": plans, "batches": len(plans), "rows": self.rows * len(self.stores), "counts": counts,
            "summary": summary, "guards": [], "held": {"rows": 0, "by_code": {}, "parts": []}, "lists": [],
            "events": [], "dry_run": False, "plan_number": 1,
        })  # fmt: skip
        for batch in plans:
            self._attempt(run, batch)

    def _attempt(self, run: Run, batch: dict[str, Any]) -> None:
        number, sent = batch["number"], NOW - 1500 + batch["number"] / 2
        item = {
            "pk": f"RUN#{run.run_id}", "sk": f"ATTEMPT#{number:05d}#0001", "run_id": run.run_id, "batch": number,
            "attempt": 1, "state": "INPROGRESS", "start": 0, "stop": batch["items"], "plan_number": 1, "sent_at": sent,
            "ingestion_id": f"ingestion-{number}", "accepted_at": sent + 1, "latency_ms": 90, "polls": 2,
        }  # fmt: skip
        pointer = {"pk": "OPEN#acme", "sk": f"{run.run_id}#{number:05d}#0001", "run_id": run.run_id, "sent_at": sent}
        for written in (item, pointer):
            self.run.ledger.client.put_item(TableName="Ledger", Item=pack(written))

    def views(self, rng: random.Random) -> dict[str, Callable[[], Any]]:
        """What is asked, by the route that asks it."""

        def sku() -> str:
            return f"SKU-{rng.randrange(self.rows):08d}"

        def night() -> str:
            return rng.choice(self.names)

        return {
            "/data/run (a first load under way)": lambda: one(self.run, "night-now"),
            "/data/run (a night that is over)": lambda: one(self.run, night()),
            "/data/batches": lambda: batches(self.run, "night-now"),
            "/data/runs": lambda: runs(self.run),
            "/data/alerts": lambda: alerts(self.run),
            "/data/refused": lambda: refused(self.run, night()),
            "/data/stuck": lambda: stuck(self.run),
            "/data/why (SKU and store)": lambda: why(self.run, sku(), rng.choice(self.stores[:ASKED])),
            "/data/why (SKU alone)": lambda: why(self.run, sku()),
        }


def measure(view: Callable[[], Any], times: int) -> dict[str, float]:
    """Ask the view and make its answer JSON, as the route does; return milliseconds, of all cores, and the size.

    ``cpu`` is the time that all threads of the process worked: what a busy machine does not change.
    """
    view()
    taken, worked, size = [], [], 0
    for _ in range(times):
        began, busy = time.perf_counter(), time.process_time()
        size = len(json.dumps(view()))
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - busy))
    return {
        "cpu_p50": round(statistics.median(worked)), "cpu_p95": round(statistics.quantiles(worked, n=20)[-1]),
        "p50": round(statistics.median(taken)), "p95": round(statistics.quantiles(taken, n=20)[-1]),
        "least": round(min(taken)), "bytes": size,
    }  # fmt: skip


def main() -> None:
    """Build, ask, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("stores", 100), ("rows", 100_000), ("runs", 365), ("times", 40)):
        asked.add_argument(f"--{name}", type=int, default=default)
    asked.add_argument("--json", help="also write the figures there")
    args = asked.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with tempfile.TemporaryDirectory(prefix="page-") as folder, mock_aws():
        boto3.client("sqs", region_name="us-east-1").create_queue(QueueName="results")
        year = Year(Path(folder) / "lake", args.stores, args.rows, args.runs)
        print(f"building {args.stores * args.rows:,} acknowledged rows and {args.runs} runs …", flush=True)
        year.build()
        # The ledger, which is DynamoDB's in an API server, lies in this process: collecting garbage shall not walk it.
        gc.collect()
        gc.freeze()
        found = {}
        for name, view in year.views(random.Random(1)).items():
            found[name] = measure(view, args.times)
            print(f"{name:<38} {found[name]}", flush=True)
        load = os.getloadavg()[0]
        print(f"load average {load:.1f} on {os.cpu_count()} cores")
        if args.json:
            Path(args.json).write_text(json.dumps({"views": found, "load": load, **vars(args)}, indent=1))


if __name__ == "__main__":
    main()
