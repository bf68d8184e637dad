"""Runs that died before they made their books, and that nobody cleared: the first run a day later makes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from catalog_sync import journal

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Plans that are older than ``results.horizon`` and this are not looked at any more: seven nights would have died, too.
LOOK_BACK = timedelta(days=7)


def abandoned(run: Run) -> list[str]:
    """Return the other runs that have sent nothing for ``results.horizon``, and have not booked what they have sent.

    By then each of their uploads is settled, by whichever run came by. What was settled before stands in no books but
    their own. A run that is cleared and sends once more has to make its books once more.
    """
    now = run.clock.time()
    horizon = run.settings.results.horizon.total_seconds()
    found: dict[str, None] = {}
    for plan in run.ledger.query(f"PLANS#{run.settings.retailer}"):
        run_id, age = str(plan["run_id"]), now - float(plan["at"])
        if run_id == run.run_id or run_id in found or not horizon < age < horizon + LOOK_BACK.total_seconds():
            continue
        sent = last_sent(run, run_id)
        if now - sent <= horizon or not run.lake.exists(f"runs/{run_id}/plan.json"):
            continue
        if (booked := booked_at(run, run_id)) is None or booked < sent:
            found[run_id] = None
    return list(found)


def last_sent(run: Run, run_id: str) -> float:
    """Return when the run ``run_id`` of the same retailer last sent something (Unix seconds); 0 when it never did."""
    return float((run.ledger.get(f"RUN#{run_id}", "RUN") or {}).get("sending_at", 0))


def booked_at(run: Run, run_id: str) -> float | None:
    """Return when the run ``run_id`` of the same retailer made its books, complete or not; ``None`` without books."""
    made = journal.books_of(run.of(run_id))
    return float(made["accounted_at"]) if made else None
