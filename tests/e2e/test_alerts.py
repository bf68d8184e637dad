"""Alerts on real Airflow, as whoever is told gets them: a webhook that receives each begin and each end once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import httpx
import pytest
from tests.e2e.kill_stack import KillStack, pause, until

from catalog_local.ports import HOST
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET

QUESTION, HOURLY = "release_held_changes", "collect_upload_results"
CHANNEL = {"kind": "webhook", "conn_id": "pager", "endpoint": "alert"}
ALERTS = {
    "routes": {"critical": "pager", "warning": "pager"},
    # Each night here takes longer, and less than the other deadlines.
    "late": "5s",
}

#: Nothing is killed here: a slow machine must not look like a dead worker.
PATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "60",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "60",
}

pytestmark = [
    pytest.mark.prove,
    pytest.mark.enable_socket,
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


class Pager(BaseHTTPRequestHandler):
    """Takes every message."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Keep the message."""
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Night:
    """A deployment, whoever is told, and what they have heard."""

    def __init__(self, stack: KillStack, got: list[dict[str, Any]]) -> None:
        self.stack, self.got = stack, got

    def faults(self, **plan: Any) -> None:
        """Order faults from the sandbox."""
        url = f"{self.stack.sandbox_url}/sandbox/faults"
        httpx.put(url, json=plan, trust_env=False, timeout=30).raise_for_status()

    def play(self) -> str:
        """Let a night run to its end, with new prices; return its state."""
        self.stack.change_source()
        return self.stack.end(self.stack.trigger())

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Let a run of another DAG run to its end; return its state."""
        rest = self.stack.deployment.rest
        rest.unpause(dag_id)
        run_id = rest.trigger(dag_id, conf)
        until(lambda: rest.run_state(dag_id, run_id) in ("success", "failed"), f"{dag_id} ends", step=0.5)
        return rest.run_state(dag_id, run_id)

    def heard(self, *expected: str) -> list[str]:
        """Wait until so much was told, and a little for what should not be; return it in alphabetical order."""
        until(lambda: len(self.got) >= len(expected), f"{expected} are told, but {self.got}", 90, 0.5)
        pause(8)  # a DAG's callbacks come some seconds after its end
        told = [f"{one['about']['change']} {one['about']['alert']}" for one in self.got]
        self.got.clear()
        return sorted(told)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """One deployment whose alerts go to a webhook on this host."""
    handler = type("Here", (Pager,), {"got": []})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        connection = json.dumps({"conn_type": "http", "host": f"http://{HOST}:{server.server_port}"})
        changes = {"notify": {"channels": {"pager": CHANNEL}}, "alerts": ALERTS}
        more = {"AIRFLOW_CONN_PAGER": connection, **PATIENT}
        stack = KillStack.start(tmp_path_factory.mktemp("alerts"), changes, lambda ports: more)
        try:
            yield Night(stack, handler.got)
        finally:
            stack.stop()
            server.shutdown()
            thread.join()


@pytest.mark.timeout(1800)
def test_what_begins_and_what_is_over_is_told_once(night: Night) -> None:
    """Late, forbidden and mended, a run that fails without books, and an hour in which nothing is new."""
    assert night.play() == "success"
    assert night.heard("late", "over") == ["began RUN_LATE", "over RUN_LATE"]

    night.faults(script=[{"fault": "forbidden", "operation": "upload", "times": 50}])
    assert night.play() == "failed"
    began = ["began DRIFT", "began FORBIDDEN", "began RUN_INCOMPLETE", "began RUN_LATE", "over RUN_LATE"]
    [late] = [one for one in night.got if one["about"]["alert"] == "RUN_LATE" and one["about"]["change"] == "began"]
    assert "has not ended" in late["text"]
    assert "docs/runbooks/run-late.md" in late["text"]
    assert night.heard(*began) == began

    assert night.run(HOURLY, {}) == "success"
    assert night.heard() == []

    night.faults()
    assert night.play() == "success"
    over = ["began RUN_LATE", "over DRIFT", "over FORBIDDEN", "over RUN_INCOMPLETE", "over RUN_LATE"]
    assert night.heard(*over) == over

    assert night.run(QUESTION, {"run": "there-is-no-such-run"}) == "failed"
    [failed] = [one for one in _wait(night, 1) if one["about"]["alert"] == "RUN_FAILED"]
    assert (failed["severity"], failed["about"]["about"]) == ("error", QUESTION)
    assert night.heard("failed") == ["began RUN_FAILED"]

    # The heartbeat of the two complete nights, where the template's alarm looks for it.
    endpoint = f"http://{HOST}:{night.stack.deployment.ports.aws}"
    secrets = {"aws_access_key_id": DEFAULT_KEY, "aws_secret_access_key": DEFAULT_SECRET}
    cloudwatch = boto3.client("cloudwatch", region_name="us-east-1", endpoint_url=endpoint, **secrets)
    [metric] = cloudwatch.list_metrics(Namespace="CatalogSync")["Metrics"]
    assert (metric["MetricName"], metric["Dimensions"]) == ("CompleteRuns", [{"Name": "Retailer", "Value": "acme"}])


def _wait(night: Night, messages: int) -> list[dict[str, Any]]:
    until(lambda: len(night.got) >= messages, "messages come", 90, 0.5)
    return list(night.got)
