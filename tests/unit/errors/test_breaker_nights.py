"""Nights that meet an open circuit breaker: what is called, what waits, what the books say, and how it goes on."""

from __future__ import annotations

import logging

import httpx
import pytest
from tests.chaos.rows import STORES
from tests.unit.errors.retailer import Retailer, both_stores, row, sent_side

from catalog_sync.breaker import Breaker
from catalog_sync.collect import Collector
from catalog_sync.errors import RetryLater
from catalog_sync.upload import PATIENCE, upload

ROWS = [row(n, store) for store in STORES for n in range(10)]
#: Ten batches of two rows.
SMALL = {"max_items": 2}
DOWN = {"unavailable": 1.0}


@pytest.fixture
def broken(retailer: Retailer) -> Retailer:
    """A retailer with ten batches to send, whose Amazon has just gone down."""
    retailer.configure(api=SMALL)
    retailer.plan(ROWS)
    retailer.faults(rates=DOWN)
    return retailer


def opened(retailer: Retailer) -> str:
    """What the breaker says of itself while it is open."""
    return Breaker.of(retailer.run()).state()


def test_it_opens_once_for_all_tasks_and_closes_when_amazon_is_back(broken: Retailer) -> None:
    """Ten tasks send six requests in all and take no ticket while it is open; the next tries send the rest."""
    errors = broken.send()
    assert [type(error) for error in errors] == [RetryLater] * 10
    assert [entry.status for entry in broken.requests()] == [
        503
    ] * 6  # five open it, and the third task waits for the pause and probes
    assert broken.tickets() == 6
    assert "HTTP 503: Service Unavailable" in opened(broken)
    last = errors[-1]
    assert isinstance(last, RetryLater)
    assert last.after is not None
    assert 0 < last.after <= 2 * 60
    for said in ("BREAKER_OPEN", "the circuit breaker is open since 2026-", "503", "may be tried at"):
        assert said in str(last)

    broken.faults()
    broken.world.clock.sleep(last.after)
    assert broken.send() == []
    assert opened(broken) == ""
    books = broken.finish()
    assert (books["state"], sent_side(books)) == ("complete", {"acknowledged": 20})


def test_a_run_that_meets_an_open_breaker_says_so_in_its_books_and_can_be_resumed(broken: Retailer) -> None:
    """Rows that never left are unsent; clearing the upload tasks and what follows them completes the same run."""
    broken.send()
    books = broken.finish()
    assert books["state"] == "incomplete"
    assert books["total"]["unsent"] > 0
    (told,) = [problem for problem in books["problems"] if "circuit breaker" in problem]
    assert told.startswith("the circuit breaker is open since 2026-09-21 ")
    assert told.endswith("Clear the upload tasks then, or let the next run send what is left")

    broken.faults()
    broken.world.clock.sleep(600)
    assert broken.send() == []
    assert sent_side(broken.finish()) == {"acknowledged": 20}


def test_books_still_say_why_when_the_breaker_has_closed_since(broken: Retailer) -> None:
    """A status call or another run may have closed it before the books are made."""
    broken.send()
    broken.faults()
    broken.world.clock.sleep(600)
    run = broken.run()
    assert broken.world.client(run).status("no such ingestion").http_status == 400
    assert opened(broken) == ""
    books = broken.finish()
    assert any("BREAKER_OPEN: the circuit breaker is open since" in problem for problem in books["problems"])


def test_the_next_run_sends_what_an_open_breaker_kept_back(broken: Retailer) -> None:
    """Nobody clears anything: the next night derives the unsent rows again."""
    broken.send()
    broken.finish()
    broken.faults()
    broken.world.clock.sleep(86400)
    assert sent_side(broken.night("n2")) == {"acknowledged": 20}


def test_a_task_waits_inside_while_the_pause_is_short(retailer: Retailer) -> None:
    """Amazon is back when the pause is over: the task's own probe closes the breaker, and the task goes on."""
    retailer.configure(api={**SMALL, "breaker": {"failures": 2, "pause": "20s"}})
    retailer.plan(both_stores(1))
    retailer.faults("server_error_retry", "server_error_retry")
    run = retailer.run()
    began = retailer.world.clock.now
    made = upload(run, [1], retailer.world.client(run))
    assert (made["requests"], made["held_back"]) == (3, 1)
    assert 20 <= retailer.world.clock.now - began < PATIENCE


def test_status_calls_wait_and_notices_do_not(retailer: Retailer, caplog: pytest.LogCaptureFixture) -> None:
    """While it is open no status call is made, and none is due later for it; a notice ends the run all the same."""
    retailer.plan(both_stores(1))
    assert retailer.send() == []
    run, clock = retailer.run(), retailer.world.clock
    clock.tick = lambda: None  # Amazon's notices do not come
    clock.sleep(run.settings.results.poll_after.total_seconds() + 1)
    fail(retailer, 5)
    collector = Collector(run, retailer.world.client(run), transport=retailer.world.wire)
    with caplog.at_level(logging.WARNING):
        progress = [collector.step() for _ in range(2)]
    assert [(one.held_back, one.polled) for one in progress] == [(True, 0), (True, 0)]
    assert [entry.operation for entry in retailer.world.api.record.all()] == ["upload"]
    assert sum(r.getMessage().startswith("No status calls: the circuit breaker is open") for r in caplog.records) == 1
    retailer.world.core.tick()
    ended = collector.step()
    assert (ended.open, ended.held_back) == (0, False)
    assert sent_side(retailer.finish()) == {"acknowledged": 2}


def test_a_status_call_may_be_the_probe(retailer: Retailer) -> None:
    """When the pause is over while results are awaited, the poll that is due closes the breaker."""
    retailer.plan(both_stores(1))
    retailer.send()
    run, clock = retailer.run(), retailer.world.clock
    clock.tick = lambda: None
    clock.sleep(run.settings.results.poll_after.total_seconds() + 1)
    fail(retailer, 5)
    clock.sleep(60)
    progress = Collector(run, retailer.world.client(run), transport=retailer.world.wire).step()
    assert (progress.polled, progress.held_back, opened(retailer)) == (1, False, "")


def fail(retailer: Retailer, times: int) -> None:
    """Let so many calls of another process fail."""
    wire = retailer.world.wire
    retailer.world.wire = httpx.MockTransport(lambda request: httpx.Response(503))  # type: ignore[assignment]
    api = retailer.world.client(retailer.run())
    retailer.world.wire = wire
    for _ in range(times):
        api.status("x")
