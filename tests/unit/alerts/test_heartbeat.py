"""The heartbeat: it reaches CloudWatch as the alarm watches it, and an address that others watch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from moto import mock_aws
from tests.chaos.memory_aws import MemoryTable

from catalog_sync.alerts.heartbeat import METRIC, NAMESPACE, TRIES, beat
from catalog_sync.aws import Aws
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.lake import Lake
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings

SECRET = "0f3a-token-of-the-check"


def run_of(clock: Any, host: str = "", **heartbeat: Any) -> Run:
    """A run whose heartbeat is as given."""
    settings = Settings.model_validate(
        {
            "retailer": "acme", "stores": {"ids": ["A"]}, "lake": "x", "results": {"queue": "q", "topic_arn": "t"},
            "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}],
            "mapping": {"item_sku": "sku", "store_id": "store"}, "alerts": {"heartbeat": heartbeat},
        }
    )  # fmt: skip
    ledger = LedgerTable(MemoryTable(), "Ledger", clock.sleep)
    connections = EnvironmentConnections({"AIRFLOW_CONN_CHECK": json.dumps({"conn_type": "http", "host": host})})
    run = Run(settings, connections, "r1", Options(), clock, Lake.in_memory(), ledger, Aws.of("us-east-1", "k", "s"))
    run._manifest = {"options": {"kind": "night", "stores": [], "skus": []}, "started_at": clock.time()}
    return run


#: Of a run that took an hour and has just ended, as the clock of the tests has it.
BOOKS = {
    "dry_run": False, "state": "complete", "started_at": 1_790_000_000.0 - 3600, "accounted_at": 1_790_000_000.0
}  # fmt: skip


class Check(BaseHTTPRequestHandler):
    """Somebody who watches; ``answers`` are the next statuses."""

    calls: list[str]
    answers: list[int]

    def do_GET(self) -> None:
        """Take the call."""
        self.calls.append(self.path)
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def check() -> Iterator[tuple[str, type[Check]]]:
    """The address of a watcher on this host, and what it has seen."""
    handler = type("Here", (Check,), {"calls": [], "answers": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", handler
        server.shutdown()
        thread.join()


def test_the_metric_is_the_one_that_the_alarm_watches(clock: Any) -> None:
    """One data point of 1, with the retailer's dimension."""
    with mock_aws():
        assert beat(run_of(clock), BOOKS) == ["metric"]
        [found] = Aws.of("us-east-1", "k", "s").client("cloudwatch").list_metrics(Namespace=NAMESPACE)["Metrics"]
    assert (found["MetricName"], found["Dimensions"]) == (METRIC, [{"Name": "Retailer", "Value": "acme"}])


@pytest.mark.enable_socket
def test_the_address_is_called_once(clock: Any, check: tuple[str, type[Check]]) -> None:
    """And again when it stumbles, since a lost call wakes somebody."""
    url, seen = check
    assert beat(run_of(clock, url, metric=False, ping_conn_id="check"), BOOKS) == ["ping"]
    assert seen.calls == [f"/{SECRET}"]
    seen.answers[:] = [503, 503]
    assert beat(run_of(clock, url, metric=False, ping_conn_id="check"), BOOKS) == ["ping"]
    assert len(seen.calls) == 1 + TRIES


@pytest.mark.enable_socket
def test_an_address_that_fails_is_told_without_its_secret(
    clock: Any, check: tuple[str, type[Check]], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised, and the log names the connection and not the address."""
    url, seen = check
    seen.answers[:] = [500] * TRIES
    caplog.set_level(logging.DEBUG)
    assert beat(run_of(clock, url, metric=False, ping_conn_id="check"), BOOKS) == []
    assert "did not reach connection check (HTTPStatusError)" in caplog.text
    assert SECRET not in "".join(record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG)


def test_an_address_without_tls_is_not_called(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its secret would be shown to the network."""

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(str(request.url))

    run = run_of(clock, f"http://watch.example/{SECRET}", metric=False, ping_conn_id="check")
    assert beat(run, BOOKS, transport=httpx.MockTransport(never)) == []
    assert "did not reach connection check (Misconfigured)" in caplog.text


def test_a_permission_that_is_missing_fails_no_run(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The role may not put metrics: the log says so, and somebody hears from the alarm."""

    class Forbidden:
        def put_metric_data(self, **data: Any) -> None:
            raise PermissionError("AccessDenied")

    assert beat(run_of(clock), BOOKS, Forbidden()) == []
    assert "docs/runbooks/no-run.md" in caplog.text
