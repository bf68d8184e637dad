"""A deployment to kill processes of: a small catalog whose prices tell the night, and settings that notice soon."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from rich.console import Console
from stdnum import ean
from tests.e2e import independent_books
from tests.e2e.independent_record import Lake, lines

from catalog_local import airflow
from catalog_local.environment import CHECKOUT, fingerprint
from catalog_local.errors import LocalError
from catalog_local.launcher import NIGHTLY, Deployment
from catalog_local.ports import HOST, Ports
from catalog_local.state import State
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from catalog_sync.run import run_name

STORES = ("SEA-001", "PDX-001")
ITEMS = 1500
#: Six batches a night.
MAX_ITEMS = 500
BATCHES = len(STORES) * ITEMS // MAX_ITEMS
FIELDS = ("item_sku", "external_product_id", "item_name", "store_id", "standard_price")
#: Seconds for a night with a kill in it; the longest seen took less than half.
PATIENCE = 400.0

#: ``results.give_up_after`` in seconds, longer than results take on a slow machine. For so long a row whose
#: sending may still arrive is not sent again, and a result that never comes is waited for.
GIVE_UP_AFTER = 180

#: So that what is dead is noticed within seconds; docs/deployment.md says what matters in production.
NOTICE_SOON = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
}
#: Put before each DAG's own text: a lost task is tried again after seconds instead of a minute.
RETRY_SOON = """\
from datetime import timedelta

from catalog_airflow.defaults import DEFAULT_ARGS

DEFAULT_ARGS["retry_delay"] = timedelta(seconds=2)
"""


def pause(seconds: float) -> None:
    """Let the processes under test get on."""
    threading.Event().wait(seconds)


def until(true: Callable[[], bool], what: str, patience: float = PATIENCE, step: float = 0.1) -> None:
    """Wait until something is true; fail with ``what`` when it takes too long."""
    for _ in range(int(patience / step)):
        if true():
            return
        pause(step)
    raise AssertionError(f"not in {patience:.0f} s: {what}")


def write_source(folder: Path, night: int) -> None:
    """Write the night's source: the same rows every night, whose prices are the night's number and some cents."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(FIELDS)
    for store in STORES:
        for number in range(ITEMS):
            body = f"400638{number:06d}"
            price = f"{night}.{10 + number % 90}"
            rows.writerow([f"SKU-{number:04d}", body + ean.calc_check_digit(body), f"Item {number}", store, price])
    new = folder / "items.new"
    new.write_text(text.getvalue(), encoding="utf-8")
    new.replace(folder / "items.csv")


def write_config(folder: Path, changes: Mapping[str, Any], give_up_after: int) -> Path:
    """Write the deployment's configuration and return its path; no scheduled run comes in the next hours."""
    config = {
        "retailer": "acme",
        "stores": {"ids": list(STORES)},
        "lake": "s3://acme-catalog/jwo",
        "ledger": {"table": "CatalogUploads"},
        "results": {
            "queue": "JWOCatalogIngestionStatusQueue",
            "topic_arn": "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus",
            "expect": "5s",
            "poll_after": "15s",
            "poll_every": "3s",
            "give_up_after": f"{give_up_after}s",
            "horizon": f"{give_up_after}s",
            "archive_after": "15s",
            "wait": "2s",
            "certificate_hosts": [HOST],
        },
        "api": {"max_items": MAX_ITEMS},
        # Every price moves every night, and none of that is a mistake.
        "guards": {
            part: {name: {"percent": 100} for name in ("changed", "new", "prices", "rejected")}
            for part in ("store", "total")
        },
        "schedule": {"at": f"{datetime.now(UTC) + timedelta(hours=12):%H:%M}", "timezone": "UTC"},
        "sources": [{"name": "items", "kind": "file", "path": "items.csv", "format": "csv"}],
        "mapping": {name: name for name in FIELDS},
        **changes,
    }
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


class KillDeployment(Deployment):
    """The local deployment as ``make run`` starts it, but for how soon it notices and tries again, and ``more``."""

    #: Variables of one test.
    more: Callable[[Ports], Mapping[str, str]] = staticmethod(lambda ports: {})

    @cached_property
    def environment(self) -> dict[str, str]:
        """What every process is started with."""
        dags = self.state.folder / "dags"
        dags.mkdir(parents=True, exist_ok=True)
        for file in (CHECKOUT / "dags").glob("*.py"):
            text = file.read_text(encoding="utf-8")
            end = text.index('"""', text.index('"""') + 3) + 3  # the docstring stays first
            (dags / file.name).write_text(f"{text[:end]}\n{RETRY_SOON}{text[end:]}", encoding="utf-8")
        more = self.more(self.ports)
        return {**super().environment, **NOTICE_SOON, **more, "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}


@dataclass
class KillStack:
    """The deployment, its nights, and what is true after each.

    :param applied: store and SKU → the night whose row Amazon applied last, over all nights so far.
    """

    folder: Path
    deployment: KillDeployment
    give_up_after: int
    night: int = 0
    applied: dict[tuple[str, str], int] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    orphans: list[psutil.Process] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        folder: Path,
        changes: Mapping[str, Any] | None = None,
        more: Callable[[Ports], Mapping[str, str]] = lambda ports: {},
        give_up_after: int = GIVE_UP_AFTER,
    ) -> KillStack:
        """Start everything on free ports, with changes to the configuration and more variables for the processes."""
        ports = dict(zip(("PORT", "SANDBOX_PORT", "AWS_PORT"), map(str, free_ports(3)), strict=True))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CATALOG"))}
        write_source(folder, 0)
        config = write_config(folder, changes or {}, give_up_after)
        environ = {**inherited, **ports, "CATALOG_CONFIG": str(config), "SANDBOX": "on"}
        deployment = KillDeployment(State(folder / "state"), environ, Console(file=io.StringIO()))
        deployment.more = more
        made = cls(folder, deployment, give_up_after)
        try:
            made.deployment.start()
        except BaseException:
            made.stop()
            raise
        return made

    def stop(self) -> None:
        """Stop everything, and what kills left without a parent."""
        self.deployment.stop()
        self.end_orphans()

    def end_orphans(self) -> None:
        """Kill what has outlived its parent."""
        for process in self.orphans:
            if process.is_running():
                process.kill()
        psutil.wait_procs(self.orphans, timeout=5)
        self.orphans.clear()

    # --- what can be seen

    @property
    def sandbox_url(self) -> str:
        """The sandbox's control plane."""
        return f"http://{HOST}:{self.deployment.ports.sandbox}"

    def seen(self, path: str) -> list[dict[str, Any]] | None:
        """The sandbox's own record, ``None`` while it is away."""
        try:
            return lines(self.sandbox_url, path)
        except OSError:
            return None

    def state(self, run_id: str) -> str:
        """The run's state, empty while nobody answers."""
        try:
            return self.deployment.rest.run_state(NIGHTLY, run_id)
        except (LocalError, httpx.HTTPError):
            return ""

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The run's tasks, none while nobody answers."""
        try:
            return self.deployment.rest.task_instances(NIGHTLY, run_id)
        except (LocalError, httpx.HTTPError):
            return []

    @cached_property
    def lake(self) -> Lake:
        """The lake, read by other means than the program's."""
        endpoint = f"http://{HOST}:{self.deployment.ports.aws}"
        secrets = {"aws_access_key_id": DEFAULT_KEY, "aws_secret_access_key": DEFAULT_SECRET}
        return Lake("s3://acme-catalog/jwo", endpoint, **secrets)

    # --- nights

    def change_source(self) -> None:
        """Give every row a new price."""
        self.night += 1
        write_source(self.folder, self.night)

    def trigger(self) -> str:
        """Start a night and return its run id."""
        return self.deployment.rest.trigger(NIGHTLY, {"reason": f"night {self.night}"})

    def end(self, run_id: str) -> str:
        """Wait until the run and everything that Amazon accepted from it have ended, and return the run's state."""
        until(lambda: self.state(run_id) in ("success", "failed"), f"{run_id} ends", step=0.5)
        ended = self.state(run_id)
        until(self._nothing_open, "every ingestion ends", 120)
        self.end_orphans()
        return ended

    def _nothing_open(self) -> bool:
        found = self.seen("/sandbox/ingestions")
        return found is not None and all(one["status"] in ("DONE", "FATAL", "CANCELLED") for one in found)

    def wait_out_doubt(self) -> None:
        """Wait until nothing that was sent so far keeps a row from being sent again."""
        sent = [one["time"] for one in lines(self.sandbox_url, "/sandbox/requests") if one["operation"] == "upload"]
        over = max(sent, default=0.0) + self.give_up_after + 5
        until(lambda: datetime.now(UTC).timestamp() > over, "what was sent is given up on", step=0.5)

    def restart(self, name: str) -> None:
        """Start a process again with the command it had, as a supervisor would."""
        environment = self.deployment.environment
        airflow.start(self.deployment.processes, environment, fingerprint(environment), [name])

    def all_healthy(self, since: datetime) -> None:
        """Wait until every process of Airflow has given a sign of life since then."""
        airflow.wait_healthy(self.deployment.processes, self.deployment.rest, since, pause)

    # --- what must be true

    def wrong_books(self, run_id: str, before: list[dict[str, Any]]) -> list[str]:
        """Return what is wrong with a run's books, computed a second time by other means."""
        prefix = f"runs/{run_name(run_id)}"
        theirs = self.lake.json(f"{prefix}/books.json")
        if not theirs:
            return ["the run wrote no books"]
        source = independent_books.RawSource("items", self.folder / "items.csv", "store_id", "item_sku")
        mine, problems = independent_books.books(self.lake, prefix, self.sandbox_url, [source], before)
        return problems + independent_books.differences(mine, theirs["stores"])

    def wrong_rows(self) -> list[str]:
        """Return where Amazon's active items are not the source's rows."""
        with (self.folder / "items.csv").open(encoding="utf-8", newline="") as file:
            wanted = {
                (row["store_id"], row["item_sku"]): Decimal(row["standard_price"]) for row in csv.DictReader(file)
            }
        active = {
            (item["store_id"], item["item_sku"]): Decimal(item["standard_price"])
            for item in lines(self.sandbox_url, "/sandbox/catalog")
            if item["state"] == "ACTIVE"
        }
        keys = sorted(wanted.keys() | active.keys())
        return [f"{key}: {active.get(key)} of {wanted.get(key)}" for key in keys if active.get(key) != wanted.get(key)]

    def wrong_requests(self, run_id: str) -> list[str]:
        """Return what is wrong with the requests: a 429, an unknown payload, an older row after a newer one."""
        plan = self.lake.json(f"runs/{run_name(run_id)}/plan.json") or {"batch_list": []}
        for batch in plan["batch_list"]:
            data = self.lake.get(batch["key"]) or b""
            self.payloads[hashlib.sha256(data).hexdigest()] = data
        requests = lines(self.sandbox_url, "/sandbox/requests")
        problems = [f"429 at {one['time']}" for one in requests if one["status"] == 429]
        ended = {one["ingestion_id"]: one["ended_at"] for one in lines(self.sandbox_url, "/sandbox/ingestions")}
        uploads = [one for one in requests if one["operation"] == "upload" and "ingestion_id" in one]
        for one in sorted(uploads, key=lambda one: ended[one["ingestion_id"]]):
            if one["ingestion_id"] not in self.judged:
                self.judged.add(one["ingestion_id"])
                problems += self._apply(one["sha256"])
        return problems

    def _apply(self, digest: str) -> list[str]:
        if digest not in self.payloads:
            return [f"a payload that no plan has: {digest}"]
        problems = []
        for item in json.loads(self.payloads[digest])["catalogItems"]:
            key, night = (item["store_id"], item["item_sku"]), int(Decimal(item["standard_price"]))
            if night < self.applied.get(key, 0):
                problems.append(f"{key}: night {night} after night {self.applied[key]}")
            self.applied[key] = night
        return problems


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    numbers = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return numbers
