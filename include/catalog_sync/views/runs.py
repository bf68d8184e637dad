"""Runs: the list with its trends, and one run with its books, progress and what it left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from catalog_sync import books, journal, overview
from catalog_sync.alarms import Alarms
from catalog_sync.breaker import Breaker
from catalog_sync.clock import iso
from catalog_sync.doubt import attempts_of
from catalog_sync.lookup import named
from catalog_sync.pace import pace_of
from catalog_sync.trace import told_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Most records of one answer: a year of nights and what was started by hand besides.
MOST = 400
#: Attempts that one answer lists.
LISTED = 200
_HIDDEN = ("pk", "expires_at")

Row = dict[str, Any]


def runs(run: Run, limit: int = MOST, before: str = "") -> Row:
    """Return records of the journal, newest first: ``runs``, and ``more``: the ``before`` of the next page."""
    records = journal.newest(run, limit, before)
    return {
        "now": run.clock.time(),
        "runs": _shown(records),
        "more": records[-1]["sk"] if len(records) == limit else "",
    }


def one(run: Run, name: str = "") -> Row:
    """Return one run, as it stands now.

    :returns: ``record`` (as in the list), ``live`` (no books yet), ``stores`` and ``total`` (lines of the books, as far
        as they are known, without zeros), ``archives`` (the line of SKUs to archive, likewise), ``leaving`` (see
        ``Leaving.told``), ``pace``, ``rate`` (requests a second that are allowed in all), ``problems``, ``alarms``,
        ``guards``, ``held``, ``remarks``, ``waits`` (what keeps everybody from sending, a sentence each), ``files``
        (which downloads there are) and ``expect`` (seconds in which an upload is usually done).
    """
    found = named(run, name)
    made = journal.books_of(found)
    plan = found.plan if found.lake.exists(found.key("plan.json")) else {}
    seen = overview.read(found) if made else {}
    lines = made.get("stores") or {store: books.line(_known(line)) for store, line in plan.get("counts", {}).items()}
    return {
        "now": run.clock.time(),
        "record": _shown([journal.record_of(found)])[0],
        "live": not made,
        "stores": {store: _without_zeros(line) for store, line in sorted(lines.items())},
        "total": _without_zeros(books.total(lines.values())),
        "archives": _without_zeros(made.get("archives") or plan.get("leaving", {}).get("books", {})),
        "leaving": _leaving(made.get("leaving") or plan.get("leaving", {})),
        # An overview of an earlier version counts rows, not items.
        "pace": seen["pace"] if "items" in seen.get("pace", ()) else pace_of(found, plan),
        "rate": run.settings.api.rate,
        "problems": made.get("problems", []),
        "alarms": made.get("alarms", []),
        "guards": plan.get("guards", []),
        "held": {key: value for key, value in plan.get("held", {}).items() if key != "parts"},
        "remarks": books.remarks(made) if made else [],
        "waits": _waits(run),
        "files": {
            "plan": bool(plan),
            "changes": bool(plan.get("lists")),
            "rejects": bool(made.get("rejected")),
            "leaving": bool(plan.get("leaving", {}).get("lists")),
            "tasks": bool(made.get("tasks")),
        },
        "expect": run.settings.results.expect.total_seconds(),
        "schedule": {"at": run.settings.schedule.at, "timezone": run.settings.schedule.timezone},
    }


def batches(run: Run, name: str = "", first: int = 0) -> Row:
    """Return ``LISTED`` attempts of a run from the one numbered ``first`` on, and how many there are in ``all``."""
    attempts = attempts_of(run).of_run(named(run, name).run_id)
    return {"all": len(attempts), "attempts": [told_of(attempt) for attempt in attempts[first : first + LISTED]]}


def _leaving(told: Mapping[str, Any]) -> Row:
    """Return what is shown of SKUs that leave, without what there is none of."""
    return {what: told[what] for what in ("waiting", "partial", "closed", "why_not", "after") if told.get(what)}


def _waits(run: Run) -> list[str]:
    told = [Breaker.of(run).state()]
    if since := Alarms.of(run).since():
        told.append(f"Amazon's topic unsubscribed the queue at {iso(since)}: results come by polling only")
    return [text for text in told if text]


def _known(line: Mapping[str, int]) -> Row:
    return {column: rows for column, rows in line.items() if column in books.COLUMNS}


def _without_zeros(line: Mapping[str, int]) -> Row:
    return {column: rows for column, rows in line.items() if rows}


def _shown(records: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [{key: value for key, value in record.items() if key not in _HIDDEN} for record in records]
