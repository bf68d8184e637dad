"""Collecting against a function from request to answer, with the queue of an emulator."""

from __future__ import annotations

from typing import Any

import boto3
import httpx
import pytest
from botocore.credentials import Credentials

from catalog_sync.api.client import CatalogApi
from catalog_sync.attempts import Attempt, AttemptKey, Attempts, State
from catalog_sync.breaker import Breaker
from catalog_sync.collect import Collector
from catalog_sync.inbox import Inbox
from catalog_sync.lake import Lake
from catalog_sync.lease import Lease
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settings import Settings
from catalog_sync.tickets import Tickets

DONE = {"ingestionId": "ing-1", "processingStatus": "DONE", "reportDownloadLink": "https://reports.example/1?secret"}


class World:
    """A run that sent uploads, and a collector for which Amazon's status API gives one answer."""

    def __init__(self, dynamodb: Any, clock: Any, kind: Kind = Kind.NIGHT) -> None:
        settings = Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": ["A"]}, "lake": "x",
                "results": {"queue": "q", "topic_arn": "t"},
                "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}],
                "mapping": {"item_sku": "sku", "store_id": "store"},
            }
        )  # fmt: skip
        self.clock = clock
        ledger = LedgerTable(dynamodb, "Ledger", clock.sleep)
        none: Any = None
        self.run = Run(settings, none, "r1", Options(kind=kind), clock, Lake.in_memory(), ledger, none)
        self.attempts = Attempts(ledger, "acme", 1000.0)
        self.number = Lease.of(self.run).take("r1", clock.time())
        self.answers: list[httpx.Response] = []

    def sent(self, number: int) -> Attempt:
        """An upload that Amazon accepted as ``ing-<number>``."""
        attempt = self.attempts.begin(AttemptKey("r1", number, 1), 0, 10, self.number, self.clock.time())
        self.attempts.accepted(attempt, f"ing-{number}", self.clock.time(), 0.1)
        return attempt

    def collector(self) -> Collector:
        """A collector of the run."""
        sqs = boto3.client("sqs", region_name="us-east-1")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        api = CatalogApi(
            "https://amazon.example", Credentials("k", "s"), "us-east-1",
            Tickets(self.run.ledger.client, "Ledger", self.clock), Breaker.of(self.run), self.clock,
            transport=httpx.MockTransport(lambda request: self.answers.pop(0)),
        )  # fmt: skip
        return Collector(self.run, api, Inbox(sqs, url, "t", None, wait=0))

    def states(self) -> list[State]:
        """The states of the attempts, in order."""
        return [attempt.state for attempt in self.attempts.of_run("r1")]


@pytest.fixture
def world(dynamodb: Any, clock: Any) -> World:
    """A run of the night."""
    return World(dynamodb, clock)


def test_a_result_that_comes_with_the_last_poll_is_not_given_up(world: World) -> None:
    """The status API answers DONE with a link when the time is just over: the report waits to be archived."""
    world.sent(1)
    world.clock.sleep(4 * 3600 + 1)
    world.answers = [httpx.Response(200, json=DONE)]
    progress = world.collector().step()
    assert (progress.waiting, progress.open, world.states()) == (1, 0, [State.DONE])


def test_a_report_that_stays_broken_ends_with_the_time(world: World) -> None:
    """Each poll brings a link that leads nowhere: after ``give_up_after`` the run ends all the same."""
    world.sent(1)
    world.clock.sleep(4 * 3600 + 1)
    world.answers = [httpx.Response(200, json={**DONE, "reportDownloadLink": "http://nowhere.example/1"})]
    collector = world.collector()
    assert collector.step().waiting == 1
    assert collector.archive() == {"archived": 0, "failed": 1}
    assert world.states() == [State.UNKNOWN]
    assert collector.step().finished


def test_without_a_result_in_time_an_attempt_is_given_up(world: World) -> None:
    """Still INPROGRESS after ``give_up_after``: unknown until a notice comes."""
    world.sent(1)
    world.clock.sleep(4 * 3600 + 1)
    world.answers = [httpx.Response(200, json={"processingStatus": "INPROGRESS"})]
    assert (world.collector().step().open, world.states()) == (0, [State.UNKNOWN])


def test_the_hourly_job_asks_for_the_links_of_late_results_until_it_has_them(dynamodb: Any, clock: Any) -> None:
    """DONE after its run had given up, its link dead: no run waits for it, so that it is never too late to ask."""
    world = World(dynamodb, clock, Kind.COLLECT)
    attempt = world.sent(1)
    world.clock.sleep(5 * 3600)
    world.attempts.give_up(attempt, world.clock.time())
    world.attempts.report("ing-1", State.DONE, "", world.clock.time(), "notice")
    collector = world.collector()
    world.answers = [httpx.Response(500, json={"errorMsg": "Internal error"})]
    assert (collector.step().waiting, world.states()) == (0, [State.DONE])
    world.clock.sleep(3600)
    world.answers = [httpx.Response(200, json=DONE)]
    assert (collector.step().waiting, world.states()) == (1, [State.DONE])


def test_the_hourly_job_asks_for_what_was_given_up_on(dynamodb: Any, clock: Any) -> None:
    """No notice may ever come: the status API is asked again, for those first that waited longest; a night is not."""
    night = World(dynamodb, clock)
    for attempt in [night.sent(1), night.sent(2)]:
        clock.sleep(1)
        night.attempts.give_up(attempt, clock.time())
    clock.sleep(3600)
    assert (night.collector().step().polled, night.states()) == (0, [State.UNKNOWN] * 2)
    night.attempts.polled(night.attempts.of_run("r1")[0], clock.time())
    night.run.asked = Options(kind=Kind.COLLECT)
    night.answers = [httpx.Response(200, json={**DONE, "ingestionId": "ing-2"}), httpx.Response(503)]
    progress = night.collector().step()
    assert (progress.polled, progress.waiting, night.states()) == (2, 1, [State.UNKNOWN, State.DONE])
