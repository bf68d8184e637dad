"""The circuit breaker: when Amazon's API keeps failing, nobody calls it, on any host, until one probe succeeds.

A night of 503s would otherwise be thousands of requests, each leaving 10,000 rows in doubt. The state is one item of
the ledger, shared by all that call Amazon, and every change of it is a conditional write:

    closed   ``failures``: how many requests in a row have failed; an absent item is a closed breaker
    open     ``open_until``: until then nobody calls. The first caller after it claims the probe by moving
             ``open_until`` on, so that others stay away while it probes, and one that dies only delays the next.

A probe that the service answers closes it; one that fails doubles the pause; one whose answer tells nothing of the
service (``api.outcomes.health`` says which do) lets the pause begin again. What other requests that were under way come
to changes nothing while the breaker is open: they left before the probe did.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync.api.outcomes import Answer, Health, health
from catalog_sync.clock import Clock, utc
from catalog_sync.errors import CatalogSyncError, shorten
from catalog_sync.measures import BREAKER, BREAKER_OPEN

if TYPE_CHECKING:
    from catalog_sync.ledger import LedgerTable
    from catalog_sync.run import Run
    from catalog_sync.settings import Api

log = logging.getLogger(__name__)

#: What a probe may take beside its request: the wait for its ticket.
_TICKET_SECONDS = 60.0
#: While somebody probes, others look again after this many seconds.
_LOOK_AGAIN = 5.0


@dataclass(frozen=True)
class Passage:
    """Leave to make one request; hand it back with what came of it.

    ``failures``: how many requests in a row had failed before; ``probe``: the ``open_until`` that this probe has set.
    """

    failures: int = 0
    probe: float | None = None


@dataclass(frozen=True)
class Closed:
    """The breaker is open, so the request is not made: ``why``, and how many seconds until it may be tried again."""

    why: str
    seconds: float


class Breaker:
    """The circuit breaker of one retailer.

    :param settings: ``breaker`` says when it opens and for how long; ``timeout`` how long a probe may take.
    """

    def __init__(self, ledger: LedgerTable, retailer: str, clock: Clock, settings: Api) -> None:
        self._ledger = ledger
        self._key = (f"BREAKER#{retailer}", "BREAKER")
        self._clock = clock
        self._settings = settings.breaker
        self._probe_seconds = 2 * settings.timeout.total_seconds() + _TICKET_SECONDS

    @classmethod
    def of(cls, run: Run) -> Breaker:
        """Return the breaker of the run's retailer."""
        return cls(run.ledger, run.settings.retailer, run.clock, run.settings.api)

    def ask(self) -> Passage | Closed:
        """Return leave to make one request, or why it must not be made; one read, and a write only to probe."""
        item = self._ledger.get(*self._key) or {}
        until = item.get("open_until")
        if until is None:
            return Passage(int(item.get("failures", 0)))
        now = self._clock.time()
        if now < until:
            wait = float(until) - now
            BREAKER.add(event="held_back")
            return Closed(_sentence(item), min(wait, _LOOK_AGAIN) if "probing" in item else wait)
        probe = now + self._probe_seconds
        claim = {"open_until": probe, "probing": True}
        if not self._ledger.update(*self._key, claim, "#open_until = :seen", {"seen": until}):
            BREAKER.add(event="held_back")
            return Closed(_sentence({**item, "probing": True}), _LOOK_AGAIN)
        log.warning("The circuit breaker lets one request through to see whether Amazon's API works again")
        return Passage(int(item.get("failures", 0)), probe)

    def tell(self, passage: Passage, answer: Answer) -> None:
        """Take note of what came of the request. Never raises: the answer matters more than the count."""
        told = health(answer)
        with _bearing(f"told of {answer.verdict.value}"):
            if told is Health.WELL:
                self._worked(passage)
            elif passage.probe is not None:
                self._reopen(passage.probe, answer, longer=told is Health.SICK)
            elif told is Health.SICK:
                self._failed(answer)

    def give_back(self, passage: Passage) -> None:
        """Let another caller probe, since the request for which leave was given is not made. Never raises."""
        if passage.probe is not None:
            with _bearing("given a probe back"):
                changes = {"open_until": self._clock.time(), "probing": None}
                self._ledger.update(*self._key, changes, "#open_until = :mine", {"mine": passage.probe})

    def state(self) -> str:
        """Return a sentence on the breaker when it is open, else nothing."""
        item = self._ledger.get(*self._key) or {}
        return _sentence(item) if "open_until" in item else ""

    def since(self) -> float | None:
        """Return since when the breaker is open (Unix seconds), or ``None``."""
        item = self._ledger.get(*self._key) or {}
        return float(item["since"]) if "open_until" in item else None

    def _worked(self, passage: Passage) -> None:
        if passage.probe is not None:
            if self._ledger.update(*self._key, _CLOSED, "#open_until = :mine", {"mine": passage.probe}):
                log.info("The circuit breaker closes: Amazon's API works again")
                BREAKER.add(event="closed")
                BREAKER_OPEN.set(0)
        elif passage.failures:
            self._ledger.update(*self._key, {"failures": 0}, "attribute_not_exists(#open_until)")

    def _failed(self, answer: Answer) -> None:
        failures = self._ledger.add(*self._key, "failures")
        if failures < self._settings.failures:
            return
        why = _why(answer)
        now, pause = self._clock.time(), self._settings.pause.total_seconds()
        opened = {"open_until": now + pause, "pause": pause, "since": now, "why": why}
        # Whoever succeeded meanwhile has set the count back.
        condition = "attribute_not_exists(#open_until) AND #failures >= :limit"
        if self._ledger.update(*self._key, opened, condition, {"limit": self._settings.failures}):
            BREAKER.add(event="opened")
            BREAKER_OPEN.set(1)
            log.error("The circuit breaker opens for %.0f s: %s requests failed in a row, the last with %s",
                      pause, failures, why)  # fmt: skip

    def _reopen(self, probe: float, answer: Answer, longer: bool) -> None:
        item = self._ledger.get(*self._key) or {}
        longest = self._settings.longest_pause.total_seconds()
        pause, why = min((1 + longer) * float(item.get("pause", longest)), longest), _why(answer)
        changes = {"open_until": self._clock.time() + pause, "probing": None, "pause": pause}
        told = {"why": why} if longer else {}
        if self._ledger.update(*self._key, {**changes, **told}, "#open_until = :mine", {"mine": probe}):
            BREAKER.add(event="reopened")
            log.error("The circuit breaker stays open for another %.0f s: its probe came back with %s", pause, why)


#: What a closed breaker no longer holds.
_CLOSED = {"failures": 0, "open_until": None, "probing": None, "pause": None, "since": None, "why": None}


@contextmanager
def _bearing(what: str) -> Iterator[None]:
    """Let the ledger fail within: the breaker then could not be ``what``, and that is all."""
    try:
        yield
    except (BotoCoreError, ClientError, CatalogSyncError) as error:
        log.warning("The circuit breaker could not be %s: %s", what, shorten(error, 200))


def _why(answer: Answer) -> str:
    return f"{answer.verdict.value}: {shorten(answer.message, 200)}"


def _sentence(item: dict[str, Any]) -> str:
    since, until = (utc(float(item[key])) for key in ("since", "open_until"))
    following = f"the next request may be tried at {until:%H:%M:%S} UTC"
    return (
        f"the circuit breaker is open since {since:%Y-%m-%d %H:%M:%S} UTC, because Amazon's API kept failing "
        f"({item['why']}); {'one request is being tried' if 'probing' in item else following}"
    )
