"""What guards measure a run by: the stores that were loaded completely before, and how many rows a source had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog_sync.run import Kind

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: A store is adopted by a run that leaves none of its rows in one of these columns.
_LEFT = ("in_doubt", "unsent", "failed", "unknown")


def adopted_stores(run: Run) -> set[str]:
    """Return the stores for which a run of the retailer was complete; no guard judges the first load of another."""
    return {str(item["sk"]) for item in run.ledger.query(_stores(run))}


def last_rows(run: Run, source: str) -> int:
    """Return how many rows the source had in the last run that was complete and read it whole; 0 when there is none."""
    return int((run.ledger.get(_sources(run), source) or {}).get("rows", 0))


def take(run: Run, books: dict[str, Any]) -> None:
    """Let a complete run be what later ones are measured by.

    A run for some of its rows says nothing about a store, and a source that was judged too short, empty or stale is no
    measure, unless a person has approved what follows from it; nor is what was read before the measure that stands.
    """
    if (
        run.options.kind is Kind.ROLLBACK
        or books["state"] != "complete"
        or books["dry_run"]
        or not run.lake.exists(run.key("shards.json"))
    ):
        return
    now, began = run.clock.time(), float(run.manifest["started_at"])
    known = adopted_stores(run)
    for store, line in books["stores"].items():
        whole = line["read"] > line["out_of_scope"] and not any(line[column] for column in _LEFT)
        # Rows of a store that was never configured are read and rejected: nothing of it was loaded.
        if store in run.stores and store not in known and whole and not run.options.narrowed:
            run.ledger.put_new({"pk": _stores(run), "sk": store, "run_id": run.run_id, "at": now})
    judged = {one["source"] for one in run.lake.get_json(run.key("shards.json"))["sources"]}
    for source in (one.name for one in run.settings.sources):
        if not run.lake.exists(run.key(f"extract/{source}.json")):  # it was configured after this run
            continue
        if source not in judged or run.options.release:
            rows = run.lake.get_json(run.key(f"extract/{source}.json"))["read"]
            measure = {"rows": rows, "run_id": run.run_id, "at": now, "began": began}
            newest = "attribute_not_exists(#began) OR #began <= :began"
            run.ledger.update(_sources(run), source, measure, newest, {"began": began})


def _stores(run: Run) -> str:
    return f"STORES#{run.settings.retailer}"


def _sources(run: Run) -> str:
    return f"SOURCES#{run.settings.retailer}"
