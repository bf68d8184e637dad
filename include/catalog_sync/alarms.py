"""Alarms: what is wrong with the way to Amazon and back, although a run may end well with it.

The status API carries a run when no notice comes, so nobody would miss the notices until it is down, too. An alarm is a
sentence with its runbook. It stands in the run's books, in its note and, as an error, in the log of ``account``;
``alerts`` tells people.

In the ledger: ``ALARM#<retailer>`` / ``UNSUBSCRIBED`` (since when; over, once something came that is younger) and
``FORBIDDEN#<operation>`` (since when Amazon refuses us, and why; over, once it took such a request), and ``RUN#<run>``
/ ``DEAD_LETTERS`` (how many messages the run gave up on, by reason).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog_sync.attempts import Attempt, Attempts, State
from catalog_sync.clock import iso
from catalog_sync.ledger import Item, LedgerTable
from catalog_sync.notices import Why
from catalog_sync.store_list import StoreList

if TYPE_CHECKING:
    from catalog_sync.api.outcomes import Answer
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: From this share of a run's finished uploads on, missing notices are no accident. SNS delivers to SQS with retries for
#: 23 days (AWS, "Amazon SNS message delivery retries"), so even one missing notice is rare.
SHARE = 0.5

_UNSUBSCRIBED, _FORBIDDEN, _DEAD_LETTERS = "UNSUBSCRIBED", "FORBIDDEN", "DEAD_LETTERS"


@dataclass(frozen=True)
class Refusal:
    """Since when Amazon answers 403, why, and whether it says that the credentials have expired."""

    since: float
    why: str
    expired: bool


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
        self._begins(_UNSUBSCRIBED, {"at": at})

    def subscribed(self, at: float) -> None:
        """Note that something came through the subscription that is as young as this."""
        self._ends(_UNSUBSCRIBED, at)

    def refused(self, operation: str, answer: Answer, at: float) -> None:
        """Note that Amazon answered 403 to an ``upload`` or a ``status`` call."""
        name = f"{_FORBIDDEN}#{operation}"
        known = self._now(name)
        since = known["since"] if known else at
        self._begins(name, {"at": at, "since": since, "why": answer.message, "expired": answer.expired})

    def allowed(self, operation: str, at: float) -> None:
        """Note that Amazon took such a request at that time."""
        self._ends(f"{_FORBIDDEN}#{operation}", at)

    def buried(self, counts: Mapping[Why, int]) -> None:
        """Note how many messages became dead letters."""
        for why, count in counts.items():
            self._ledger.add(self._run, _DEAD_LETTERS, why.value, count)
        self._ledger.update(self._run, _DEAD_LETTERS, {"expires_at": self._expires_at})

    def since(self) -> float | None:
        """Return since when the queue is unsubscribed, or ``None``."""
        item = self._now(_UNSUBSCRIBED)
        return float(item["at"]) if item else None

    def refusal(self) -> Refusal | None:
        """Return why Amazon refuses us now, for the longest, or ``None``."""
        noted = [item for item in self._ledger.query(self._retailer, f"{_FORBIDDEN}#") if "over" not in item]
        told = [Refusal(float(item["since"]), str(item["why"]), bool(item["expired"])) for item in noted]
        return min(told, key=lambda one: one.since, default=None)

    def dead_letters(self) -> dict[str, int]:
        """Return how many messages became dead letters in this run, by reason."""
        item = self._ledger.get(self._run, _DEAD_LETTERS) or {}
        return {why.value: int(item[why.value]) for why in Why if why.value in item}

    def _begins(self, what: str, changes: Item) -> None:
        condition = "attribute_not_exists(#at) OR #at < :new"
        self._ledger.update(self._retailer, what, {**changes, "over": None}, condition, {"new": changes["at"]})

    def _ends(self, what: str, at: float) -> None:
        condition = "attribute_exists(#at) AND #at < :new AND attribute_not_exists(#over)"
        self._ledger.update(self._retailer, what, {"over": at}, condition, {"new": at})

    def _now(self, what: str) -> Item | None:
        item = self._ledger.get(self._retailer, what) or {}
        return None if "over" in item or "at" not in item else item


def alarms_of(run: Run, attempts: Attempts) -> list[str]:
    """Return the alarms of the run as they stand now, a sentence each."""
    alarms, found = Alarms.of(run), store_list_alarms(run)
    if (since := alarms.since()) is not None:
        found.append(
            f"Amazon's topic unsubscribed the queue at {iso(since)}: results come by polling only; see "
            "docs/runbooks/unsubscribed.md"
        )
    lost, done = without_notice(run, attempts)
    if is_lost(lost, done):
        found.append(
            f"no notice came for {lost:,} of {done:,} uploads: the status API had to be asked; see "
            "docs/runbooks/lost-subscription.md"
        )
    if buried := alarms.dead_letters():
        told = ", ".join(f"{why} {count:,}" for why, count in buried.items())
        found.append(
            f"messages that became dead letters: {sum(buried.values()):,} ({told}); see docs/runbooks/dead-letters.md"
        )
    return found


def without_notice(run: Run, attempts: Attempts) -> tuple[int, int]:
    """Return of how many of the run's finished uploads no notice told, and how many have finished."""
    done = [attempt for attempt in attempts.of_run(run.run_id) if attempt.end is State.DONE]
    return sum(_came_without_notice(attempt, attempts) for attempt in done), len(done)


def is_lost(lost: int, done: int) -> bool:
    """Tell whether so many missing notices are no accident."""
    return bool(lost) and lost >= SHARE * done


def store_list_alarms(run: Run) -> list[str]:
    """Return that Amazon refuses the list of the configured stores, if it does."""
    from catalog_sync.stores import load_stores

    known = StoreList.of(run)
    if not known.any_refused():
        return []
    why = known.refused(load_stores(run.settings, run.connections))
    return [why] if why else []


def _came_without_notice(attempt: Attempt, attempts: Attempts) -> bool:
    """Whether the status API told of the end and no notice did, not even later."""
    if attempt.item.get("reported_by") != "status":
        return False
    return attempts.ledger.get(f"INGESTION#{attempt.ingestion_id}", "NOTICE") is None
