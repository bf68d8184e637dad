"""The circuit breaker: when Amazon's API keeps failing, nobody calls it, on any host, until one probe succeeds.

A night of 503s would otherwise be thousands of requests, each leaving 10,000 rows in doubt. The state is one item of
the ledger, shared by all that call Amazon, and every change of it is a conditional write:

    closed   ``failures``: how many requests in a row have failed; an absent item is a closed breaker
    open     ``open_until``: until then nobody calls. The first caller after it claims the probe by moving
             ``open_until`` on, so that others stay away while it probes, and one that dies only delays the next.

A probe that succeeds removes the item; one that fails doubles the pause. What other requests that were under way come
to changes nothing while the breaker is open.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.clock import Clock, utc
from catalog_sync.errors import CatalogSyncError, shorten

if TYPE_CHECKING:
    from catalog_sync.ledger import LedgerTable
    from catalog_sync.run import Run
    from catalog_sync.settings import Api

log = logging.getLogger(__name__)

#: What says that the service itself is sick. A refusal (4xx) is an answer, and 429 is the rate limit's business.
_SICK = frozenset({Verdict.RETRY_LATER, Verdict.FAILED, Verdict.AMBIGUOUS, Verdict.NOT_SENT})
#: HTTP 429 neither proves that the service works nor that it does not.
_TOO_MANY = 429
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
            return Closed(_sentence(item), min(wait, _LOOK_AGAIN) if "probing" in item else wait)
        probe = now + self._probe_seconds
        claim = {"open_until": probe, "probing": True}
        if not self._ledger.update(*self._key, claim, "#open_until = :seen", {"seen": until}):
            return Closed(_sentence({**item, "probing": True}), _LOOK_AGAIN)
        log.warning("The circuit breaker lets one request through to see whether Amazon's API works again")
        return Passage(int(item.get("failures", 0)), probe)

    def tell(self, passage: Passage, answer: Answer) -> None:
        """Take note of what came of the request. Never raises: the answer matters more than the count."""
        if answer.http_status == _TOO_MANY:
            return
        try:
            self._failed(passage, answer) if answer.verdict in _SICK else self._worked(passage)
        except (BotoCoreError, ClientError, CatalogSyncError) as error:
            log.warning("The circuit breaker could not be told of %s: %s", answer.verdict.value, shorten(error, 200))

    def state(self) -> str:
        """Return a sentence on the breaker when it is open, else nothing."""
        item = self._ledger.get(*self._key) or {}
        return _sentence(item) if "open_until" in item else ""

    def _worked(self, passage: Passage) -> None:
        if passage.probe is not None:
            if self._ledger.update(*self._key, _CLOSED, "#open_until = :mine", {"mine": passage.probe}):
                log.warning("The circuit breaker closes: Amazon's API works again")
        elif passage.failures:
            self._ledger.update(*self._key, {"failures": 0}, "attribute_not_exists(#open_until)")

    def _failed(self, passage: Passage, answer: Answer) -> None:
        why = f"{answer.verdict.value}: {shorten(answer.message, 200)}"
        if passage.probe is not None:
            self._reopen(passage.probe, why)
            return
        failures = self._ledger.add(*self._key, "failures")
        if failures < self._settings.failures:
            return
        now, pause = self._clock.time(), self._settings.pause.total_seconds()
        opened = {"open_until": now + pause, "pause": pause, "since": now, "why": why}
        if self._ledger.update(*self._key, opened, "attribute_not_exists(#open_until)"):
            log.error("The circuit breaker opens for %.0f s: %s requests failed in a row, the last with %s",
                      pause, failures, why)  # fmt: skip

    def _reopen(self, probe: float, why: str) -> None:
        item = self._ledger.get(*self._key) or {}
        longest = self._settings.longest_pause.total_seconds()
        pause = min(2 * float(item.get("pause", longest)), longest)
        changes = {"open_until": self._clock.time() + pause, "probing": None, "pause": pause, "why": why}
        if self._ledger.update(*self._key, changes, "#open_until = :mine", {"mine": probe}):
            log.error("The circuit breaker stays open for another %.0f s: its probe failed with %s", pause, why)


#: What a closed breaker no longer holds.
_CLOSED = {"failures": 0, "open_until": None, "probing": None, "pause": None, "since": None, "why": None}


def _sentence(item: dict[str, Any]) -> str:
    since, until = (utc(float(item[key])).strftime("%H:%M:%S") for key in ("since", "open_until"))
    following = "one request is being tried" if "probing" in item else f"the next request may be tried at {until} UTC"
    return (
        f"the circuit breaker is open since {since} UTC, because Amazon's API kept failing ({item['why']}); {following}"
    )
