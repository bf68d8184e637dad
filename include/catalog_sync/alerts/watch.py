"""What holds between runs, and may begin or end at any time: looked at every hour, and after each run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from catalog_sync.alarms import Alarms
from catalog_sync.alerts.book import Finding
from catalog_sync.alerts.findings import Judgement
from catalog_sync.alerts.kinds import Kind
from catalog_sync.attempts import RUNNING, Attempt, Attempts, State
from catalog_sync.breaker import Breaker
from catalog_sync.clock import utc
from catalog_sync.errors import shorten

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

_AWAITED = (*RUNNING, State.DONE, State.UNKNOWN)


def watch(run: Run, sqs: Any = None) -> Judgement:
    """Return what holds now.

    What cannot be looked at is logged and not judged: it neither begins nor ends.

    :param sqs: the client of the queues, by default that of the deployment.
    """
    looks: tuple[tuple[tuple[Kind, ...], Callable[[], list[Finding]]], ...] = (
        ((Kind.UPLOADS_STUCK,), lambda: stuck(run)),
        ((Kind.DEAD_LETTERS,), lambda: dead_letters(run, sqs)),
        ((Kind.UNSUBSCRIBED,), lambda: unsubscribed(run)),
        ((Kind.BREAKER_OPEN,), lambda: breaker_open(run)),
        ((Kind.FORBIDDEN, Kind.CREDENTIALS_EXPIRED), lambda: forbidden(run)),
    )
    made = Judgement()
    for kinds, look in looks:
        try:
            made.findings += look()
        except Exception as error:  # one thing that cannot be seen must not hide the others
            log.error("Alert %s cannot be judged: %s: %s", kinds[0].value, type(error).__name__, shorten(error, 200))
        else:
            made.kinds.update(kinds)
    return made


def stuck(run: Run) -> list[Finding]:
    """Return whether uploads that Amazon took have had no result for ``alerts.stuck`` times ``results.expect``."""
    limit = run.settings.alerts.stuck * run.settings.results.expect.total_seconds()
    attempts = Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())
    late = [one for one in attempts.open() if _is_awaited(one) and run.clock.time() - one.sent_at > limit]
    if not late:
        return []
    oldest = min(late, key=lambda one: one.sent_at)
    states = ", ".join(sorted({one.state.value for one in late}))
    what = (
        f"uploads without a result: {len(late):,}, with {sum(one.rows for one in late):,} rows ({states}); the oldest "
        f"is {shorten(oldest.ingestion_id)} of run {oldest.key.run_id}, sent {utc(oldest.sent_at):%Y-%m-%d %H:%M} UTC"
    )
    return [Finding(Kind.UPLOADS_STUCK, what, since=oldest.sent_at + limit)]


def dead_letters(run: Run, sqs: Any = None) -> list[Finding]:
    """Return whether messages lie in the dead-letter queue."""
    from catalog_sync.dead_letters import DeadLetterQueue

    sqs = sqs or run.aws.client("sqs")
    queue = DeadLetterQueue.of(sqs, sqs.get_queue_url(QueueName=run.settings.results.queue)["QueueUrl"])
    waiting = queue.waiting() if queue else 0
    what = f"messages in the dead-letter queue of {run.settings.results.queue}: about {waiting:,}"
    return [Finding(Kind.DEAD_LETTERS, what)] if waiting else []


def unsubscribed(run: Run) -> list[Finding]:
    """Return whether Amazon's topic has unsubscribed the queue."""
    since = Alarms.of(run).since()
    what = "Amazon's topic unsubscribed the queue: results come by polling only, later and slower"
    return [] if since is None else [Finding(Kind.UNSUBSCRIBED, what, since=since)]


def breaker_open(run: Run) -> list[Finding]:
    """Return whether the circuit breaker is open."""
    breaker = Breaker.of(run)
    what, since = breaker.state(), breaker.since()
    return [Finding(Kind.BREAKER_OPEN, what, since=since)] if what else []


def forbidden(run: Run) -> list[Finding]:
    """Return whether Amazon answers 403, and whether only because the credentials are too old."""
    refusal = Alarms.of(run).refusal()
    if refusal is None:
        return []
    kind = Kind.CREDENTIALS_EXPIRED if refusal.expired else Kind.FORBIDDEN
    return [Finding(kind, f"Amazon refuses us: {refusal.why}", since=refusal.since)]


def _is_awaited(attempt: Attempt) -> bool:
    return bool(attempt.ingestion_id) and attempt.state in _AWAITED and not attempt.report_key
