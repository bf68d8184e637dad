"""Stuck and held: what waits, for what, since when, and what can be done about it."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync import journal, overview
from catalog_sync.alarms import Alarms
from catalog_sync.attempts import Attempt
from catalog_sync.breaker import Breaker
from catalog_sync.dead_letters import DeadLetterQueue
from catalog_sync.doubt import attempts_of
from catalog_sync.lease import Lease
from catalog_sync.trace import told_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Uploads that are listed, those that wait longest first.
LISTED = 200
#: So many of the last runs are asked for their dead letters.
RUNS = 20
#: Upper edges, in days, of the bars that show for how long rows are held; the last bar has what is held longer.
AGES = (1, 2, 3, 7, 14, 30)
_DAY = 86_400.0

Row = dict[str, Any]


def stuck(run: Run) -> Row:
    """Return what waits.

    :returns: ``uploads`` (attempts that are not settled, the oldest first, each with ``waited`` seconds and whether it
        is ``overdue``), ``open`` and ``overdue`` (how many), ``expect``, ``poll_after``, ``give_up_after``
        (seconds), ``held``, ``held_rows``, ``suspended``, ``suspended_rows`` and ``of_run`` (from the newest run with
        books), ``held_ages`` (``edges`` in days, and in ``rows`` by guard how many are held for how long),
        ``dead_letters`` (``waiting``, or ``None`` when SQS does not tell; ``by_reason`` of the last runs),
        ``breaker`` (a sentence while it is open), ``unsubscribed_since`` and ``sending`` (which run holds the lease).
    """
    now, results = run.clock.time(), run.settings.results
    expect = results.expect.total_seconds()
    attempts = sorted(attempts_of(run).open(), key=lambda attempt: attempt.sent_at)
    uploads = [_told(attempt, now, expect) for attempt in attempts]
    records = journal.newest(run, RUNS)
    newest = next((one for one in records if "state" in one and not one["dry_run"]), None)
    seen = overview.read(run.of(str(newest["run_id"]))) if newest else {}
    lease = Lease.of(run).read()
    return {
        "now": now,
        "uploads": uploads[:LISTED],
        "open": len(uploads),
        "overdue": sum(one["overdue"] for one in uploads),
        "expect": expect,
        "poll_after": results.poll_after.total_seconds(),
        "give_up_after": results.give_up_after.total_seconds(),
        **{key: seen.get(key, []) for key in ("held", "held_rows", "suspended", "suspended_rows")},
        "held_ages": _ages(seen.get("held_since", ()), now),
        "of_run": {key: newest[key] for key in ("run_id", "started_at", "origin")} if newest else None,
        "dead_letters": {"waiting": _dead_letters(run), "by_reason": _reasons(run, records)},
        "breaker": Breaker.of(run).state(),
        "unsubscribed_since": Alarms.of(run).since(),
        "sending": lease.owner if lease.held_until > now else "",
    }


def _told(attempt: Attempt, now: float, expect: float) -> Row:
    waited = now - attempt.sent_at
    in_doubt = attempt.in_doubt and not attempt.report_key
    return {**told_of(attempt), "waited": waited, "overdue": in_doubt and waited > expect}


def _ages(held: Iterable[Row], now: float) -> Row:
    """Return how many rows are held for how long, by guard: a number for each of ``AGES``, and one for what is older.

    :param held: ``held_since`` of the overview.
    """
    rows: dict[str, list[int]] = {}
    for one in held:
        bars = rows.setdefault(str(one["code"]), [0] * (len(AGES) + 1))
        bars[bisect_left(AGES, (now - one["since"]) / _DAY)] += one["rows"]
    return {"edges": list(AGES), "rows": rows}


def _dead_letters(run: Run) -> int | None:
    """Return about how many messages lie in the dead-letter queue; none is taken out of it to be looked at."""
    try:
        sqs = run.aws.client("sqs")
        queue = sqs.get_queue_url(QueueName=run.settings.results.queue)["QueueUrl"]
        dead = DeadLetterQueue.of(sqs, queue)
        if dead is None:
            return None
        name = "ApproximateNumberOfMessages"
        return int(sqs.get_queue_attributes(QueueUrl=dead.url, AttributeNames=[name])["Attributes"][name])
    except (ClientError, BotoCoreError) as error:
        log.warning("The dead-letter queue cannot be asked: %s", type(error).__name__)
        return None


def _reasons(run: Run, records: list[Row]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        alarms = Alarms(run.ledger, run.settings.retailer, str(record["run_id"]), 0)
        for why, count in alarms.dead_letters().items():
            found[why] = found.get(why, 0) + count
    return found
