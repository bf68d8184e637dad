"""What a night on real Airflow tells those who watch: metrics, lineage and traces, all switched on."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests import statsd_exporter
from tests.e2e.kill_stack import BATCHES, ITEMS, STORES, KillStack, until

from catalog_local.ports import HOST

ROOT = Path(__file__).resolve().parents[2]
ROWS = ITEMS * len(STORES)

pytestmark = [
    pytest.mark.prove,
    pytest.mark.enable_socket,
    pytest.mark.timeout(1800),
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@dataclass(frozen=True)
class Span:
    """A span as it was exported."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]


@dataclass
class Watch:
    """What a night has told."""

    exporter: statsd_exporter.Exporter
    lineage: Path
    spans: list[Span] = field(default_factory=list)

    def counters(self, name: str, *labels: str) -> dict[str, float]:
        """A metric's values that are not zero, by these labels."""
        found: Counter[str] = Counter()
        for (metric, given), value in self.exporter.values.items():
            if metric == name and value:
                found[" ".join(dict(given)[label] for label in labels)] += value
        return dict(found)

    def completes(self) -> dict[str, list[dict[str, Any]]]:
        """The COMPLETE events of each task, by its id; of runs under their DAG's."""
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.lineage.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["eventType"] == "COMPLETE":
                found.setdefault(event["job"]["name"].rpartition(".")[2], []).append(event)
        return found

    def named(self, name: str) -> list[Span]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collector(spans: list[Span]) -> Iterator[str]:
    """An OpenTelemetry collector (OTLP over HTTP) that keeps every span; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep what is sent."""
            data = self.rfile.read(int(self.headers["Content-Length"]))
            told = ExportTraceServiceRequest()
            told.ParseFromString(gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data)
            for resource in told.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(_span(one) for one in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def _span(one: Any) -> Span:
    attributes = {kept.key: getattr(kept.value, kept.value.WhichOneof("value")) for kept in one.attributes}
    return Span(one.name, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(), attributes)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """What a whole night tells when everything is switched on for every component, as docs/monitoring.md says.

    No notice comes, so that the triggerer asks for the state of each upload.
    """
    folder = tmp_path_factory.mktemp("telemetry")
    mapping = statsd_exporter.load(ROOT / "include/monitoring/statsd_mapping.yaml")
    made = Watch(statsd_exporter.Exporter(mapping), folder / "lineage.jsonl")
    with statsd_exporter.listening(made.exporter) as port, collector(made.spans) as address:
        switches = {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": HOST,
            "AIRFLOW__METRICS__STATSD_PORT": str(port),
            "AIRFLOW__TRACES__OTEL_ON": "True",
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(made.lineage), "append": True}
            ),
        }
        stack = KillStack.start(folder, {}, lambda ports: switches)
        try:
            faults = {"rates": {"notice_lost": 1.0}}
            httpx.put(
                f"{stack.sandbox_url}/sandbox/faults", json=faults, trust_env=False, timeout=30
            ).raise_for_status()
            stack.change_source()
            assert stack.end(stack.trigger()) == "success"
            until(lambda: bool(made.completes().get("account")), "the last task's lineage comes", 60, 0.5)
        finally:
            stack.stop()
        yield made


def test_metrics_have_every_row_and_request(watch: Watch) -> None:
    """As StatsD carries them to the exporter, through our mapping; nothing that it does not know."""
    assert not watch.exporter.strays
    assert watch.counters("catalog_rows_total", "outcome") == {
        "read": ROWS, "planned": ROWS, "sent": ROWS, "acknowledged": ROWS
    }  # fmt: skip
    assert watch.counters("catalog_requests_total", "operation", "result")["upload accepted"] == BATCHES
    assert watch.counters("catalog_request_latency_seconds_count", "operation")["upload"] == BATCHES
    assert watch.counters("catalog_uploads_ended_total", "state", "by") == {"done status": BATCHES}
    assert watch.counters("catalog_reports_total", "result") == {"archived": BATCHES}
    assert watch.counters("catalog_runs_total", "kind", "state") == {"night complete": 1}
    assert watch.counters("catalog_last_run_rows", "kind", "outcome")["night acknowledged"] == ROWS
    assert watch.counters("catalog_stage_seconds_count", "stage")["upload"] == BATCHES


def test_lineage_has_row_counts_and_the_hash_of_the_plan(watch: Watch) -> None:
    """COMPLETE events: what was read, planned and acknowledged, and the same plan on all that follows it."""
    told = watch.completes()
    [extract], [plan], [account] = told["extract"], told["plan"], told["account"]
    assert extract["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == ROWS
    assert plan["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == ROWS
    planned, booked = plan["run"]["facets"]["catalog"], account["run"]["facets"]["catalog"]
    assert len(planned["planHash"].removeprefix("sha256:")) == 64
    [catalog] = account["outputs"]
    assert (catalog["namespace"], catalog["name"]) == ("x-jwo", "catalog")
    assert catalog["outputFacets"]["outputStatistics"]["rowCount"] == ROWS
    assert (booked["planHash"], booked["state"], booked["rows"]["acknowledged"]) == (
        planned["planHash"], "complete", ROWS
    )  # fmt: skip


def test_every_upload_is_a_span_of_its_task(watch: Watch) -> None:
    """In the run's one trace, with what Amazon answered and nothing of what was sent."""
    known = {span.span: span for span in watch.spans}
    uploads = watch.named("catalog upload")
    assert [span.attributes["catalog.verdict"] for span in uploads] == ["ACCEPTED"] * BATCHES
    assert len({span.trace for span in uploads}) == 1
    for span in uploads:
        assert known[span.parent].name.startswith("worker.upload[")
        assert set(span.attributes) == {
            "catalog.verdict", "catalog.http_status", "catalog.bytes", "catalog.ingestion_id"
        }  # fmt: skip


def test_every_status_call_of_the_triggerer_is_a_span_of_its_trigger(watch: Watch) -> None:
    """In the trace of the run, too, below the task that deferred to it."""
    known = {span.span: span for span in watch.spans}
    calls = watch.named("catalog status")
    assert len(calls) >= BATCHES
    assert {known[span.parent].name for span in calls} == {"trigger.collect_results"}
    assert {span.trace for span in calls} == {span.trace for span in watch.named("dag_run.nightly_catalog_sync")}
    assert {span.attributes["catalog.http_status"] for span in calls} == {200}
