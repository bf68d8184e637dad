"""Tickets: the hard limit on how fast anybody may call Amazon's Catalog API (invariant I3).

Amazon allows 10 requests a second (``catalog_validations``); whether per operation or in all is not documented, so
every request of every process and host shares one sequence of instants. Instant *n* is the Unix time *n* × 0.110 s.
Whoever wants to send writes ``RATE#n`` into the ledger, on the condition that nobody has; the one whose write succeeds
may start one request within 0.09 s of that instant.

Why no window of one second ever holds 11 starts: 11 requests hold 11 different instants, so the first and the last of
them are at least 10 × 0.110 s = 1.10 s apart. The first started at most 0.09 s after its instant and the last not
before its own, so the starts are at least 1.10 − 0.09 = 1.01 s apart. The 0.01 s left over is for clocks of hosts that
disagree. A process that dies leaves at most an instant unused; there is nothing to repair. A rate *r* below 10 uses
some of the instants only, those numbered ⌈10 *m* ÷ *r*⌉: any *r* + 1 of them span 10 instants, and the same sum holds.
Since all rates share the instants, those who still go by another one keep Amazon's limit together.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from catalog_sync.clock import Clock
from catalog_sync.ledger import LedgerTable
from catalog_sync.measures import TICKET_WAIT

log = logging.getLogger(__name__)

#: Requests a second that Amazon allows (``catalog_validations``).
LIMIT = 10
#: Seconds that any so many instants span, and the time between two of them.
SPAN = 1.1
WIDTH = SPAN / LIMIT
#: A request starts at most this many seconds after its instant.
MAX_START = 0.09
#: What of that is kept for signing and for the way to the wire, after the ticket was handed out.
RESERVE = 0.04
#: While uploads wait, status calls keep to every ninth instant.
SPARE_EVERY = 9
#: A ticket is of no use once its instant is over; DynamoDB's TTL removes it after this many seconds.
KEEP = 3600
#: After this many instants in a row that others hold, the table is left alone for ``PAUSE`` seconds.
CROWDED = 50
PAUSE = 1.0
#: A wait longer than this many seconds is logged.
LONG_WAIT = 5.0
#: Never look further ahead than this many seconds, however slow the ledger was.
MAX_LEAD = 10.0


class Tickets:
    """Hands out the instants at which a request to Amazon may start.

    :param dynamodb_client: a boto3 DynamoDB client.
    :param table: the ledger's table, shared by everyone who calls Amazon for this retailer.
    :param clock: the time; hosts must agree on it to 0.01 s (NTP).
    :param rate: requests a second, 1 to 10, for all who share the table; while they differ, Amazon's limit holds.
    """

    def __init__(self, dynamodb_client: Any, table: str, clock: Clock, rate: int = LIMIT) -> None:
        if not 1 <= rate <= LIMIT:
            raise ValueError(f"rate = {rate}: Amazon allows 1 to 10 requests a second")
        self._ledger = LedgerTable(dynamodb_client, table)
        self._clock = clock
        self._rate = rate
        # How long the last write took: the next instant asked for must not pass while it is being asked for.
        self._lead = 0.0

    def take(self, operation: str, *, spare: bool = False) -> float:
        """Wait until one request may start, and return its instant (Unix seconds, at most 0.05 s ago).

        The caller starts its request at once, and makes no second one.

        :param operation: what the request is for, kept with the ticket: ``upload``, ``archive`` or ``status``.
        :param spare: take only every ninth instant, to leave the others to uploads.
        :raises Misconfigured: the ledger's table does not exist or may not be written.
        """
        step = SPARE_EVERY if spare else 1
        began = self._clock.time()
        turn = 0
        taken = 0
        while True:
            turn = max(turn, self._next_turn(step))
            slot = self._slot(turn)
            if not self._claim(slot, operation):
                turn += step
                taken += 1
                if taken % CROWDED == 0:
                    log.warning("%s instants in a row are taken by others; %s waits", taken, operation)
                    self._clock.sleep(PAUSE)
                continue
            instant = slot * WIDTH
            self._announce(operation, instant - began)
            self._clock.sleep(instant - self._clock.time())
            # Woken too early (a timer may be), the request would start before its instant.
            while (late := self._clock.time() - instant) < 0:
                self._clock.sleep(-late)
            if late <= MAX_START - RESERVE:
                TICKET_WAIT.took(instant - began, operation=operation)
                return instant
            log.info("The instant for %s passed %.3f s ago (busy host or slow ledger); taking another", operation, late)
            turn += step

    def _slot(self, turn: int) -> int:
        """Return the number of the instant that is the ``turn``-th of those that the rate uses."""
        return -(-turn * LIMIT // self._rate)

    def _next_turn(self, step: int) -> int:
        """Return the first turn, a multiple of ``step``, that will not have passed when the ledger has answered."""
        ready = self._clock.time() + min(self._lead, MAX_LEAD)
        least = (math.ceil(ready / WIDTH) - 1) * self._rate // LIMIT + 1
        return -(-least // step) * step

    def _claim(self, slot: int, operation: str) -> bool:
        began = self._clock.time()
        expires = math.ceil(slot * WIDTH) + KEEP
        item = {"pk": f"RATE#{slot}", "sk": "TICKET", "operation": operation, "expires_at": expires}
        won = self._ledger.put_new(item)
        self._lead = self._clock.time() - began
        return won

    def _announce(self, operation: str, wait: float) -> None:
        if wait > LONG_WAIT:
            log.warning("The next free instant for %s is %.1f s away: many requests wait", operation, wait)
