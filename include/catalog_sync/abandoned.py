"""Runs that died before they made their books, and that nobody cleared: the first run a day later makes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from catalog_sync import journal
from catalog_sync.booking import booked_elsewhere
from catalog_sync.doubt import attempts_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Plans that are older than ``results.horizon`` and this are looked at until their books are known, and then no more.
LOOK_BACK = timedelta(days=7)


def abandoned(run: Run) -> list[str]:
    """Return the other runs that have sent nothing for ``results.horizon``, and have not booked what they have sent.

    By then each of their uploads is settled, by whichever run came by. What was settled before stands in no books but
    their own. A run that is cleared and sends or settles once more has to make its books once more.

    In the ledger: ``BOOKED#<retailer>`` / ``PLANS``, whose ``before`` is a time (Unix seconds); no plan that was made
    before it had to be looked at any more. So a pause of any length, up to ``ledger.keep``, hides no run.
    """
    now = run.clock.time()
    ended = booked = now - run.settings.results.horizon.total_seconds()
    mark = (f"BOOKED#{run.settings.retailer}", "PLANS")
    known = float((run.ledger.get(*mark) or {}).get("before", 0))
    since = max(min(known, ended - LOOK_BACK.total_seconds()), now - run.settings.ledger.keep.total_seconds())
    found: dict[str, None] = {}
    for plan in run.ledger.query(f"PLANS#{run.settings.retailer}"):
        run_id, made = str(plan["run_id"]), float(plan["at"])
        if run_id == run.run_id or run_id in found or not since <= made < ended:
            continue
        sent = last_sent(run, run_id)
        if sent < ended and (not run.lake.exists(f"runs/{run_id}/plan.json") or _has_booked(run.of(run_id), sent)):
            continue
        booked = min(booked, made)
        if sent < ended:
            found[run_id] = None
    if not run.options.dry_run and booked != known:
        run.ledger.update(*mark, {"before": booked})
    return list(found)


def _has_booked(run: Run, sent: float) -> bool:
    """Tell whether the run has made its books after it sent and settled what is to stand in them, or for good."""
    if journal.closed_books(run):
        return True
    booked = booked_at(run, run.run_id)
    if booked is None or booked < sent:
        return False
    late = booked_elsewhere(run)
    own = (attempt for attempt in attempts_of(run).of_run(run.run_id) if attempt.key.name not in late)
    return all(float(attempt.item.get("settled_at", 0)) <= booked for attempt in own)


def last_sent(run: Run, run_id: str) -> float:
    """Return when the run ``run_id`` of the same retailer last sent something (Unix seconds); 0 when it never did."""
    return float((run.ledger.get(f"RUN#{run_id}", "RUN") or {}).get("sending_at", 0))


def booked_at(run: Run, run_id: str) -> float | None:
    """Return when the run ``run_id`` of the same retailer made its books, complete or not; ``None`` without books."""
    made = journal.books_of(run.of(run_id))
    return float(made["accounted_at"]) if made else None
