"""Alarms: what is wrong with the way results come in, although a run ends well without it.

The status API carries a run when no notice comes, so nobody would miss the notices until it is down, too. An alarm is a
sentence with its runbook. It stands in the run's books, in its note and, as an error, in the log of ``account``.

In the ledger: ``ALARM#<retailer>`` / ``UNSUBSCRIBED`` (since when; over, once something came that is younger), and
``RUN#<run>`` / ``DEAD_LETTERS`` (how many messages the run gave up on, by reason).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from catalog_sync.attempts import Attempt, Attempts, State
from catalog_sync.clock import iso
from catalog_sync.ledger import LedgerTable
from catalog_sync.notices import Why

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: From this share of a run's finished uploads on, missing notices are no accident. SNS delivers to SQS with retries for
#: 23 days (AWS, "Amazon SNS message delivery retries"), so even one missing notice is rare.
SHARE = 0.5

_UNSUBSCRIBED, _DEAD_LETTERS = "UNSUBSCRIBED", "DEAD_LETTERS"


class Alarms:
    """The alarms that one run notes and reads.

    :param expires_at: when what is noted of the run may go (Unix seconds).
    """

    def __init__(self, ledger: LedgerTable, retailer: str, run_id: str, expires_at: int) -> None:
        self._ledger = ledger
        self._retailer = f"ALARM#{retailer}"
        self._run = f"RUN#{run_id}"
        self._expires_at = expires_at

    @classmethod
    def of(cls, run: Run) -> Alarms:
        """Return the alarms of the run."""
        return cls(run.ledger, run.settings.retailer, run.run_id, run.expires_at)

    def unsubscribed(self, at: float) -> None:
        """Note that the queue was unsubscribed; an older word than the one that is known changes nothing."""
        log.error(
            "Amazon's topic unsubscribed the queue at %s: no notice comes any more; see docs/runbooks/unsubscribed.md",
            iso(at),
        )
        changes = {"at": at, "over": None}
        self._ledger.update(
            self._retailer, _UNSUBSCRIBED, changes, "attribute_not_exists(#at) OR #at < :new", {"new": at}
        )

    def subscribed(self, at: float) -> None:
        """Note that something came through the subscription that is as young as this."""
        self._ledger.update(
            self._retailer,
            _UNSUBSCRIBED,
            {"over": at},
            "attribute_exists(#at) AND #at < :new AND attribute_not_exists(#over)",
            {"new": at},
        )

    def buried(self, counts: Mapping[Why, int]) -> None:
        """Note how many messages became dead letters."""
        for why, count in counts.items():
            self._ledger.add(self._run, _DEAD_LETTERS, why.value, count)
        self._ledger.update(self._run, _DEAD_LETTERS, {"expires_at": self._expires_at})

    def since(self) -> float | None:
        """Return since when the queue is unsubscribed, or ``None``."""
        item = self._ledger.get(self._retailer, _UNSUBSCRIBED) or {}
        return None if "over" in item or "at" not in item else float(item["at"])

    def dead_letters(self) -> dict[str, int]:
        """Return how many messages became dead letters in this run, by reason."""
        item = self._ledger.get(self._run, _DEAD_LETTERS) or {}
        return {why.value: int(item[why.value]) for why in Why if why.value in item}


def alarms_of(run: Run, attempts: Attempts) -> list[str]:
    """Return the alarms of the run as they stand now, a sentence each."""
    alarms, found = Alarms.of(run), []
    if (since := alarms.since()) is not None:
        found.append(
            f"Amazon's topic unsubscribed the queue at {iso(since)}: results come by polling only; see "
            "docs/runbooks/unsubscribed.md"
        )
    done = [attempt for attempt in attempts.of_run(run.run_id) if attempt.end is State.DONE]
    lost = sum(_came_without_notice(attempt, attempts) for attempt in done)
    if lost and lost >= SHARE * len(done):
        found.append(
            f"no notice came for {lost:,} of {len(done):,} uploads: the status API had to be asked; see "
            "docs/runbooks/lost-subscription.md"
        )
    if buried := alarms.dead_letters():
        told = ", ".join(f"{why} {count:,}" for why, count in buried.items())
        found.append(
            f"messages that became dead letters: {sum(buried.values()):,} ({told}); see docs/runbooks/dead-letters.md"
        )
    return found


def _came_without_notice(attempt: Attempt, attempts: Attempts) -> bool:
    """Whether the status API told of the end and no notice did, not even later."""
    if attempt.item.get("reported_by") != "status":
        return False
    return attempts.ledger.get(f"INGESTION#{attempt.ingestion_id}", "NOTICE") is None
