"""The monitoring that is shipped: what it asks for is what a run really sends."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import pytest_socket
import yaml
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry
from airflow.sdk.observability import stats
from tests import statsd_exporter
from tests.conftest import SimulatedClock
from tests.fast_place import fast_place
from tests.statsd_exporter import Exporter, Mapping
from tests.unit.stories.world import World, row

from catalog_airflow.metrics import install
from catalog_sync import measures, metrics
from catalog_sync.alerts.kinds import ABOUT, Kind
from catalog_sync.metrics import Counter, Gauge, Metric, Timer
from catalog_sync.run import Kind as RunKind

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "include/monitoring"
MAPPINGS = statsd_exporter.load(SHIPPED / "statsd_mapping.yaml")
RULES = [
    rule
    for group in yaml.safe_load((SHIPPED / "alert_rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((SHIPPED / "grafana/dashboards/catalog-sync.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
#: What the Grafana variables of a panel may stand for.
VARIABLES = {"$__rate_interval": "1m", "$kind": "night"}


def expressions() -> dict[str, str]:
    """Every expression of the rules and the dashboard, by where it stands."""
    found = {f"rule {rule['alert']}": rule["expr"] for rule in RULES}
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            found[f"panel {panel['title']} {target['refId']}"] = expression
    return found


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The metrics that the expression selects, each with its matchers: label and value."""
    found = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            matchers = [(matcher.name, matcher.value) for matcher in node.matchers.matchers]
            found.append((str(node.name), matchers))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def family(name: str) -> str:
    """The name of the metric that a series belongs to: a histogram has several."""
    return re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name)


MAPPED: dict[str, Mapping] = {mapping.name: mapping for mapping in MAPPINGS}


@pytest.mark.parametrize("where", expressions())
def test_an_expression_is_promql_and_asks_for_what_there_is(where: str) -> None:
    """It parses; its metrics, and the labels and values that it picks, are those of the mapping and the code."""
    declared = {prometheus_name(metric): metric for metric in measures.ALL}
    asked = selectors(expressions()[where])
    assert asked, where
    for name, matchers in asked:
        if name == "up":  # Prometheus's own
            continue
        mapping = MAPPED[family(name)]
        for label, value in matchers:
            assert label in mapping.labels, (name, label)
            known = declared[family(name)].labels[label] if family(name) in declared else ()
            assert not known or set(value.split("|")) <= set(known), (name, label, value)


def prometheus_name(metric: Metric) -> str:
    """How a metric is called in Prometheus."""
    ending = {Counter: "_total", Timer: "_seconds", Gauge: ""}[type(metric)]
    return f"catalog_{metric.name}{ending}"


@pytest.mark.parametrize("metric", measures.ALL, ids=lambda metric: metric.name)
def test_a_metric_arrives_with_its_labels(metric: Metric) -> None:
    """The mapping takes its name apart again: type, name and each label's value."""
    exporter = Exporter(MAPPINGS)
    labels = {label: values[0] if values else "erp" for label, values in metric.labels.items()}
    kind = {Counter: "c", Timer: "ms", Gauge: "g"}[type(metric)]
    exporter.take(f"airflow.{metric.stat(**labels)}:1500|{kind}")
    assert not exporter.strays
    name = prometheus_name(metric)
    if isinstance(metric, Timer):
        assert exporter.values[f"{name}_sum", tuple(sorted(labels.items()))] == 1.5
    else:
        assert exporter.values == {(name, tuple(sorted(labels.items()))): 1500}


def test_the_mapping_has_nothing_that_nobody_sends() -> None:
    """Each is one of ours, or one of Airflow's own registry under its legacy name."""
    ours = {prometheus_name(metric) for metric in measures.ALL}
    registry = MetricsRegistry()
    for mapping in MAPPINGS:
        if mapping.name in ours | {"dropped"}:
            continue
        name = mapping.raw["match"].removeprefix("airflow.").replace(".*", "")
        known = registry.get(name) or registry.get(f"{name}.success")
        assert known, mapping.raw["match"]
        legacy = known["legacy_name"] if known["legacy_name"] != "-" else name
        assert mapping.pattern.match(f"airflow.{legacy.replace('{', '').replace('}', '')}")


def test_what_is_not_ours_is_dropped() -> None:
    """Airflow's names hold every DAG, task and file: none becomes a series by accident."""
    exporter = Exporter(MAPPINGS)
    exporter.take("airflow.dag.nightly_catalog_sync.plan.duration:3.5|ms\nairflow.executor.open_slots:8|g")
    assert (exporter.values, exporter.strays) == ({}, set())


@pytest.fixture(scope="module")
def told() -> Exporter:
    """What an exporter has after two nights in which much goes wrong, each metric sent as Airflow sends its own."""
    exporter = Exporter(MAPPINGS)
    patch = pytest.MonkeyPatch()
    clock = SimulatedClock()
    patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock.time(), UTC))
    made = tempfile.TemporaryDirectory(prefix="monitoring-", dir=fast_place())
    pytest_socket.enable_socket()
    with made as folder, statsd_exporter.listening(exporter) as port:
        patch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        patch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        patch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(port))
        install()
        try:
            faulty_nights(World(clock, Path(folder)))
        finally:
            metrics.send_to(None)
            stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
            patch.undo()
    return exporter


#: What must have been counted in them, each with its labels.
WENT_WRONG: list[tuple[str, dict[str, str]]] = [
    ("catalog_throttled_total", {"operation": "upload"}),
    ("catalog_requests_total", {"operation": "upload", "result": "ambiguous"}),
    ("catalog_requests_total", {"operation": "status", "result": "accepted"}),
    ("catalog_retries_total", {"operation": "upload", "reason": "retry_later"}),
    ("catalog_breaker_total", {"event": "opened"}),
    ("catalog_uploads_ended_total", {"state": "fatal", "by": "notice"}),
    ("catalog_uploads_ended_total", {"state": "done", "by": "status"}),
    ("catalog_rejects_total", {"code": "barcode_check_digit"}),
    ("catalog_runs_total", {"kind": "night", "state": "incomplete"}),
    ("catalog_rows_total", {"outcome": "failed"}),
    ("catalog_rows_total", {"outcome": "acknowledged"}),
]


def faulty_nights(world: World) -> None:
    """Let requests fail in every way, an upload end FATAL, another without a notice, and rows be rejected."""
    world.changes = {"api": {"max_items": 2, "breaker": {"failures": 3}}}
    world.faults("throttled", "unavailable", {"fault": "fatal"})
    world.night("r1", [row(n) for n in range(12)] + [{**row(99), "gtin": "4006381333932"}])
    # In a night of its own: it might strike the one that ends FATAL.
    world.faults("notice_lost")
    world.night("lost", [row(n, "C") for n in range(12)])
    world.faults(*["unavailable"] * 6)
    world.night("r2", [row(n, "B") for n in range(12)])
    world.wait(2)
    world.job("hourly", RunKind.COLLECT).collect().settle()


def test_a_faulty_sync_sends_all_that_is_asked_for(told: Exporter) -> None:
    """Every metric of the dashboard and the rules was received from a run; others are Airflow's or Prometheus's."""
    asked = {family(name) for expression in expressions().values() for name, _ in selectors(expression)}
    sent = {family(name) for name in told.names()}
    assert not told.strays
    counted = {series for series, value in told.values.items() if value}
    for name, labels in WENT_WRONG:
        assert (name, tuple(sorted(labels.items()))) in counted, (name, labels)
    assert {name for name in asked - sent if not name.startswith("airflow_")} == {"up"}


def test_every_metric_is_sent_by_a_run(told: Exporter) -> None:
    """None is declared in vain."""
    sent = {family(name) for name in told.names()}
    assert {prometheus_name(metric) for metric in measures.ALL} - sent == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_agrees_with_the_catalogue_of_alerts(rule: dict[str, Any]) -> None:
    """The same severity and the same runbook as the message that says it; others are about the monitoring itself."""
    kind = rule["labels"].get("kind")
    if kind is None:
        assert rule["annotations"]["runbook"] == "../monitoring.md"
        assert (ROOT / "docs/monitoring.md").is_file()
    else:
        about = ABOUT[Kind(kind)]
        assert (rule["labels"]["severity"], rule["annotations"]["runbook"]) == (about.severity, about.runbook)
    assert rule["annotations"]["summary"]


def test_the_dashboard_is_sound() -> None:
    """Panels have titles and ids of their own and do not overlap; each asks the source that is provisioned."""
    source = yaml.safe_load((SHIPPED / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][
        0
    ]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}


def test_the_page_lists_every_metric() -> None:
    """``docs/monitoring.md`` has a line for each, with its labels, and none for what is not sent."""
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(catalog_[a-z_]+)` \| ([a-z_, –]+) \|", text, re.MULTILINE))
    assert listed == {prometheus_name(metric): ", ".join(metric.labels) or "–" for metric in measures.ALL}
