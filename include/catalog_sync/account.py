"""Accounting: the books of a run are gathered, checked, written once, and the run fails when anything is missing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from catalog_sync import baseline, books, journal, overview
from catalog_sync.abandoned import abandoned
from catalog_sync.active_items import active_items, settled_outcomes, version_after
from catalog_sync.alarms import alarms_of
from catalog_sync.archive_tasks import write_tasks
from catalog_sync.audit import What, record
from catalog_sync.booking import booked_elsewhere
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import BooksDoNotBalance, CatalogSyncError
from catalog_sync.lease import Lease
from catalog_sync.measures import stage
from catalog_sync.row_results import archive_side, nothing_sent, row_results, sent_side
from catalog_sync.run import Kind
from catalog_sync.run_metrics import tell
from catalog_sync.store_list import StoreList
from catalog_sync.unsent import why_unsent

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)


class Incomplete(CatalogSyncError):
    """The books balance, but not all that was due has been done."""


@stage("account")
def account(run: Run) -> dict[str, Any]:
    """Gather and check the run's books, write them, and give up the lease if the run still has it.

    :returns: the books: ``run_id``, ``state`` (``complete``, ``incomplete``, ``unbalanced``), ``stores`` and ``total``
        (lines of ``books``), ``catalog``, ``late`` (what was settled of other runs), ``booked_late`` (of the rows
        that are unknown here: which runs have booked them since, and as what), ``archives`` (a line, in SKUs),
        ``leaving`` (see ``Leaving.told``), ``tasks`` (for the stores: see ``archive_tasks``), ``abandoned`` (by run:
        state and total of runs that died without books, which are made now), ``problems``, ``alarms`` (what is wrong
        with the way results come in), ``missing`` (what the run was asked for and is in no source), ``guards`` and
        ``held`` (what has tripped, and what it holds: see ``guarding``), ``release_of`` (the run whose held rows this
        one was started to send), ``plan`` and the counts of repairs, warnings and rejects by code. Complete books are
        ``books.json`` and are never rewritten.
    """
    dead: dict[str, Any] = {}
    for run_id in abandoned(run):
        try:
            made = _write(run.of(run_id))
            dead[run_id] = {"state": made["state"], "total": made["total"]}
        except CatalogSyncError as error:  # what is wrong with another run must not cost this one its books
            log.error("The books of run %s, which died, cannot be made: %s", run_id, error)
    return _write(run, dead)


def _write(run: Run, dead: dict[str, Any] | None = None) -> dict[str, Any]:
    tasks = write_tasks(run, settled_outcomes(run))
    gathered = journal.closed_books(run) or {**gather(run), "abandoned": dead or {}, "tasks": tasks}
    # Looked for again: another try may have closed them while this one gathered, and knows more.
    closed = journal.closed_books(run)
    made = closed or gathered
    for alarm in made["alarms"]:
        log.error("%s", alarm)
    if made["plan"].get("plan_number"):
        Lease.of(run).release(max(run.plan["numbers"].values()), run.run_id)
    if made["state"] == "complete":
        made = run.lake.once(run.key("books.json"), lambda: made)
        baseline.take(run, made)
    else:
        run.lake.put_json(run.key("books-incomplete.json"), made)
    _record(run, made)
    journal.ended(run, made, (closed and overview.read(run)) or overview.make(run, made))
    tell(run, made)
    return dict(made)


def _record(run: Run, made: dict[str, Any]) -> None:
    """Record in the audit trail what was sent and what is held."""
    if made["dry_run"] or not made["plan"]:
        return
    total, plan = made["total"], made["plan"]
    if total["sent"]:
        counts = {column: total[column] for column in ("sent", "acknowledged", "refused", "failed", "unknown")}
        about = {"reason": run.options.reason, "release_of": run.options.release, "plan_hash": plan["plan_hash"]}
        record(run, What.UPLOAD, {**about, "plan_number": plan["plan_number"], **counts})
    if made["archives"].get("asked"):
        counts = {column: made["archives"][column] for column in ("asked", *books.ASKED_INTO)}
        about = {"reason": run.options.reason, "release_of": run.options.release, "plan_hash": plan["plan_hash"]}
        record(run, What.ARCHIVE, {**about, "plan_number": plan["plan_number"], **counts})
    if made["held"].get("rows"):
        held = made["held"]
        record(run, What.HELD, {"rows": held["rows"], "hash": held["hash"], **held["by_code"]})


def check(made: dict[str, Any]) -> None:
    """Raise when the books are not complete.

    :raises BooksDoNotBalance: a row is unaccounted for.
    :raises Incomplete: rows were not sent, failed, or have no result; the message says how many and why.
    """
    if made["state"] == "unbalanced":
        raise BooksDoNotBalance(f"run {made['run_id']}: {'; '.join(made['problems'])}")
    if made["state"] == "incomplete":
        raise Incomplete(f"run {made['run_id']}: {'; '.join(made['problems'])}")


def gather(run: Run) -> dict[str, Any]:
    """Return the run's books as they stand now, without writing anything."""
    planned = run.lake.exists(run.key("plan.json"))
    plan = run.plan if planned else {}
    lines, codes = _read_side(run, plan)
    late, elsewhere = _late(run), booked_elsewhere(run)
    unbalanced: list[str] = []
    catalog: dict[str, Any] = {}
    archives: dict[str, int] = {}
    if planned and not plan["dry_run"]:
        results = row_results(run, plan, set(elsewhere))
        for store, counts in sent_side(plan, results).items():
            lines.setdefault(store, Counter()).update(counts)
        archives = archive_side(plan, results)
        catalog = active_items(run, plan)
        unbalanced += books.catalog_problems(catalog) + books.archive_problems(archives)
    elif planned:
        archives = archive_side(plan, nothing_sent(plan))
        for counts in lines.values():
            counts["unsent"] = counts["planned"]
    stores = {store: books.line(counts) for store, counts in sorted(lines.items())}
    unbalanced += books.problems(stores) if planned else []
    whole = books.total(stores.values())
    # A run that only collects reads and sends nothing: its books are what it settled of other runs.
    booked_late = _by_run(elsewhere.values())
    ended = sum(counts.get(end, 0) for counts in booked_late.values() for end in ("acknowledged", "refused"))
    missing = [] if run.options.kind is Kind.COLLECT else _missing(planned, plan, whole, ended)
    if planned and not plan["dry_run"] and run.options.kind is not Kind.COLLECT:
        missing += _not_archived(run, archives, booked_late)
    if whole["unsent"] and missing:
        missing += why_unsent(run, plan)
    state = "unbalanced" if unbalanced else "incomplete" if missing else "complete"
    return {
        "run_id": run.run_id,
        "retailer": run.settings.retailer,
        "state": state,
        "dry_run": run.options.dry_run,
        "started_at": run.manifest["started_at"],
        "accounted_at": run.clock.time(),
        "plan": {key: plan[key] for key in ("plan_number", "plan_hash", "rows", "batches") if key in plan},
        "stores": stores,
        "total": whole,
        "catalog": catalog,
        "acknowledged_after": version_after(run, plan, journal.books_of(run)),
        "rollback": plan.get("rollback", {}),
        "archives": archives,
        "leaving": {what: told for what, told in plan.get("leaving", {}).items() if what != "books"},
        "late": late,
        "booked_late": booked_late,
        "problems": unbalanced or missing,
        "alarms": alarms_of(run, attempts_of(run)),
        "missing": plan.get("missing", []),
        "guards": plan.get("guards", []),
        "held": plan.get("held", {}),
        "release_of": run.options.release,
        **codes,
    }


def _read_side(run: Run, plan: dict[str, Any]) -> tuple[dict[str, Counter[str]], dict[str, Any]]:
    """Return the counts up to the plan by store, and how often each rule repaired, warned or rejected."""
    codes: dict[str, Counter[str]] = {"repaired": Counter(), "warned": Counter(), "rejected": Counter()}
    transforms: dict[str, dict[str, int]] = {}
    for source in run.sources:
        key = run.key(f"extract/{source}.json")
        if run.lake.exists(key):
            manifest = run.lake.get_json(key)
            if manifest["unreadable"]:
                codes["rejected"]["ROW_UNREADABLE"] += manifest["unreadable"]
            if manifest["read"] != manifest["rows"]:
                transforms[source] = {"before": manifest["read"], "after": manifest["rows"]}
    if run.lake.exists(run.key("shards.json")):
        for shard in run.lake.get_json(run.key("shards.json"))["shards"]:
            key = run.key(f"prepare/{shard['name']}.json")
            if run.lake.exists(key):
                manifest = run.lake.get_json(key)
                for what, counter in codes.items():
                    counter.update(manifest[what])
    lines = {store: Counter(counts) for store, counts in plan.get("counts", {}).items()}
    return lines, {**{what: dict(counter) for what, counter in codes.items()}, "transformed": transforms}


def _by_run(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return the rows of late lines by the run that booked them, and by outcome."""
    runs: dict[str, Counter[str]] = {}
    for line in lines:
        for counts in line["counts"].values():
            mine = runs.setdefault(line["run_id"], Counter())
            mine.update({outcome: int(rows) for outcome, rows in counts.items()})
    return {run_id: dict(counts) for run_id, counts in runs.items()}


def _not_archived(run: Run, archives: dict[str, int], booked_late: dict[str, dict[str, int]]) -> list[str]:
    """Return what of the archives was due and has not been done."""
    ended = sum(counts.get(end, 0) for counts in booked_late.values() for end in ("archived", "archive_refused"))
    left = {**archives, "unknown": max(0, archives.get("unknown", 0) - ended)}
    causes = {
        "unsent": "were not asked to be archived",
        "failed": "could not be archived: Amazon failed (FATAL, CANCELLED or a server error); later nights ask again",
        "unknown": "have no result of their archive yet; a late report or a later night settles them",
    }
    why = StoreList.of(run).refused(run.stores) if left.get("unsent") else None
    return [f"{left[end]:,} SKUs {what}" for end, what in causes.items() if left.get(end)] + ([why] if why else [])


def _late(run: Run) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Counter[str]]] = {}
    for item in run.ledger.query(f"RUN#{run.run_id}", "LATE#"):
        stores = lines.setdefault(str(item["of_run"]), {})
        for store, counts in item["counts"].items():
            stores.setdefault(store, Counter()).update({outcome: int(rows) for outcome, rows in counts.items()})
    return [
        {"of_run": run_id, "stores": {store: dict(counts) for store, counts in stores.items()}}
        for run_id, stores in lines.items()
    ]


def _missing(planned: bool, plan: dict[str, Any], whole: books.Line, ended: int) -> list[str]:
    """Return what was due and has not been done; ``ended`` of the unknown rows came to an end in other runs' books."""
    if not planned:
        return ["there is no plan: reading, preparing or planning failed, and nothing was sent"]
    if plan["dry_run"]:
        return []
    causes = {
        "unsent": "were not sent",
        "failed": "failed at Amazon (FATAL, CANCELLED or a server error) and are derived again by the next run",
        "unknown": "have no result yet; a late report or the next run settles them",
    }
    left = {**whole, "unknown": max(0, whole["unknown"] - ended)}
    return [f"{left[column]:,} rows {what}" for column, what in causes.items() if left[column]]
