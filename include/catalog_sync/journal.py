"""The journal: one short record of every run that reads sources, newest first, for screens and for ``why``.

Nothing decides by it, and ``rebuild`` makes it anew from the lake. In the ledger: ``RUNS#<retailer>`` /
``<when the run began>#<run>``. Runs that only collect results are left out: there is one an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from catalog_sync.clock import iso
from catalog_sync.errors import shorten
from catalog_sync.ledger import Item
from catalog_sync.run import Kind, Options

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: So many sentences of a run's problems and alarms are kept, each of so many characters.
SENTENCES, LENGTH = 5, 400


def began(run: Run) -> None:
    """Record that the run has begun; once more changes nothing."""
    if run.options.kind is not Kind.COLLECT:
        run.ledger.put_new({**_key(run), **_asked(run)})


def ended(run: Run, made: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
    """Record how the run ended; made anew, that replaces what was recorded before.

    :param made: its books.
    :param seen: its overview; may be empty.
    """
    if run.options.kind is not Kind.COLLECT:
        key = _key(run)
        refused = {"refused": {line["code"] or "NO_CODE": line["rows"] for line in seen.get("refused", ())}}
        run.ledger.update(key["pk"], key["sk"], {**_asked(run), **_books(made), **refused})


def record_of(run: Run) -> Item:
    """Return the record of the run, which has begun."""
    return run.ledger.get(**_key(run)) or {**_key(run), **_asked(run)}


def newest(run: Run, limit: int, before: str = "") -> list[Item]:
    """Return the records of at most ``limit`` runs, newest first.

    :param run: any run of the retailer.
    :param before: only runs that began before the one with this ``sk``.
    """
    return run.ledger.newest(_partition(run), limit, before)


def rebuild(run: Run) -> int:
    """Write the records of every run that the lake has; return how many."""
    from catalog_sync import overview  # frames are for whoever makes overviews

    number = 0
    for name in run.lake.folders("runs"):
        other = run.of(name)
        if not run.lake.exists(other.key("run.json")) or other.options.kind is Kind.COLLECT:
            continue
        number += 1
        began(other)
        if made := books_of(other):
            ended(other, made, overview.read(other))
    return number


def books_of(run: Run) -> dict[str, Any]:
    """Return the books that the run has written, complete or not; empty when it has none."""
    for name in ("books.json", "books-incomplete.json"):
        if run.lake.exists(run.key(name)):
            return dict(run.lake.get_json(run.key(name)))
    return {}


def closed_books(run: Run) -> dict[str, Any]:
    """Return the books that are not made again: complete ones, and those of a run that the ledger has forgotten.

    What other runs have done since is in their books.
    """
    made = books_of(run)
    return made if made and (made["state"] == "complete" or run.forgotten) else {}


def that_read(run: Run, store: str, sku: str, about: Collection[str], limit: int = 60) -> Iterator[Run]:
    """Yield the runs that have read their sources for this store and SKU, newest first.

    Dry runs are left out, and runs that failed before they had a plan.

    :param store: a store id; empty for any.
    :param about: runs that are known to have been about the SKU. Of a run that chose its rows by what they hold, only
        that tells.
    :param limit: so many records are looked at.
    """
    for record in newest(run, limit):
        if record["dry_run"]:
            continue
        other = run.of(str(record["run_id"]))
        if record.get("narrowed") and not _is_about(other.options, store, sku, record["run_id"] in about):
            continue
        # A run that ended without a plan has decided nothing.
        if run.lake.exists(other.key("plan.json" if "state" in record else "shards.json")):
            yield other


def _is_about(options: Options, store: str, sku: str, known: bool) -> bool:
    """Tell whether a run for some stores or rows only was about this store and SKU."""
    if store and options.stores and store not in options.stores:
        return False
    if options.skus and sku not in options.skus:
        return False
    return known or not (options.skus_file or options.departments or options.changed_since)


def _partition(run: Run) -> str:
    return f"RUNS#{run.settings.retailer}"


def _key(run: Run) -> dict[str, str]:
    return {"pk": _partition(run), "sk": f"{iso(float(run.manifest['started_at']))}#{run.run_id}"}


def _asked(run: Run) -> Item:
    options = run.options
    return {
        "run_id": run.run_id,
        "kind": options.kind.value,
        "dry_run": options.dry_run,
        "narrowed": bool(options.stores) or options.narrowed,
        "started_at": run.manifest["started_at"],
        "origin": options.origin,
        "by": options.by,
        "reason": shorten(options.reason, LENGTH),
        "release": options.release,
        "expires_at": int(run.manifest["started_at"] + run.settings.ledger.keep.total_seconds()),
    }


def _books(made: Mapping[str, Any]) -> Item:
    plan, held = made["plan"], made.get("held", {})
    return {
        "state": made["state"],
        "ended_at": made["accounted_at"],
        "plan_number": plan.get("plan_number"),
        "batches": plan.get("batches", 0),
        "total": {column: rows for column, rows in made["total"].items() if rows},
        "archives": {column: skus for column, skus in made.get("archives", {}).items() if skus},
        "repaired": sum(made["repaired"].values()),
        "rejected": made["rejected"],
        "held": held.get("by_code", {}),
        "guards": sorted({one["code"] for one in made.get("guards", ())}),
        "problems": [shorten(text, LENGTH) for text in made["problems"][:SENTENCES]],
        "alarms": [shorten(text, LENGTH) for text in made.get("alarms", ())[:SENTENCES]],
    }
