"""The circuit breaker that all callers of Amazon share."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from pydantic import ValidationError

from catalog_sync.api.outcomes import Answer, Health, StatusAnswer, Verdict, health
from catalog_sync.breaker import Breaker, Closed, Passage
from catalog_sync.ledger import LedgerTable
from catalog_sync.settings import Api, BreakerSettings

SICK = Answer(Verdict.AMBIGUOUS, http_status=503, message="HTTP 503: Service Unavailable")
FINE = Answer(Verdict.ACCEPTED, "ing-1", 201)
KEY = ("BREAKER#acme", "BREAKER")


@pytest.fixture
def ledger(dynamodb: Any) -> LedgerTable:
    """The ledger."""
    return LedgerTable(dynamodb, "Ledger")


@pytest.fixture
def breaker(ledger: LedgerTable, clock: Any) -> Breaker:
    """A breaker that opens after 3 failures, for 60 s, at most for 200 s."""
    return Breaker(ledger, "acme", clock, Api(breaker=BreakerSettings(failures=3, pause="60s", longest_pause="200s")))


def passage(breaker: Breaker) -> Passage:
    """Ask, and be let through."""
    made = breaker.ask()
    assert isinstance(made, Passage), made
    return made


def closed(breaker: Breaker) -> Closed:
    """Ask, and be kept away."""
    made = breaker.ask()
    assert isinstance(made, Closed), made
    return made


def fail(breaker: Breaker, times: int = 1, answer: Answer = SICK) -> None:
    """Make requests that fail, one after the other."""
    for _ in range(times):
        breaker.tell(passage(breaker), answer)


def test_it_opens_after_so_many_failures_in_a_row(breaker: Breaker, caplog: Any) -> None:
    """The third failure in a row opens it; the refusal says since when, why, and when it may be tried again."""
    fail(breaker, 2)
    assert breaker.state() == ""
    fail(breaker)
    refusal = closed(breaker)
    assert refusal.seconds == 60.0
    assert "open since 2026-09-21 14:13:20 UTC" in refusal.why
    assert "AMBIGUOUS: HTTP 503: Service Unavailable" in refusal.why
    assert "at 14:14:20 UTC" in refusal.why
    assert breaker.state() == refusal.why
    assert [r.levelname for r in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(Verdict.ACCEPTED, "ing-1", 201), Health.WELL),
        (Answer(Verdict.REJECTED, http_status=400), Health.WELL),
        (Answer(Verdict.REJECTED_STORES, http_status=400), Health.WELL),
        (StatusAnswer(Verdict.ACCEPTED, http_status=200), Health.WELL),
        (StatusAnswer(Verdict.UNKNOWN_INGESTION, http_status=400), Health.WELL),
        (Answer(Verdict.RETRY_LATER, http_status=500), Health.SICK),
        (Answer(Verdict.FAILED, http_status=500), Health.SICK),
        (Answer(Verdict.AMBIGUOUS, http_status=500), Health.SICK),
        (Answer(Verdict.AMBIGUOUS, http_status=503), Health.SICK),
        (Answer(Verdict.AMBIGUOUS), Health.SICK),
        (Answer(Verdict.NOT_SENT), Health.SICK),
        (StatusAnswer(Verdict.NOT_SENT), Health.SICK),
        (Answer(Verdict.AMBIGUOUS, http_status=201), Health.SICK),
        (StatusAnswer(Verdict.AMBIGUOUS, http_status=200), Health.SILENT),
        (Answer(Verdict.FORBIDDEN, http_status=403), Health.SILENT),
        (Answer(Verdict.RETRY_LATER, http_status=429), Health.SILENT),
        (Answer(Verdict.REJECTED, http_status=413), Health.SILENT),
        (Answer(Verdict.AMBIGUOUS, http_status=302), Health.SILENT),
        (Answer(Verdict.AMBIGUOUS, http_status=404), Health.SILENT),
    ],
    ids=lambda value: f"{value.verdict} {value.http_status}" if isinstance(value, Answer) else str(value),
)
def test_what_each_answer_tells_of_the_service(breaker: Breaker, answer: Answer, told: Health) -> None:
    """Server errors and lost connections count; what the service itself answers ends the row; the rest does neither."""
    assert health(answer) is told
    fail(breaker, 2)
    breaker.tell(passage(breaker), answer)
    if told is Health.SICK:
        closed(breaker)
        return
    fail(breaker)
    (passage if told is Health.WELL else closed)(breaker)


def test_a_healthy_api_costs_one_read(breaker: Breaker, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing fails nothing is written."""
    calls: list[str] = []
    call = ledger._call
    monkeypatch.setattr(ledger, "_call", lambda name, **asked: calls.append(name) or call(name, **asked))
    breaker.tell(passage(breaker), FINE)
    assert calls == ["get_item"]


def test_one_probe_goes_through_after_the_pause(breaker: Breaker, clock: Any) -> None:
    """Of all that ask after the pause one is let through; the others look again in five seconds."""
    fail(breaker, 3)
    clock.now += 59.9
    closed(breaker)
    clock.now += 0.1
    probe = passage(breaker)
    assert probe.probe is not None
    refusal = closed(breaker)
    assert refusal.seconds == 5.0
    assert refusal.why.endswith("one request is being tried")


def test_of_two_that_claim_the_probe_at_once_one_wins(breaker: Breaker, clock: Any, ledger: LedgerTable) -> None:
    """The claim is conditional on what was read: the second claimer is refused."""
    fail(breaker, 3)
    clock.now += 60
    read = ledger.get

    def meanwhile(pk: str, sk: str) -> Any:
        item = read(pk, sk)
        ledger.get = read  # type: ignore[method-assign]
        assert passage(breaker).probe is not None  # another host asks between our read and our claim
        return item

    ledger.get = meanwhile  # type: ignore[method-assign]
    assert closed(breaker).seconds == 5.0


def test_of_many_hosts_that_ask_at_once_one_probes(dynamodb: Any, breaker: Breaker, clock: Any) -> None:
    """Twelve callers, each with a client of its own, who all have read before any of them claims."""
    fail(breaker, 3)
    clock.now += 60
    everybody_has_read = threading.Barrier(12)

    class Host(LedgerTable):
        """A ledger whose reader waits for the others."""

        def get(self, pk: str, sk: str) -> Any:
            item = super().get(pk, sk)
            everybody_has_read.wait(30)
            return item

    hosts = [Breaker(Host(dynamodb, "Ledger"), "acme", clock, Api()) for _ in range(12)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(lambda host: host.ask(), hosts))
    assert sum(isinstance(answer, Passage) for answer in answers) == 1
    assert {answer.seconds for answer in answers if isinstance(answer, Closed)} == {5.0}


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Any, ledger: LedgerTable) -> None:
    """Everybody may call again, and failures count from none."""
    fail(breaker, 3)
    clock.now += 60
    breaker.tell(passage(breaker), FINE)
    assert ledger.get(*KEY) == {"pk": KEY[0], "sk": KEY[1], "failures": 0}
    fail(breaker, 2)
    passage(breaker)


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(breaker: Breaker, clock: Any) -> None:
    """60, 120, then 200 seconds, the longest; a later opening begins at 60 again."""
    fail(breaker, 3)
    pauses = [closed(breaker).seconds]
    for _ in range(3):
        clock.now += pauses[-1]
        fail(breaker)
        pauses.append(closed(breaker).seconds)
    assert pauses == [60.0, 120.0, 200.0, 200.0]
    clock.now += 200
    breaker.tell(passage(breaker), FINE)
    fail(breaker, 3)
    assert closed(breaker).seconds == 60.0


@pytest.mark.parametrize("status", [403, 429])
def test_a_probe_that_tells_nothing_lets_the_pause_begin_again(breaker: Breaker, clock: Any, status: int) -> None:
    """A gateway's 403 or 429 neither closes the breaker nor doubles the pause, and the reason stays the service's."""
    fail(breaker, 3)
    clock.now += 60
    breaker.tell(passage(breaker), Answer(Verdict.FORBIDDEN, http_status=status, message="a gateway's"))
    refusal = closed(breaker)
    assert refusal.seconds == 60.0
    assert "Service Unavailable" in refusal.why


def test_a_probe_that_is_not_made_is_left_to_the_next(breaker: Breaker, clock: Any) -> None:
    """Leave that is given back is there for whoever asks; only the claim itself can be given back."""
    fail(breaker, 3)
    clock.now += 60
    first = passage(breaker)
    clock.now += 1
    breaker.give_back(first)
    second = passage(breaker)
    assert second.probe not in (None, first.probe)
    breaker.give_back(first)
    closed(breaker)


def test_a_success_between_the_count_and_the_opening_keeps_it_closed(
    breaker: Breaker, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is read again in the condition of the write that opens."""
    fail(breaker, 2)
    other, third = passage(breaker), passage(breaker)
    count = ledger.add

    def meanwhile(*arguments: Any) -> int:
        counted = count(*arguments)
        breaker.tell(other, FINE)
        return counted

    monkeypatch.setattr(ledger, "add", meanwhile)
    breaker.tell(third, SICK)
    passage(breaker)


def test_changes_of_state_are_logged(breaker: Breaker, clock: Any, caplog: Any) -> None:
    """Opening, each probe, each longer pause and closing, a line each."""
    with caplog.at_level(logging.INFO):
        fail(breaker, 3)
        clock.now += 60
        fail(breaker)
        clock.now += 120
        breaker.tell(passage(breaker), FINE)
    said = [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records]
    assert said == [
        ("ERROR", "The circuit breaker opens for 60 s"),
        ("WARNING", "The circuit breaker lets one request through to see whether Amazon's API works again"),
        ("ERROR", "The circuit breaker stays open for another 120 s"),
        ("WARNING", "The circuit breaker lets one request through to see whether Amazon's API works again"),
        ("INFO", "The circuit breaker closes"),
    ]


def test_a_probe_whose_process_died_delays_the_next(breaker: Breaker, clock: Any) -> None:
    """Its claim runs out: twice the time-out of a request and a minute for the ticket."""
    fail(breaker, 3)
    clock.now += 60
    dead = passage(breaker)
    clock.now += 2 * 60 + 60 - 0.1
    closed(breaker)
    clock.now += 0.1
    following = passage(breaker)
    assert following.probe != dead.probe
    breaker.tell(dead, SICK)  # it was only slow: what it says comes too late
    breaker.tell(dead, FINE)
    assert closed(breaker).why.endswith("one request is being tried")
    breaker.tell(following, FINE)
    passage(breaker)


def test_what_was_under_way_does_not_change_an_open_breaker(breaker: Breaker) -> None:
    """A request that began before the breaker opened neither closes it nor opens it for longer."""
    early = passage(breaker)
    late = passage(breaker)
    fail(breaker, 3)
    breaker.tell(early, FINE)
    breaker.tell(late, SICK)
    assert closed(breaker).seconds == 60.0


def test_retailers_have_breakers_of_their_own(breaker: Breaker, ledger: LedgerTable, clock: Any) -> None:
    """One retailer's failures keep no other from Amazon."""
    fail(breaker, 3)
    passage(Breaker(ledger, "other", clock, Api()))


def test_an_answer_survives_a_ledger_that_does_not(
    breaker: Breaker, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """When the count cannot be written, the answer of Amazon is not lost with it."""
    made = passage(breaker)

    def lost(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.example")

    monkeypatch.setattr(ledger, "add", lost)
    with caplog.at_level(logging.WARNING):
        breaker.tell(made, SICK)
    assert "could not be told of AMBIGUOUS" in caplog.text


@pytest.mark.parametrize("bad", [{"failures": 0}, {"pause": "0s"}, {"pause": "11m"}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    """It opens after one failure at least, for a second at least, and never for longer than the longest."""
    with pytest.raises(ValidationError):
        BreakerSettings.model_validate(bad)
