"""Preparing: shards of whole stores are merged, held to the contract, and compared with what Amazon acknowledged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import catalog_rows
from catalog_sync.changes import CHANGES, changes, price_moves
from catalog_sync.contract.apply import apply_contract
from catalog_sync.contract.report import reject_csv
from catalog_sync.contract.shared import waiting
from catalog_sync.contract.trade_items import Items
from catalog_sync.diff import Action, diff
from catalog_sync.doubt import doubtful_rows
from catalog_sync.fields import BARCODE_FIELDS, KEY, NO_STORE, TARGETS
from catalog_sync.keyed import within
from catalog_sync.leaving import left_of
from catalog_sync.measures import stage
from catalog_sync.merge import merge
from catalog_sync.parallel import cores, in_threads
from catalog_sync.payload import ITEM, with_payload
from catalog_sync.scope import COVERED, DEPARTMENT, Scope, covered_rows
from catalog_sync.shards import extracts
from catalog_sync.source_guards import hold_for_sources
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

_ROW = {**dict.fromkeys(TARGETS, pl.String()), "source": pl.String(), "source_row": pl.Int64()}
#: What is kept of a row that may have to be sent. Its fields are in ``item_json``.
_CANDIDATE = [
    *KEY, "source", "source_row", "item_json", "item_bytes", "content_hash", "action", "price_moved", "hold",
]  # fmt: skip
#: What is asked of an acknowledged row: its content, and the barcodes that it holds.
_STANDING = [*KEY, *BARCODE_FIELDS, "content_hash", "state", "dirty_until", "acknowledged_at"]
#: What a shard's manifest counts by code, and the kinds of objects whose keys it lists.
_BY_CODE = ("repaired", "warned", "rejected")
_KINDS = ("rows", "changes", "rejects", "rejects_csv", "repairs", "warnings", "events", "covered", "left")
Counts = dict[str, Counter[str]]


@stage("prepare")
def prepare(run: Run, shard: dict[str, Any]) -> dict[str, Any]:
    """Prepare one shard: find its rows' faults and its candidates (the rows that may have to be sent).

    :param shard: one of ``shards``.
    :returns: the shard's ``name`` and its ``counts`` in all; the manifest ``prepare/<name>.json`` holds them per
        store, with the keys of what was written.
    """
    made = run.lake.once(run.key(f"prepare/{shard['name']}.json"), lambda: _prepare(run, shard))
    total: Counter[str] = Counter()
    for values in made["counts"].values():
        total.update(values)
    return {"name": shard["name"], "counts": dict(total)}


def _prepare(run: Run, shard: dict[str, Any]) -> dict[str, Any]:
    # No rule looks beyond a store, so that each core can have stores of its own.
    stores, parts = shard["stores"], cores()
    size = max(1, -(-len(stores) // parts))
    shares = [stores[first : first + size] for first in range(0, len(stores), size)] or [[]]
    made = list(in_threads(lambda share: _prepare_stores(run, shard["name"], share), shares))
    counts: Counts = {}
    for part in made:
        for store, values in part["counts"].items():
            counts.setdefault(store, Counter()).update(values)
    return {
        "name": shard["name"],
        "counts": {store: dict(values) for store, values in counts.items()},
        **{what: dict(sum((Counter(part[what]) for part in made), Counter())) for what in _BY_CODE},
        "actions": {store: counted for part in made for store, counted in part["actions"].items()},
        **{kind: [key for part in made for key in part[kind]] for kind in _KINDS},
        "departments": sorted({name for part in made for name in part["departments"]}),
    }


def _prepare_stores(run: Run, name: str, raw_stores: list[str]) -> dict[str, Any]:
    settings, tables, scope = run.settings, Tables(run.lake), Scope.of(run)
    stores = [store for store in raw_stores if store in run.stores]
    frames = _read(run, raw_stores)
    merged = merge(frames, settings.merge)
    acknowledged = tables.read("acknowledged", stores, _STANDING)
    active = acknowledged.filter(pl.col("state") == "ACTIVE")
    result = apply_contract(merged.rows, rules=settings.rules, stores=run.stores, holders=active)
    rejects = pl.concat([merged.rejects, result.rejects], how="diagonal_relaxed")
    items, rejects, out_of_scope = scope.narrow(result.items, rejects, merged.rows)
    counts: Counts = {}
    read = result.counts.select("store_id", rows="read")
    _count(counts, "read", read, merged.merged_away, merged.rejects.unique("row_id"))
    _count(counts, "merged_away", merged.merged_away)
    _count(counts, "collapsed", result.collapsed)
    _count(counts, "rejected", rejects.unique("row_id"))
    _count(counts, "out_of_scope", out_of_scope)
    compared = _compare(run, items, acknowledged, tables.read("refusals", stores), stores)
    compared, long_since = scope.recent(compared, acknowledged)
    _count(counts, "out_of_scope", long_since)
    unchanged = compared.filter(pl.col("action") == Action.UNCHANGED)
    suspended = compared.filter(pl.col("action") == Action.SUSPENDED)
    _count(counts, "unchanged", unchanged)
    _count(counts, "suspended", suspended)
    due = compared.filter(~pl.col("action").is_in([Action.UNCHANGED.value, Action.SUSPENDED.value]))
    changed = _changes(run, items.within(due.filter(pl.col("action") == Action.CHANGED)), tables, stores)
    held = pl.concat([_barcode_waits(waiting(items.within(due), active)), _for_sources(run, due, frames, active)])
    candidates = _marked(due, held, _moved(changed, settings.guards.price_move)).sort(KEY)
    made = {
        "rows": candidates.select(_CANDIDATE),
        "changes": changed,
        "rejects": rejects,
        "repairs": result.repairs,
        "warnings": result.warnings,
        "events": _events(rejects, suspended),
        "covered": covered_rows(items, rejects) if scope.narrows else pl.DataFrame(schema=COVERED),
        "left": left_of(acknowledged, frames),
    }
    return {
        "counts": {store: dict(count) for store, count in counts.items()},
        "repaired": dict(result.repairs.group_by("code").len().iter_rows()),
        "warned": dict(result.warnings.group_by("code").len().iter_rows()),
        "rejected": dict(rejects.group_by("code").len().iter_rows()),
        **{kind: _put(run, f"{kind}/{name}-{run.token()}.parquet", frame) for kind, frame in made.items()},
        "actions": _actions(candidates, active, changed),
        "departments": list(merged.rows[DEPARTMENT].unique().drop_nulls()) if scope.departments else [],
        "rejects_csv": _put_csv(run, f"rejects/{name}-{run.token()}.csv", rejects),
    }


def _read(run: Run, stores: Iterable[str]) -> dict[str, pl.DataFrame]:
    """Return the extracted rows of the stores, by source."""
    wanted = set(stores)
    frames = {}
    for manifest in extracts(run):
        parts = [run.lake.get_frame(part["key"]) for part in manifest["files"] if part["store"] in wanted]
        frames[manifest["source"]] = pl.concat(parts, rechunk=True) if parts else pl.DataFrame(schema=_ROW)
    return frames


def _compare(
    run: Run, items: Items, acknowledged: pl.DataFrame, refusals: pl.DataFrame, stores: list[str]
) -> pl.DataFrame:
    hashed = with_payload(items)
    if refusals.is_empty():
        held = hashed.with_columns(holder=pl.lit(""))
    else:
        blockers = catalog_rows.holders(items.within(within(items.rows, refusals)).whole(), acknowledged)
        held = hashed.join(blockers, on=list(KEY), how="left").with_columns(pl.col("holder").fill_null(""))
    doubtful = doubtful_rows(run, stores)
    # With *changed since* only some of the rows that stand are sent again: ``Scope.recent`` tells which.
    every = run.options.resend and not run.options.changed_since
    if run.options.resend:
        refusals = refusals.head(0)
    return diff(held, acknowledged, refusals, doubtful, run.clock.time(), every)


def _changes(run: Run, items: Items, tables: Tables, stores: list[str]) -> pl.DataFrame:
    """Return what changes in the items, field by field."""
    if items.rows.is_empty():
        return pl.DataFrame(schema=CHANGES)
    before = tables.read("acknowledged", stores, list(ITEM), skus=items.rows["item_sku"].unique())
    return changes(items.whole(), within(before, items.rows))


def _moved(changed: pl.DataFrame, limit: float) -> pl.DataFrame:
    """Return ``KEY`` of the rows whose price moves by more than ``limit`` percent, appears or disappears."""
    moves = price_moves(changed)
    return moves.filter(pl.col("percent").is_null() | (pl.col("percent").abs() > limit)).select(KEY)


def _barcode_waits(waiting: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose barcode its acknowledged holder gives up only in this run: they wait for the next one."""
    return waiting.select(KEY).unique().with_columns(hold=pl.lit("BARCODE_WAITS"))


def _for_sources(run: Run, due: pl.DataFrame, frames: dict[str, pl.DataFrame], active: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that wait for a source that is not empty, short or stale."""
    judged = run.lake.get_json(run.key("shards.json"))["sources"]
    return hold_for_sources(due, frames, judged, active)


def _marked(due: pl.DataFrame, held: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates with ``hold`` (a code, ``""`` for none) and ``price_moved``."""
    first, on = held.unique(KEY, keep="first", maintain_order=True), list(KEY)
    return (
        due.join(first, on=on, how="left")
        .join(moved.with_columns(price_moved=pl.lit(True)), on=on, how="left")
        .with_columns(pl.col("hold").fill_null(""), pl.col("price_moved").fill_null(False))
    )


def _actions(candidates: pl.DataFrame, active: pl.DataFrame, changed: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return by store what a plan's readers see (actions, changed fields), and as ``judged`` what its guards judge.

    What already waits for something else is not judged: it changes nothing in this plan.
    """
    made: dict[str, dict[str, Any]] = {}
    for store, rows in active.group_by("store_id").len().iter_rows():
        made.setdefault(store, {})["active"] = rows
    for store, action, rows in candidates.group_by("store_id", "action").len().iter_rows():
        made.setdefault(store, {})[action] = rows
    free = candidates.filter(pl.col("hold") == "")
    moved = free.filter("price_moved").with_columns(action=pl.lit("price_moved"))
    for store, what, rows in pl.concat([free, moved]).group_by("store_id", "action").len().iter_rows():
        made[store].setdefault("judged", {})[what] = rows
    for store, field, rows in changed.group_by("store_id", "field").len().iter_rows():
        made[store].setdefault("fields", {})[field] = rows
    return made


def _count(counts: Counts, what: str, *frames: pl.DataFrame) -> None:
    """Count rows by store: of a frame with ``rows``, their sum; else its lines."""
    for frame in frames:
        number = pl.col("rows").sum() if "rows" in frame.columns else pl.len()
        for store, rows in frame.group_by("store_id").agg(number.alias("n")).iter_rows():
            counts.setdefault(store or NO_STORE, Counter())[what] += rows


def _events(rejects: pl.DataFrame, suspended: pl.DataFrame) -> pl.DataFrame:
    columns = [pl.col("store_id").fill_null(""), pl.col("item_sku").fill_null(""), "what", "code", "message"]
    return pl.concat(
        [
            rejects.with_columns(what=pl.lit("rejected")).select(columns),
            suspended.with_columns(what=pl.lit("suspended"), code=pl.lit(""), message=pl.lit("")).select(columns),
        ]
    )


def _put(run: Run, name: str, frame: pl.DataFrame) -> list[str]:
    """Write the frame, unless it has no rows, and return the keys of what was written."""
    if frame.is_empty():
        return []
    run.lake.put_frame(run.key(name), frame)
    return [run.key(name)]


def _put_csv(run: Run, name: str, rejects: pl.DataFrame) -> list[str]:
    if rejects.is_empty():
        return []
    run.lake.put(run.key(name), reject_csv(rejects))
    return [run.key(name)]
