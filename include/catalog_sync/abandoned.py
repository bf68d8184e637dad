"""Runs that died before they made their books, and that nobody cleared: the first run a day later makes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Plans older than this are not looked at any more: seven later nights would have to have died, too.
LOOK_BACK = timedelta(days=7)


def abandoned(run: Run) -> list[str]:
    """Return the other runs of the retailer that have sent nothing for ``results.horizon`` and have no books.

    By then each of their uploads is settled, by whichever run came by. What was settled before stands in no books but
    their own.
    """
    now = run.clock.time()
    horizon = run.settings.results.horizon.total_seconds()
    found: dict[str, None] = {}
    for plan in run.ledger.query(f"PLANS#{run.settings.retailer}"):
        run_id, age = str(plan["run_id"]), now - float(plan["at"])
        if run_id == run.run_id or run_id in found or not horizon < age < LOOK_BACK.total_seconds():
            continue
        sending = float((run.ledger.get(f"RUN#{run_id}", "RUN") or {}).get("sending_at", 0))
        if now - sending > horizon and not has_books(run, run_id) and run.lake.exists(f"runs/{run_id}/plan.json"):
            found[run_id] = None
    return list(found)


def has_books(run: Run, run_id: str) -> bool:
    """Tell whether the run ``run_id`` of the same retailer has made its books, complete or not."""
    return any(run.lake.exists(f"runs/{run_id}/{name}.json") for name in ("books", "books-incomplete"))
