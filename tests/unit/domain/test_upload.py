"""Sending batches against a function from request to answer; the table of errors is in ``tests/unit/errors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.credentials import Credentials

from catalog_sync.api.client import CatalogApi
from catalog_sync.attempts import Attempts, State
from catalog_sync.breaker import Breaker
from catalog_sync.errors import BadInput, Misconfigured, RetryLater, Superseded
from catalog_sync.lake import Lake
from catalog_sync.lease import Lease
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings
from catalog_sync.tickets import Tickets
from catalog_sync.upload import SEARCH_BUDGET, upload

Items = list[dict[str, str]]
Answerer = Callable[[Items], httpx.Response]

BAD_BODY = {"errorMsg": "Invalid request body"}
BAD_STORE = {"errorMsg": "One or more StoreID's present in the request is incorrect"}


class Amazon:
    """Answers by a function, and keeps what it accepted."""

    def __init__(self, answer: Answerer) -> None:
        self.answer = answer
        self.requests: list[Items] = []
        self.accepted: list[Items] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        items: Items = json.loads(request.content)["catalogItems"]
        self.requests.append(items)
        answer = self.answer(items)
        if answer.status_code == 201:
            self.accepted.append(items)
        return answer

    @property
    def skus(self) -> list[str]:
        """The SKUs that were accepted, in order."""
        return [item["item_sku"] for items in self.accepted for item in items]


def accept(items: Items) -> httpx.Response:
    """Accept with an id of its own."""
    name = hashlib.sha256(json.dumps(items).encode()).hexdigest()[:12]
    return httpx.Response(201, json={"ingestionId": f"ing-{name}"})


class World:
    """One run with one batch: three items in store A, then two in store B."""

    def __init__(self, dynamodb: Any, clock: Any, items: int = 5) -> None:
        settings = Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": ["A", "B"]}, "lake": "x",
                "results": {"queue": "q", "topic_arn": "t"},
                "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}],
                "mapping": {"item_sku": "sku", "store_id": "store"},
            }
        )  # fmt: skip
        self.clock = clock
        ledger = LedgerTable(dynamodb, "Ledger")
        none: Any = None
        self.run = Run(settings, none, "r1", Options(), clock, Lake.in_memory(), ledger, none)
        cut = items * 3 // 5
        self.items = [{"item_sku": f"s{n}", "store_id": "A" if n < cut else "B"} for n in range(items)]
        payload = json.dumps({"catalogItems": self.items}, separators=(",", ":")).encode()
        self.run.lake.put_compressed("runs/r1/b1", payload)
        ranges = [{"store": "A", "start": 0, "stop": cut}, {"store": "B", "start": cut, "stop": items}]
        batch = {
            "number": 1, "key": "runs/r1/b1", "sha256": hashlib.sha256(payload).hexdigest(), "items": items,
            "bytes": len(payload), "ranges": ranges,
        }  # fmt: skip
        number = Lease.of(self.run).take("r1", clock.time())
        self.run.lake.put_json("runs/r1/plan.json", {"plan_number": number, "batches": 1, "batch_list": [batch]})
        self.attempts = Attempts(ledger, "acme", 1000.0)

    def each_its_own_store(self) -> None:
        """Let every item of the batch be of another store."""
        plan = self.run.plan
        plan["batch_list"][0]["ranges"] = [{"store": str(n), "start": n, "stop": n + 1} for n in range(len(self.items))]
        self.run.lake.put_json("runs/r1/plan.json", plan)

    def send(self, amazon: Amazon) -> dict[str, Any]:
        """Run the upload task once."""
        tickets = Tickets(self.run.ledger.client, "Ledger", self.clock)
        with CatalogApi(
            "https://amazon.example", Credentials("k", "s"), "us-east-1", tickets, Breaker.of(self.run), self.clock,
            transport=httpx.MockTransport(amazon),
        ) as api:  # fmt: skip
            return upload(self.run, [1], api)

    def states(self) -> list[State]:
        """The states of the attempts, in order."""
        return [attempt.state for attempt in self.attempts.of_run("r1")]


@pytest.fixture
def world(dynamodb: Any, clock: Any) -> World:
    """A run whose plan holds one batch."""
    return World(dynamodb, clock)


def test_an_accepted_batch_is_one_request_and_gives_up_the_lease(world: World) -> None:
    """201 with an id: recorded, and the lease is free for the next run."""
    amazon = Amazon(accept)
    assert world.send(amazon) == {"batches": 1, "items": 5, "requests": 1, "refused": 0, "throttled": 0, "held_back": 0}
    assert world.states() == [State.ACCEPTED]
    assert amazon.accepted == [world.items]
    assert Lease.of(world.run).read().held_until == 0


def test_a_cleared_task_sends_nothing_again(world: World) -> None:
    """What was accepted is never sent twice in a run."""
    amazon = Amazon(accept)
    world.send(amazon)
    assert world.send(amazon)["requests"] == 0
    assert len(amazon.requests) == 1


def test_one_bad_store_of_many_costs_the_others_nothing(dynamodb: Any, clock: Any) -> None:
    """A batch of a hundred stores, one of them bad: it is found within the budget, and all others are sent."""
    world = World(dynamodb, clock, items=100)
    world.each_its_own_store()
    amazon = Amazon(
        lambda items: (
            httpx.Response(400, json=BAD_STORE) if any(i["item_sku"] == "s41" for i in items) else accept(items)
        )
    )
    assert world.send(amazon)["refused"] == 1
    assert sorted(amazon.skus) == sorted(f"s{n}" for n in range(100) if n != 41)
    assert len(amazon.requests) < SEARCH_BUDGET


def test_403_stops_everything_at_once(world: World) -> None:
    """The task fails without a retry, and no other task of the run may begin an attempt."""
    amazon = Amazon(lambda items: httpx.Response(403, json={"message": "Forbidden"}))
    with pytest.raises(Misconfigured, match="403"):
        world.send(amazon)
    with pytest.raises(Superseded, match="halted"):
        world.send(amazon)
    assert len(amazon.requests) == 1


def test_a_cleared_task_sends_what_was_not_taken_although_the_run_was_settled(world: World) -> None:
    """After a 403 the run is settled; once the permission is mended, the cleared task sends the rows."""
    with pytest.raises(Misconfigured, match="403"):
        world.send(Amazon(lambda items: httpx.Response(403, json={"message": "Forbidden"})))
    for attempt in list(world.attempts.open()):
        world.attempts.settle(attempt, "r1", world.clock.time())
    world.clock.sleep(601)
    amazon = Amazon(accept)
    world.send(amazon)
    assert amazon.accepted == [world.items]


def test_an_api_that_keeps_failing_is_left_alone(world: World) -> None:
    """After five failures in a row the breaker opens: the task is left to a retry at the time of the next probe."""
    amazon = Amazon(lambda items: httpx.Response(500, json={"errorMsg": "Internal error, please retry again"}))
    with pytest.raises(RetryLater, match=r"BREAKER_OPEN.*the circuit breaker is open since") as left:
        world.send(amazon)
    assert len(amazon.requests) == 5
    assert 0 < (left.value.after or 0) <= 60
    with pytest.raises(RetryLater):  # another try waits so long inside the task, and its probe fails
        world.send(amazon)
    with pytest.raises(RetryLater, match="BREAKER_OPEN") as left:
        world.send(amazon)
    assert len(amazon.requests) == 6
    assert 60 < (left.value.after or 0) <= 120
    assert set(world.states()) == {State.REJECTED}
    world.clock.sleep(120)
    amazon.answer = accept
    assert world.send(amazon)["requests"] == 1
    assert amazon.accepted == [world.items]


def test_a_process_that_died_while_sending_is_resumed_with_a_new_attempt(world: World) -> None:
    """The gap between sending and recording the id: the range is sent again, the first attempt stays in doubt."""

    def die(items: Items) -> httpx.Response:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.send(Amazon(die))
    world.send(Amazon(accept))
    assert world.states() == [State.SENDING, State.ACCEPTED]


def test_a_newer_plan_stops_an_older_task(world: World) -> None:
    """I4: a task of last Monday cleared on Wednesday sends nothing."""
    Lease.of(world.run).release(1, "r1")
    Lease.of(world.run).take("r2", world.clock.time())
    amazon = Amazon(accept)
    with pytest.raises(Superseded, match="run r2 has made plan 2"):
        world.send(amazon)
    assert amazon.requests == []


def test_a_process_that_was_suspended_before_its_request_sends_nothing_old(world: World) -> None:
    """I4: recorded, then the host sleeps for five hours, in which another run plans: what is old stays unsent."""
    sleep = world.clock.sleep

    def suspended(seconds: float) -> None:
        world.clock.sleep = sleep
        sleep(5 * 3600)
        Lease.of(world.run).take("r2", world.clock.time())

    world.clock.sleep = suspended
    amazon = Amazon(accept)
    with pytest.raises(Superseded, match="run r2 has made plan"):
        world.send(amazon)
    assert (amazon.requests, world.states()) == ([], [State.REJECTED])


def test_a_payload_that_is_not_the_planned_one_is_not_sent(world: World) -> None:
    """The bytes are held against the plan's hash before the first request."""
    world.run.lake.put_compressed("runs/r1/b1", b'{"catalogItems":[]}')
    amazon = Amazon(accept)
    with pytest.raises(BadInput, match="not those that were planned"):
        world.send(amazon)
    assert amazon.requests == []
