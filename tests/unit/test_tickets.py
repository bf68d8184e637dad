"""The rate limit: no window of one second ever holds more requests than Amazon allows (invariant I3)."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from catalog_sync.clock import Clock
from catalog_sync.errors import Misconfigured
from catalog_sync.tickets import CROWDED, KEEP, MAX_START, RESERVE, SPAN, SPARE_EVERY, Tickets

WIDTH = SPAN / 10


class Simulation:
    """Simulated time shared by takers, each in a thread: exactly one runs, and time moves when all of them sleep."""

    def __init__(self, seed: int, oversleep: float = 0.0) -> None:
        self.now = 1_790_000_000.0
        self.random = random.Random(seed)
        self._oversleep = oversleep
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._order = itertools.count()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def sleep(self, seconds: float) -> None:
        """Sleep for a little longer than asked, as hosts do."""
        wake = self.now + max(seconds, 0.0) + self.random.uniform(0.0, self._oversleep)
        self._wait_until(wake)

    def run(self, takers: list[Callable[[], None]]) -> None:
        """Run the takers to their end."""
        threads = [threading.Thread(target=self._guard, args=(taker,), daemon=True) for taker in takers]
        gates = [threading.Event() for _ in threads]
        for thread, gate in zip(threads, gates, strict=True):
            thread.gate = gate  # type: ignore[attr-defined]
            heapq.heappush(self._sleepers, (self.now, next(self._order), gate))
            thread.start()
        self._wake_next()
        assert self._over.wait(120), "the simulation hangs"
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _guard(self, taker: Callable[[], None]) -> None:
        threading.current_thread().gate.wait()  # type: ignore[attr-defined]
        try:
            taker()
        except BaseException as error:
            self._errors.append(error)
        self._wake_next()

    def _wait_until(self, wake: float) -> None:
        gate = threading.Event()
        heapq.heappush(self._sleepers, (wake, next(self._order), gate))
        self._wake_next()
        gate.wait()

    def _wake_next(self) -> None:
        if not self._sleepers:
            self._over.set()
            return
        wake, _, gate = heapq.heappop(self._sleepers)
        self.now = max(self.now, wake)
        gate.set()


class HostClock:
    """One host's clock: the simulated time, ahead or behind by a little."""

    def __init__(self, simulation: Simulation, skew: float) -> None:
        self._simulation = simulation
        self._skew = skew

    def time(self) -> float:
        return self._simulation.now + self._skew

    def sleep(self, seconds: float) -> None:
        self._simulation.sleep(seconds)


class SlowTable:
    """A DynamoDB client whose writes take simulated time, before and after they happen."""

    def __init__(self, dynamodb: Any, simulation: Simulation, slowest: float) -> None:
        self._dynamodb = dynamodb
        self._simulation = simulation
        self._slowest = slowest

    def put_item(self, **arguments: Any) -> Any:
        pause = self._simulation.random.uniform(0.001, self._slowest) / 2
        self._simulation.sleep(pause)
        try:
            return self._dynamodb.put_item(**arguments)
        finally:
            self._simulation.sleep(pause)


def most_in_one_second(starts: list[float]) -> int:
    """Return the most starts that any closed window of one second holds."""
    ordered = sorted(starts)
    return max(sum(first <= other <= first + 1.0 for other in ordered) for first in ordered)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rate", "takes"), [(10, 12), (3, 4)])
def test_no_second_holds_more_than_the_rate(dynamodb: Any, seed: int, rate: int, takes: int) -> None:
    """Busy hosts with slightly wrong clocks and a slow ledger never start more than ``rate`` requests in a second."""
    simulation = Simulation(seed, oversleep=random.Random(seed).choice([0.0, 0.03, 0.08]))
    table = SlowTable(dynamodb, simulation, slowest=random.Random(seed).choice([0.01, 0.2]))
    starts: list[float] = []

    def taker(skew: float) -> Callable[[], None]:
        tickets = Tickets(table, "Ledger", HostClock(simulation, skew), rate)

        def take_all() -> None:
            for _ in range(takes):
                tickets.take("upload")
                # Signing and the way to the wire, after the ticket was handed out.
                starts.append(simulation.now + simulation.random.uniform(0.0, RESERVE))

        return take_all

    simulation.run([taker(skew) for skew in (-0.004, 0.0, 0.002, 0.004)])

    assert len(starts) == 4 * takes
    assert most_in_one_second(starts) <= rate


def test_the_limit_is_also_used(dynamodb: Any) -> None:
    """Waiting takers get every instant: 40 requests of four takers need 40 × 0.110 s, not much more."""
    simulation = Simulation(1)
    table = SlowTable(dynamodb, simulation, slowest=0.01)
    instants: list[float] = []

    def take_ten() -> None:
        tickets = Tickets(table, "Ledger", HostClock(simulation, 0.0))
        instants.extend(tickets.take("upload") for _ in range(10))

    simulation.run([take_ten] * 4)

    assert len(set(instants)) == 40
    assert max(instants) - min(instants) < 42 * WIDTH


def test_status_calls_keep_to_every_ninth_instant(dynamodb: Any) -> None:
    """While uploads wait, status calls take one instant in nine at most, and are not starved."""
    simulation = Simulation(2)
    table = SlowTable(dynamodb, simulation, slowest=0.01)
    uploads: list[float] = []
    polls: list[float] = []

    def upload() -> None:
        tickets = Tickets(table, "Ledger", HostClock(simulation, 0.0))
        uploads.extend(tickets.take("upload") for _ in range(20))

    def poll() -> None:
        tickets = Tickets(table, "Ledger", HostClock(simulation, 0.0))
        polls.extend(tickets.take("status", spare=True) for _ in range(3))

    simulation.run([upload, upload, poll])

    assert {round(instant / WIDTH) % SPARE_EVERY for instant in polls} == {0}
    assert min(polls) < max(uploads)
    assert not set(polls) & set(uploads)


def test_a_ticket_says_what_for_and_goes_by_itself(dynamodb: Any, clock: Clock) -> None:
    """A ticket is one item under its instant's own key, with the operation, and expires an hour after the instant."""
    instant = Tickets(dynamodb, "Ledger", clock).take("archive")

    (item,) = dynamodb.scan(TableName="Ledger")["Items"]
    assert item["pk"]["S"] == f"RATE#{round(instant / WIDTH)}"
    assert item["sk"]["S"] == "TICKET"
    assert item["operation"]["S"] == "archive"
    assert 0 <= int(item["expires_at"]["N"]) - (instant + KEEP) < 1


def test_a_request_starts_at_its_instant(dynamodb: Any, clock: Clock) -> None:
    """``take`` returns at the instant, never before it, and with time left to reach the wire."""
    tickets = Tickets(dynamodb, "Ledger", clock)

    for _ in range(5):
        instant = tickets.take("upload")
        assert 0 <= clock.time() - instant <= MAX_START - RESERVE


def test_an_instant_that_passed_is_not_used(dynamodb: Any, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A taker that wakes up too late leaves its instant unused and takes another."""
    sleep = clock.sleep
    late = iter([0.06, 0.0])
    clock.sleep = lambda seconds: sleep(seconds + next(late, 0.0))

    with caplog.at_level(logging.INFO):
        instant = Tickets(dynamodb, "Ledger", clock).take("upload")

    assert dynamodb.scan(TableName="Ledger")["Count"] == 2
    assert clock.time() - instant <= MAX_START - RESERVE
    assert "taking another" in caplog.text


def test_a_crowd_is_waited_out(dynamodb: Any, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """After many instants that others hold, a taker leaves the table alone a while; that and a long wait are logged."""
    first = int(clock.time() / WIDTH)
    for slot in range(first, first + CROWDED + 10):
        dynamodb.put_item(TableName="Ledger", Item={"pk": {"S": f"RATE#{slot}"}, "sk": {"S": "TICKET"}})

    instant = Tickets(dynamodb, "Ledger", clock).take("upload")

    assert round(instant / WIDTH) == first + CROWDED + 10
    assert f"{CROWDED} instants in a row" in caplog.text
    assert "away: many requests wait" in caplog.text


def test_a_missing_table_is_a_configuration_error(dynamodb: Any, clock: Clock) -> None:
    """Without its table nothing is sent, and the message names the table."""
    with pytest.raises(Misconfigured, match="Nowhere"):
        Tickets(dynamodb, "Nowhere", clock).take("upload")


@pytest.mark.parametrize("seed", range(3))
def test_hosts_with_several_rates_share_one_limit(dynamodb: Any, seed: int) -> None:
    """A rate is lowered while others still go by the old one: all of them together keep to Amazon's limit."""
    simulation = Simulation(seed)
    starts: list[float] = []

    def taker(rate: int) -> Callable[[], None]:
        tickets = Tickets(dynamodb, "Ledger", HostClock(simulation, 0.0), rate)

        def take_all() -> None:
            for _ in range(8):
                starts.append(tickets.take("upload"))

        return take_all

    simulation.run([taker(rate) for rate in (10, 9, 5, 3)])
    assert len(set(starts)) == 32
    assert most_in_one_second(starts) <= 10


@pytest.mark.parametrize("rate", [0, 11])
def test_the_rate_has_bounds(dynamodb: Any, clock: Clock, rate: int) -> None:
    """A rate that Amazon does not allow is refused."""
    with pytest.raises(ValueError, match="1 to 10"):
        Tickets(dynamodb, "Ledger", clock, rate)
