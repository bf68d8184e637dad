"""Metrics: what the circuit breaker tells, and that a sink that fails disturbs nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import SimulatedClock

from catalog_sync import metrics
from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.breaker import Breaker, Closed, Passage
from catalog_sync.ledger import LedgerTable
from catalog_sync.settings import Api


class Sink:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    def incr(self, stat: str, count: int = 1) -> None:
        """Count."""
        self.told.append(("incr", stat, count))

    def gauge(self, stat: str, value: float) -> None:
        """Say."""
        self.told.append(("gauge", stat, value))


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
        ("gauge", "catalog.breaker.open", 1),
        ("incr", "catalog.breaker.held_back", 1),
        ("gauge", "catalog.breaker.open", 0),
    ]


def test_a_sink_that_fails_disturbs_nobody() -> None:
    """The network of the metrics is not that of the rows."""

    class Broken(Sink):
        def incr(self, stat: str, count: int = 1) -> None:
            raise OSError("no route to host")

    metrics.send_to(Broken())
    metrics.incr("breaker.opened")
    metrics.send_to(None)
    metrics.incr("breaker.opened")


def test_they_go_where_airflow_sends_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin hands them to Airflow's ``stats``."""
    from airflow.sdk.observability import stats

    from catalog_airflow.metrics import install

    told = []
    monkeypatch.setattr(stats, "incr", lambda *given: told.append(given))
    monkeypatch.setattr(stats, "gauge", lambda *given: told.append(given))
    install()
    metrics.incr("breaker.opened")
    metrics.gauge("breaker.open", 1)
    metrics.send_to(None)
    assert told == [("catalog.breaker.opened", 1), ("catalog.breaker.open", 1)]
