"""The catalogue of alerts: each kind has a code, a severity, a title and a runbook.

Whatever tells of alerts takes them from here: messages, the command line, the page, the rules of Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon a person should look."""

    #: Now: until then Amazon's catalog does not follow the retailer's.
    CRITICAL = "critical"
    #: Within the day: the job goes on, but slower, in part, or without its safety net.
    WARNING = "warning"


class Kind(StrEnum):
    """What an alert is about; the code that messages, the ledger, metrics and rules show."""

    NO_RUN = "NO_RUN"
    RUN_FAILED = "RUN_FAILED"
    RUN_INCOMPLETE = "RUN_INCOMPLETE"
    BOOKS_UNBALANCED = "BOOKS_UNBALANCED"
    RUN_LATE = "RUN_LATE"
    FORBIDDEN = "FORBIDDEN"
    CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
    BREAKER_OPEN = "BREAKER_OPEN"
    ROWS_HELD = "ROWS_HELD"
    SOURCE_STALE = "SOURCE_STALE"
    SOURCE_SHORT = "SOURCE_SHORT"
    STORE_EMPTY = "STORE_EMPTY"
    ROWS_REFUSED = "ROWS_REFUSED"
    BATCH_REFUSED = "BATCH_REFUSED"
    UPLOADS_FAILED = "UPLOADS_FAILED"
    UPLOADS_STUCK = "UPLOADS_STUCK"
    DRIFT = "DRIFT"
    DEAD_LETTERS = "DEAD_LETTERS"
    LOST_SUBSCRIPTION = "LOST_SUBSCRIPTION"
    UNSUBSCRIBED = "UNSUBSCRIBED"


@dataclass(frozen=True)
class About:
    """What is known of a kind.

    ``runbook``: the page below ``docs/runbooks``; ``subject``: what tells two of a kind apart, empty where there is
    only one.
    """

    severity: Severity
    title: str
    runbook: str
    subject: str = ""


_NOW, _TODAY = Severity.CRITICAL, Severity.WARNING

ABOUT: Mapping[Kind, About] = {
    # Raised outside Airflow, by whoever misses the heartbeat.
    Kind.NO_RUN: About(_NOW, "No run came to its end", "no-run.md"),
    Kind.RUN_FAILED: About(_NOW, "A run failed", "run-failed.md", "DAG"),
    Kind.RUN_INCOMPLETE: About(_NOW, "A run is incomplete", "run-incomplete.md", "kind of run"),
    Kind.BOOKS_UNBALANCED: About(_NOW, "The books of a run do not balance", "books-unbalanced.md", "kind of run"),
    Kind.RUN_LATE: About(_TODAY, "A run is late", "run-late.md", "DAG"),
    Kind.FORBIDDEN: About(_NOW, "Amazon refuses us (403)", "forbidden.md"),
    Kind.CREDENTIALS_EXPIRED: About(_NOW, "The credentials have expired", "credentials-expired.md"),
    Kind.BREAKER_OPEN: About(_NOW, "Amazon's API keeps failing: nobody calls it", "breaker-open.md"),
    Kind.ROWS_HELD: About(_TODAY, "Changes are held and wait for a person", "rows-held.md"),
    Kind.SOURCE_STALE: About(_TODAY, "A source is stale", "source-stale.md", "source"),
    Kind.SOURCE_SHORT: About(_TODAY, "A source is short or empty", "source-short.md", "source"),
    Kind.STORE_EMPTY: About(_TODAY, "Stores have no rows any more", "store-empty.md"),
    Kind.ROWS_REFUSED: About(_TODAY, "Amazon refused many rows", "rows-refused.md"),
    Kind.BATCH_REFUSED: About(_TODAY, "A batch was refused whole", "batch-refused.md"),
    Kind.UPLOADS_FAILED: About(_TODAY, "Uploads failed at Amazon", "uploads-failed.md"),
    Kind.UPLOADS_STUCK: About(_TODAY, "Uploads have no result for too long", "uploads-stuck.md"),
    Kind.DRIFT: About(_TODAY, "Amazon's catalog drifts from the retailer's", "drift.md"),
    Kind.DEAD_LETTERS: About(_TODAY, "Messages became dead letters", "dead-letters.md"),
    Kind.LOST_SUBSCRIPTION: About(_TODAY, "No notices come", "lost-subscription.md"),
    Kind.UNSUBSCRIBED: About(_TODAY, "The queue was unsubscribed", "unsubscribed.md"),
}

#: Where the runbooks lie in the project.
RUNBOOKS = "docs/runbooks"


def runbook(kind: Kind, base: str = RUNBOOKS) -> str:
    """Return where the runbook of the kind is, below ``base`` (a folder or an address)."""
    return f"{base.rstrip('/')}/{ABOUT[kind].runbook}"
