"""Metrics: their names, what the circuit breaker tells, and that a sink that fails disturbs nobody."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import SimulatedClock

from catalog_sync import measures, metrics
from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.breaker import Breaker, Closed, Passage
from catalog_sync.ledger import LedgerTable
from catalog_sync.settings import Api


class Sink:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    def incr(self, stat: str, count: int) -> None:
        """Count."""
        self.told.append(("incr", stat, count))

    def gauge(self, stat: str, value: float) -> None:
        """Say."""
        self.told.append(("gauge", stat, value))

    def timing(self, stat: str, milliseconds: float) -> None:
        """Time."""
        self.told.append(("timing", stat, milliseconds))


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Where metrics go during the test."""
    made = Sink()
    metrics.send_to(made)
    yield made
    metrics.send_to(None)


def test_the_breaker_tells_that_it_opens_holds_back_and_closes(
    dynamodb: Any, clock: SimulatedClock, sink: Sink
) -> None:
    """A dashboard shows whether it is open, and how often it was in the way."""
    breaker = Breaker(LedgerTable(dynamodb, "Ledger"), "acme", clock, Api())
    sick = Answer(Verdict.AMBIGUOUS, message="HTTP 503")
    for _ in range(5):
        passage = breaker.ask()
        assert isinstance(passage, Passage)
        breaker.tell(passage, sick)
    assert isinstance(breaker.ask(), Closed)
    clock.now += 60
    probe = breaker.ask()
    assert isinstance(probe, Passage)
    breaker.tell(probe, Answer(Verdict.ACCEPTED, ingestion_id="i", http_status=201))
    assert sink.told == [
        ("incr", "catalog.breaker.opened", 1),
        ("gauge", "catalog.breaker_open", 1),
        ("incr", "catalog.breaker.held_back", 1),
        ("incr", "catalog.breaker.closed", 1),
        ("gauge", "catalog.breaker_open", 0),
    ]


def test_a_sink_that_fails_disturbs_nobody() -> None:
    """The network of the metrics is not that of the rows."""

    class Broken(Sink):
        def incr(self, stat: str, count: int) -> None:
            raise OSError("no route to host")

    metrics.send_to(Broken())
    measures.GIVEN_UP.add()
    metrics.send_to(None)
    measures.GIVEN_UP.add()


def test_a_name_carries_what_happened(sink: Sink) -> None:
    """Labels' values follow the name, in the order in which they are declared, in lower case."""
    measures.REQUESTS.add(result="RETRY_LATER", operation="upload")
    measures.RESULT_DELAY.took(1.5, by="early notice")
    assert sink.told == [
        ("incr", "catalog.requests.upload.retry_later", 1),
        ("timing", "catalog.result_delay.early_notice", 1500.0),
    ]


def test_names_do_not_grow_without_bound(sink: Sink) -> None:
    """A value that nobody expected is counted with all others of its kind; a wrong label is a mistake."""
    measures.REQUESTS.add(operation="upload", result="surprise.of the; day")
    assert sink.told == [("incr", "catalog.requests.upload.other", 1)]
    with pytest.raises(ValueError, match="operation, result"):
        measures.REQUESTS.stat(operation="upload")


def test_a_time_is_never_less_than_nothing(sink: Sink, clock: SimulatedClock) -> None:
    """Clocks of two hosts may disagree; what fails is timed, too."""
    measures.NOTICE_DELAY.took(-3.0)
    with contextlib.suppress(OSError), measures.STAGE.timed(clock, stage="plan"):
        clock.now += 2
        raise OSError
    assert sink.told == [("timing", "catalog.notice_delay", 0.0), ("timing", "catalog.stage.plan", 2000.0)]


def test_every_metric_is_declared_once_and_named_soundly() -> None:
    """Airflow takes letters, digits and a few signs; ``other`` is kept for values that nobody expected."""
    names = [metric.name for metric in measures.ALL]
    assert len(names) == len(set(names)) > 30
    for metric in measures.ALL:
        for word in (metric.name, *metric.labels, *(value for values in metric.labels.values() for value in values)):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", word), word
            assert word != metrics.OTHER


def test_a_process_that_wants_no_metrics_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless Airflow sends its metrics, ours are not even named."""
    from catalog_airflow.metrics import install

    install()
    assert not metrics.wanted()


def test_they_go_where_airflow_sends_its_own(monkeypatch: pytest.MonkeyPatch, socket_enabled: None) -> None:
    """With ``[metrics] statsd_on`` each is one datagram of StatsD's, under Airflow's own prefix."""
    from airflow.sdk.observability import stats

    from catalog_airflow.metrics import install

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(receiver.getsockname()[1]))
        install()
        try:
            measures.ROWS.add(10_000, outcome="acknowledged")
            measures.RETRIES.add(0, operation="upload", reason="AMBIGUOUS")
            measures.BREAKER_OPEN.set(1)
            measures.LATENCY.took(0.25, operation="upload")
            told = [receiver.recv(512).decode() for _ in range(4)]
        finally:
            metrics.send_to(None)
            stats.initialize(factory=lambda: None, export_legacy_names=False)  # type: ignore[arg-type,return-value]
    assert told == [
        "airflow.catalog.rows.acknowledged:10000|c",
        "airflow.catalog.retries.upload.ambiguous:0|c",
        "airflow.catalog.breaker_open:1|g",
        "airflow.catalog.request_latency.upload:250.000000|ms",
    ]
