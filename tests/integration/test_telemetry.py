"""What a night that Airflow runs tells those who watch: metrics, lineage and traces, all switched on."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests import statsd_exporter
from tests.integration.conftest import Deployment, row

from catalog_local.airflow import migrate

ROOT = Path(__file__).resolve().parents[2]
#: Runs the nightly DAG in a process that is told at its start what to switch on.
NIGHT = """
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
ended = bag.dags["nightly_catalog_sync"].test(logical_date=None)
from opentelemetry import trace
trace.get_tracer_provider().force_flush()
print("ended", ended.state)
"""

pytestmark = [pytest.mark.prove, pytest.mark.timeout(1200)]

Span = tuple[str, dict[str, str], str]


@contextmanager
def collector(spans: list[Span]) -> Iterator[str]:
    """An OpenTelemetry collector that keeps each span's name, attributes and parent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            told = ExportTraceServiceRequest()
            told.ParseFromString(gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data)
            for resource in told.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                        spans.append((span.name, attributes, span.parent_span_id.hex()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def events(file: Path) -> dict[str, dict[str, Any]]:
    """The COMPLETE event of each task, by its id."""
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {event["job"]["name"].rpartition(".")[2]: event for event in found if event["eventType"] == "COMPLETE"}


def test_a_night_is_watched(deployment: Deployment, tmp_path: Path) -> None:
    """Metrics have the books' rows, lineage has counts and the plan's hash, and each request is a span in its task."""
    migrate(os.environ)
    deployment.raw["api"] = {"max_items": 5}
    deployment.raw["retailer"] = deployment.name
    deployment.settings()
    deployment.write([row(n) for n in range(10)])
    exporter, spans = (
        statsd_exporter.Exporter(statsd_exporter.load(ROOT / "include/monitoring/statsd_mapping.yaml")),
        [],
    )
    lineage = tmp_path / "lineage.json"
    with statsd_exporter.listening(exporter) as port, collector(spans) as address:
        switches = {
            "CATALOG_CONFIG": str(deployment.folder / "catalog.yaml"),
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("include", "plugins")),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(port),
            "AIRFLOW__TRACES__OTEL_ON": "True",
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(lineage), "append": True}
            ),
        }
        with (tmp_path / "night.log").open("w+", encoding="utf-8") as log:
            subprocess.run(
                [sys.executable, "-u", "-c", NIGHT, str(ROOT / "dags")],
                env={**os.environ, **deployment.environ, **switches},
                cwd=tmp_path,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            log.seek(0)
            printed = log.read()
    assert "ended success" in printed, printed[-5000:]

    assert not exporter.strays
    rows = {labels[0][1]: value for (name, labels), value in exporter.values.items() if name == "catalog_rows_total"}
    assert {outcome: value for outcome, value in rows.items() if value} == {
        "read": 10, "planned": 10, "sent": 10, "acknowledged": 10
    }  # fmt: skip

    told = events(lineage)
    assert told["extract"]["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 10
    facet = told["plan"]["run"]["facets"]["catalog"]
    assert facet["planHash"].startswith("sha256:")
    [catalog] = told["account"]["outputs"]
    assert (catalog["namespace"], catalog["name"]) == ("x-jwo", "catalog")
    assert catalog["outputFacets"]["outputStatistics"]["rowCount"] == 10
    books = told["account"]["run"]["facets"]["catalog"]
    assert (books["planHash"], books["state"], books["rows"]["acknowledged"]) == (facet["planHash"], "complete", 10)

    uploads = [(attributes, parent) for name, attributes, parent in spans if name == "catalog upload"]
    assert [attributes["catalog.verdict"] for attributes, _ in uploads] == ["ACCEPTED"] * 2
    assert all(parent for _, parent in uploads)
