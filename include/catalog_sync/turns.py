"""Whose turn it is to send: runs that wait for the lease stand in a line, nights before all others.

The line is a courtesy, and nothing more: what keeps two runs from sending at once is the lease. Without it a run that
gives the lease up between two slices would take it again before one that waits has asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from catalog_sync.errors import RetryLater
from catalog_sync.lease import Lease
from catalog_sync.measures import LEASE_WAIT
from catalog_sync.run import Kind

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: How long a task itself waits for its turn, in seconds, before it is retried.
LEASE_PATIENCE = 900.0
#: Seconds between two looks, and after how many without a look a run is not in the line any more: a task that is
#: retried keeps its place.
PAUSE, GONE = 10.0, 120.0


def take_turn(run: Run, key: str, slice_number: int = 1) -> int | None:
    """Wait until it is the run's turn, take the lease, and return the plan number that comes with it.

    :param key: of what is to be made in this turn. When another try of the task has made it meanwhile there is nothing
        left to do: nothing is taken, and ``None`` returned.
    :param slice_number: which slice of the run's plan it is for; plans of others leave room for the first only.
    :raises RetryLater: another run is sending, or waits with more right, and that did not end in time.
    """
    lease, line = Lease.of(run), _Line(run)
    began = run.clock.time()
    while True:
        try:
            line.check()
            if run.lake.exists(key):
                line.leave()
                return None
            number = lease.take(run.run_id, run.clock.time())
            break
        except RetryLater as busy:
            line.stand()
            if run.clock.time() >= began + LEASE_PATIENCE:
                raise
            log.info("Waiting to send: %s", busy)
            run.clock.sleep(min(busy.after or PAUSE, PAUSE))
    LEASE_WAIT.took(run.clock.time() - began)
    line.leave()
    made = {
        "pk": f"PLANS#{run.settings.retailer}",
        "sk": f"{number:012d}",
        "run_id": run.run_id,
        "at": run.clock.time(),
    }
    run.ledger.put_new({**made, "slice": slice_number})
    return number


class _Line:
    """The line of one retailer, as one run sees it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pk = Lease.of(run).key[0]
        self._sk = f"WAITING#{run.run_id}"
        self._since = run.clock.time()
        self._stands = False

    def check(self) -> None:
        """Raise ``RetryLater`` when another run that waits comes first."""
        now = self._run.clock.time()
        others = {}
        for item in self._run.ledger.query(self._pk, "WAITING#"):
            if item["sk"] == self._sk:
                self._since, self._stands = float(item["since"]), True
            elif float(item["seen_at"]) > now - GONE:
                others[str(item["run_id"])] = (int(item["rank"]), float(item["since"]), str(item["run_id"]))
        first = min(others, key=others.__getitem__, default="")
        if first and others[first] < (self._rank, self._since, self._run.run_id):
            raise RetryLater(f"run {first} waits to send and comes first; one run sends at a time", after=PAUSE)

    def stand(self) -> None:
        """Take a place in the line, or say that the run still stands there."""
        now = self._run.clock.time()
        place = {
            "run_id": self._run.run_id, "rank": self._rank, "since": self._since, "seen_at": now,
            "expires_at": self._run.expires_at,
        }  # fmt: skip
        self._run.ledger.update(self._pk, self._sk, place)
        self._stands = True

    def leave(self) -> None:
        """Leave the line: it is the run's turn."""
        if self._stands:
            self._run.ledger.delete(self._pk, self._sk)

    @property
    def _rank(self) -> int:
        return 0 if self._run.options.kind is Kind.NIGHT else 1
