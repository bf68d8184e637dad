"""What a run tells the metrics: every row once, however often its books are made."""

from __future__ import annotations

import os

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.unit.stories.sink import Sink
from tests.unit.stories.world import World, row

from catalog_sync.run import Kind


def test_a_night_is_counted_once(world: World, sink: Sink) -> None:
    """Rows by column of the books, requests by outcome, and each stage's time; clearing ``account`` adds nothing."""
    bad = {**row(3), "gtin": "4006381333932"}
    world.write([row(1), row(2), bad])
    changed = world.clock.time() - 600
    os.utime(world.source, (changed, changed))
    job = world.job("r1")
    books = job.whole()
    [attempt] = job.attempts()
    assert sink.of("rows") == {column: rows for column, rows in books["total"].items() if rows}
    assert sink.of("rows")["acknowledged"] == 2
    assert sink.of("rejects") == {"barcode_check_digit": 1}
    assert sink.of("requests") == {"upload.accepted": 1}
    assert sink.of("uploads_ended") == {"done.notice": 1}
    assert sink.of("reports") == {"archived": 1}
    assert sink.of("runs") == {"night.complete": 1}
    assert sink.timers["catalog.request_latency.upload"] == sink.timers["catalog.ticket_wait.upload"] == 1
    stages = {stat.rpartition(".")[2] for stat in sink.timers if stat.startswith("catalog.stage.")}
    assert stages == {"extract", "shards", "prepare", "plan", "upload", "archive_reports", "settle", "account"}
    assert sink.gauges["catalog.last_run_rows.night.acknowledged"] == 2
    assert sink.gauges["catalog.request_limit"] == 10
    assert sink.gauges["catalog.uploads_open"] == sink.gauges["catalog.queue_messages.results"] == 0
    assert sink.gauges["catalog.change_to_acknowledged_seconds.erp"] == pytest.approx(
        attempt.item["ended_at"] - changed
    )
    before = dict(sink.counters)
    job.account()
    assert sink.counters == before


def test_what_comes_late_is_counted_when_it_comes(world: World, sink: Sink) -> None:
    """A run that gave up counts unknown rows; the run that settles them counts what they came to."""
    world.faults("late", late_by=5 * 3600)
    world.night("r1", [row(1)])
    assert sink.of("rows")["unknown"] == 1
    assert sink.of("runs") == {"night.incomplete": 1}
    assert sink.counters["catalog.uploads_given_up"] == 1
    assert "acknowledged" not in sink.of("rows")
    world.wait(3)
    world.job("hourly", Kind.COLLECT).collect().settle()
    assert sink.of("rows")["acknowledged"] == 1


def test_a_dry_run_counts_no_rows(world: World, sink: Sink) -> None:
    """Nothing was sent, and nothing is to be wondered at on a dashboard."""
    world.write([row(1)])
    world.job("r1", dry_run=True).whole()
    assert sink.of("rows") == sink.of("runs") == {}
    assert not any(stat.startswith("catalog.last_run_") for stat in sink.gauges)


def test_every_counter_is_known_before_it_counts(world: World, sink: Sink) -> None:
    """The first stage sends each with 0: Prometheus sees no growth in a series that begins at 12."""
    world.write([row(1)])
    world.job("r1").extract()
    assert set(sink.counters.values()) == {0}
    assert {"catalog.throttled.upload", "catalog.rows.refused", "catalog.breaker.opened"} <= set(sink.counters)
    known = set(sink.counters)
    world.job("r2").whole()
    assert set(sink.counters) == known


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="https://dynamodb.test"), OSError("Generic S3 error")]
)
def test_a_store_that_fails_costs_the_metrics_only(
    world: World, sink: Sink, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The books are made and returned; a line of the log says that the metrics are incomplete."""

    def fails(*given: object) -> None:
        raise error

    world.write([row(1)])
    job = world.job("r1").send()
    job.collect().settle()
    monkeypatch.setattr("catalog_sync.run_metrics._count", fails)
    assert job.account()["state"] == "complete"
    assert sink.of("rows") == {}


def test_archives_are_counted_apart(world: World, sink: Sink) -> None:
    """SKUs by column of their books, and a request that was repeated as one that archives; a late report, too."""
    stores = ("SEA-001", "PDX-001")
    world.changes = {"archive": {"after": 1, "apart": "0s"}, "guards": {"source": {"percent": 60, "min_rows": 3}}}
    world.retailer(*stores)
    rows = [row(n, store=store) for n in range(5) for store in stores]
    world.night("n1", rows)
    world.wait(24)
    before = sink.of("rows")
    world.faults("throttled")
    books = world.night("n2", rows[2:])
    assert sink.of("archives") == {"due": 1, "planned": 1, "asked": 1, "archived": 1}
    assert books["archives"]["archived"] == 1
    assert sink.of("retries") == {"archive.retry_later": 1}
    added = {name: rows - before.get(name, 0) for name, rows in sink.of("rows").items()}
    assert {name: rows for name, rows in added.items() if rows} == {"read": 8, "unchanged": 8}
    world.wait(24)
    world.faults("late", late_by=6 * 3600)
    world.night("n3", rows[4:])
    assert sink.of("archives") == {"due": 2, "planned": 2, "asked": 2, "archived": 1, "unknown": 1}
    world.wait(6)
    later = world.job("collect", Kind.COLLECT)
    later.collect().settle()
    later.account()
    assert sink.of("archives")["archived"] == 2
