"""Which attempts' rows stand in which run's books: those it sent, and those of other runs that it settled late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog_sync.doubt import attempts_of

if TYPE_CHECKING:
    from catalog_sync.run import Run


def booked_elsewhere(run: Run) -> dict[str, dict[str, Any]]:
    """Return, by its name, each attempt of the run whose outcomes stand in another run's books, with their line there.

    What one run has booked no other books again, not even the run that sent it, should it be cleared.
    """
    found = {}
    for attempt in attempts_of(run).of_run(run.run_id):
        other = str(attempt.item.get("settled_in", run.run_id))
        line = run.ledger.get(f"RUN#{other}", f"LATE#{attempt.key.pointer}") if other != run.run_id else None
        if line:
            found[attempt.key.name] = {**line, "run_id": other}
    return found


def late_attempts(run: Run) -> list[tuple[str, str]]:
    """Return the run and the name of each attempt of another run that this run settled."""
    found = []
    for item in run.ledger.query(f"RUN#{run.run_id}", "LATE#"):
        run_id, batch, number = str(item["sk"]).removeprefix("LATE#").rsplit("#", 2)
        found.append((run_id, f"{batch}-{number}"))
    return found
