"""Accounting: the books of a run are gathered, checked, written once, and the run fails when anything is missing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from catalog_sync import baseline, books, journal, overview
from catalog_sync.abandoned import abandoned
from catalog_sync.alarms import alarms_of
from catalog_sync.archive_tasks import write_tasks
from catalog_sync.archives import is_archive
from catalog_sync.attempts import Attempt, State
from catalog_sync.audit import What, record
from catalog_sync.booking import booked_elsewhere, late_attempts
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import BooksDoNotBalance, CatalogSyncError
from catalog_sync.fields import KEY
from catalog_sync.lease import Lease
from catalog_sync.measures import stage
from catalog_sync.run import Kind
from catalog_sync.run_metrics import tell
from catalog_sync.store_list import StoreList
from catalog_sync.tables import ARCHIVE, Tables
from catalog_sync.unsent import why_unsent

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: What became of a planned row, in the order in which a later attempt's word outranks an earlier one's.
_UNSENT, _UNKNOWN, _FAILED, _REFUSED, _ACKNOWLEDGED = range(5)
_COLUMN = ("unsent", "unknown", "failed", "refused", "acknowledged")
_OUTCOME = [*KEY, "outcome", "content_hash"]
_CODE = {name: code for code, name in enumerate(_COLUMN)}


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
    dead = {run_id: _write(run.of(run_id)) for run_id in abandoned(run)}
    return _write(run, {run_id: {"state": made["state"], "total": made["total"]} for run_id, made in dead.items()})


def _write(run: Run, dead: dict[str, Any] | None = None) -> dict[str, Any]:
    tasks = write_tasks(run, _settled(run))
    # What other runs have done since is in their books: complete ones are not gathered again.
    closed = run.lake.get_json(run.key("books.json")) if run.lake.exists(run.key("books.json")) else None
    made = closed or {**gather(run), "abandoned": dead or {}, "tasks": tasks}
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
    journal.ended(run, made, overview.make(run, made))
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
        results = _row_results(run, plan, set(elsewhere))
        for store, counts in _sent_side(plan, results).items():
            lines.setdefault(store, Counter()).update(counts)
        archives = _archives(plan, results)
        catalog = _catalog(run, plan)
        unbalanced += books.catalog_problems(catalog) + books.archive_problems(archives)
    elif planned:
        archives = _archives(plan, [np.full(batch["items"], _UNSENT, np.int8) for batch in plan["batch_list"]])
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
        "acknowledged_after": Tables(run.lake).version("acknowledged"),
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


def _row_results(run: Run, plan: dict[str, Any], elsewhere: Collection[str]) -> list[np.ndarray]:
    """Return, for each batch, what became of each of its rows (the codes above), however often it was sent.

    :param elsewhere: the names of attempts of which another run has booked what became of their rows.
    """
    results = [np.full(batch["items"], _UNSENT, dtype=np.int8) for batch in plan["batch_list"]]
    for attempt in attempts_of(run).of_run(run.run_id):
        rows = results[attempt.key.batch - 1][attempt.start : attempt.stop]
        told = np.full(attempt.rows, _UNKNOWN, np.int8) if attempt.key.name in elsewhere else _told(run, attempt)
        # A word about the row itself outranks an end without one; between two words the later attempt's counts.
        heard = (told >= rows) | (told >= _REFUSED)
        rows[heard] = told[heard]
    return results


def _told(run: Run, attempt: Attempt) -> np.ndarray:
    ended = attempt.end
    if ended is State.REJECTED:
        return np.full(attempt.rows, _UNSENT, dtype=np.int8)
    key = run.key(f"outcomes/{attempt.key.name}.parquet")
    # What is not settled yet has no result: whoever settles it, later or another run, books it then.
    if attempt.state is State.SETTLED and run.lake.exists(key):
        outcomes = run.lake.get_frame(key)
        if "listed" in outcomes.columns:  # an archive: its SKU has a line for each store
            outcomes = outcomes.unique("position").sort("position")
        outcome = outcomes["outcome"]
        return outcome.replace_strict(_CODE, return_dtype=pl.Int8).to_numpy().copy()
    broken = ended in (State.FAILED, State.FATAL, State.CANCELLED)
    return np.full(attempt.rows, _FAILED if broken else _UNKNOWN, dtype=np.int8)


def _sent_side(plan: dict[str, Any], results: list[np.ndarray]) -> dict[str, Counter[str]]:
    lines: dict[str, Counter[str]] = {}
    for batch, rows in zip(plan["batch_list"], results, strict=True):
        for piece in batch["ranges"]:
            counts = np.bincount(rows[piece["start"] : piece["stop"]], minlength=len(_COLUMN))
            store = lines.setdefault(piece["store"], Counter())
            for column, number in zip(_COLUMN, counts, strict=True):
                store[column] += int(number)
            store["sent"] += int(counts.sum() - counts[_UNSENT])
    return lines


def _archives(plan: dict[str, Any], results: list[np.ndarray]) -> dict[str, int]:
    """Return the books of archives, in SKUs; empty when the plan is one of an earlier version."""
    if "leaving" not in plan:
        return {}
    pairs = zip(plan["batch_list"], results, strict=True)
    ends = [skus for batch, skus in pairs if is_archive(batch)]
    counts = np.bincount(np.concatenate([np.array([], np.int8), *ends]), minlength=len(_COLUMN))
    line = dict(zip((*_COLUMN[:-1], "archived"), (int(number) for number in counts), strict=True))
    asked = sum(line[column] for column in books.ASKED_INTO)
    whole = {**plan["leaving"]["books"], **line, "asked": asked}
    return {column: whole[column] for column in books.ARCHIVES}


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


def _settled(run: Run) -> list[str]:
    """Return the keys of what became of the attempts that the run has settled, late ones of other runs included."""
    mine = [attempt for attempt in attempts_of(run).of_run(run.run_id) if attempt.state is State.SETTLED]
    booked = set(booked_elsewhere(run))
    names = [(run.run_id, attempt.key.name) for attempt in mine if attempt.key.name not in booked]
    return [f"runs/{run_id}/outcomes/{name}.parquet" for run_id, name in [*names, *late_attempts(run)]]


def _catalog(run: Run, plan: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the active items before and after of each store whose rows were settled, and what explains the difference.

    Before is the table as the plan saw it; what explains it is read from the outcomes that were settled since.
    """
    settled = [run.lake.get_frame(key, _OUTCOME) for key in _settled(run) if run.lake.exists(key)]
    outcomes = pl.concat([pl.DataFrame(schema=dict.fromkeys(_OUTCOME, pl.String)), *settled]).filter(
        pl.col("outcome") == "acknowledged"
    )
    stores = sorted(outcomes["store_id"].unique())
    if not stores:
        return {}
    tables, columns = Tables(run.lake), [*KEY, "state"]
    version = plan["acknowledged_version"]
    before = tables.read("acknowledged", stores if version is not None else [], columns, version)
    after = tables.read("acknowledged", stores, columns)
    archive = pl.col("content_hash") == ARCHIVE
    ours = outcomes.select(*KEY, state=pl.when(archive).then(pl.lit("ARCHIVED")).otherwise(pl.lit("ACTIVE"))).unique()
    # What only another run settled, meanwhile or since, is in the books of that run. For ours it stands as it stood.
    others = after.join(before, on=columns, how="anti").join(ours, on=columns, how="anti")
    stood = before.join(others, on=list(KEY), how="semi")
    after = pl.concat([after.join(others, on=list(KEY), how="anti"), stood])
    active = before.filter(pl.col("state") == "ACTIVE")
    standing = after.filter(pl.col("state") == "ACTIVE")
    gained = outcomes.filter(~archive).select(KEY).unique().join(before, on=list(KEY), how="left")
    gained = gained.join(standing, on=list(KEY), how="semi")
    lost = outcomes.filter(archive).select(KEY).unique().join(active, on=list(KEY), how="semi")
    lost = lost.join(standing, on=list(KEY), how="anti")
    lines = {
        store: {"active_before": 0, "new": 0, "reactivated": 0, "archived": 0, "active_after": 0} for store in stores
    }
    for frame, column in (
        (active, "active_before"),
        (standing, "active_after"),
        (lost, "archived"),
        (gained.filter(pl.col("state").is_null()), "new"),
        (gained.filter(pl.col("state") == "ARCHIVED"), "reactivated"),
    ):
        for store, rows in frame.group_by("store_id").len().iter_rows():
            lines[store][column] = rows
    return lines


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
