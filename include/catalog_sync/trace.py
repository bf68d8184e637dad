"""Where one item is found in what a run left: its source rows, what the rules said of it, its place in the plan.

A look-up goes by the store, and within a store by the SKU, or by the SKU through what the shards left: what was read
or is due is never read whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.archives import is_archive
from catalog_sync.attempts import Attempt
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.doubt import attempts_of
from catalog_sync.outcomes import archive_words

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Lines shown of one kind for one item; a source that repeats a row a thousand times is not shown a thousand times.
SHOWN = 20
#: The stages that a run leaves lines of an item in, and the columns that are told.
LINES = {
    "rejects": ("code", "field", "value", "message", "source", "source_row"),
    "repairs": ("code", "field", "before", "after", "source", "source_row"),
    "warnings": ("code", "field", "value", "message", "source", "source_row"),
}
_CANDIDATE = ("action", "hold", "content_hash", "price_moved")
_OUTCOME = ["outcome", "code", "message"]

Row = dict[str, Any]
_UNTOLD: Row = dict.fromkeys(_OUTCOME, "")


def source_rows(run: Run, store: str, sku: str) -> list[Row]:
    """Return the mapped rows that the sources had of the item, as they came, with ``source`` and ``source_row``."""
    found: list[Row] = []
    part_of = store if store in run.stores else ""
    same = (as_repaired(pl.col("item_sku")) == sku) & (as_repaired(pl.col("store_id")).fill_null("") == store)
    for source in run.sources:
        key = run.key(f"extract/{source}.json")
        if not run.lake.exists(key):
            continue
        for part in run.lake.get_json(key)["files"]:
            if part["store"] == part_of:
                found += _rows(run, part["key"], same)
    return [{field: value for field, value in row.items() if value not in (None, "")} for row in found[:SHOWN]]


def prepared(run: Run, store: str) -> Row:
    """Return the manifest of ``prepare`` for the store; empty when the run has not come so far or read none of it."""
    part_of = store if store in run.stores else ""
    return next((_manifest(run, shard) for shard in _shards(run) if part_of in shard["stores"]), {})


def shards(run: Run) -> list[Row]:
    """Return the manifests of ``prepare`` of every shard; an empty one where the run has not come so far."""
    return [_manifest(run, shard) for shard in _shards(run)]


def read_stores(run: Run) -> frozenset[str]:
    """Return the stores of which the run has read rows; the empty one stands for those that are not configured."""
    return frozenset(store for shard in _shards(run) for store in shard["stores"])


def _shards(run: Run) -> list[Row]:
    key = run.key("shards.json")
    return list(run.lake.get_json(key)["shards"]) if run.lake.exists(key) else []


def _manifest(run: Run, shard: Row) -> Row:
    key = run.key(f"prepare/{shard['name']}.json")
    return dict(run.lake.get_json(key)) if run.lake.exists(key) else {}


def lines(run: Run, manifest: Row, store: str, sku: str) -> dict[str, list[Row]]:
    """Return what the rules rejected, repaired and warned of in the item (see ``LINES``)."""
    same = (pl.col("item_sku") == sku) & (pl.col("store_id").fill_null("") == store)
    return {
        kind: [{name: row[name] for name in columns} for row in _all(run, manifest.get(kind, ()), same)]
        for kind, columns in LINES.items()
    }


def candidate(run: Run, manifest: Row, store: str, sku: str) -> Row:
    """Return the item's ``action``, ``hold``, ``content_hash`` and ``price_moved`` if it was due; else nothing."""
    same = (pl.col("item_sku") == sku) & (pl.col("store_id") == store)
    found = _all(run, manifest.get("rows", ()), same, _CANDIDATE)
    return found[0] if found else {}


def said(run: Run, made: Iterable[Row], sku: str) -> list[Row]:
    """Return ``store_id``, ``what``, ``code`` and ``message`` of the SKU where it is not sent, before the run settles.

    :param made: manifests of ``prepare``, and the plan.
    """
    columns = ("store_id", "what", "code", "message")
    return [row for one in made for key in one.get("events", ()) for row in _rows(run, key, _is(sku), columns, None)]


def left_in(run: Run, made: Iterable[Row], sku: str) -> frozenset[str]:
    """Return the stores in which Amazon has the SKU, or may have it, and no source had it.

    :param made: manifests of ``prepare``.
    """
    keys = [key for one in made for key in one.get("left", ())]
    return frozenset(row["store_id"] for key in keys for row in _rows(run, key, _is(sku), ["store_id"], None))


def _is(sku: str) -> pl.Expr:
    return pl.col("item_sku") == sku


def planned(run: Run, batches: list[Row], store: str, sku: str) -> tuple[Row, int] | None:
    """Return the batch that carries the item, and its position there; ``None`` when none does.

    A store's rows lie sorted in neighbouring batches, so that few of them are looked at. An archive counts where Amazon
    has the item in this store.

    :param batches: the plan's ``batch_list``.
    """
    return _uploaded(run, batches, store, sku) or _archived(run, batches, store, sku)


def _archived(run: Run, batches: list[Row], store: str, sku: str) -> tuple[Row, int] | None:
    same = (pl.col("item_sku") == sku) & (pl.col("store_id") == store)
    for batch in filter(is_archive, batches):
        if found := _rows(run, batch["rows_key"], same, ["position"]):
            return batch, int(found[0]["position"])
    return None


def _uploaded(run: Run, batches: list[Row], store: str, sku: str) -> tuple[Row, int] | None:
    mine = [batch for batch in batches if any(piece["store"] == store for piece in batch["ranges"])]
    low, high = 0, len(mine)
    while low < high:
        middle = (low + high) // 2
        batch = mine[middle]
        [piece] = [piece for piece in batch["ranges"] if piece["store"] == store]
        skus = run.lake.get_frame(batch["rows_key"], ["item_sku"])["item_sku"][piece["start"] : piece["stop"]]
        if sku < skus[0]:
            high = middle
        elif sku > skus[-1]:
            low = middle + 1
        else:
            place = skus.search_sorted(sku)
            return (batch, piece["start"] + int(place)) if skus[int(place)] == sku else None
    return None


def attempts(run: Run, batch: Row, store: str, position: int) -> list[Row]:
    """Return every request that carried the item, in order, with what became of the item in it, in this store.

    :param batch: of the plan's ``batch_list``; ``position``: the item's there.
    """
    told = _archive_outcome if is_archive(batch) else _outcome
    return [
        {**told_of(attempt), **told(run, attempt, store, position)}
        for attempt in attempts_of(run).of_batch(run.run_id, batch["number"])
        if attempt.start <= position < attempt.stop
    ]


def told_of(attempt: Attempt) -> Row:
    """Return what is shown of an attempt: never its link."""
    item = attempt.item
    return {
        "run_id": attempt.key.run_id,
        "batch": attempt.key.batch,
        "attempt": attempt.key.number,
        "plan_number": attempt.plan_number,
        "rows": attempt.rows,
        "state": attempt.end.value,
        "settled": "ended_as" in item,
        "ingestion_id": attempt.ingestion_id,
        "sent_at": attempt.sent_at,
        "accepted_at": item.get("accepted_at"),
        "ended_at": item.get("ended_at"),
        "reported_by": item.get("reported_by", ""),
        "http_status": item.get("http_status"),
        "said": item.get("message", ""),
        "report": attempt.report_key,
    }


def _outcome(run: Run, attempt: Attempt, store: str, position: int) -> Row:
    outcomes = _outcomes(run, attempt, _OUTCOME)
    return _UNTOLD if outcomes is None else outcomes.row(position - attempt.start, named=True)


def _archive_outcome(run: Run, attempt: Attempt, store: str, position: int) -> Row:
    """Return what became of an archive, whose SKU has a line for each store."""
    outcomes = _outcomes(run, attempt, [*_OUTCOME, "content_hash", "store_id", "position"])
    if outcomes is None:
        return _UNTOLD
    mine = outcomes.filter((pl.col("position") == position) & (pl.col("store_id") == store))
    return archive_words(mine).select(_OUTCOME).row(0, named=True)


def _outcomes(run: Run, attempt: Attempt, columns: list[str]) -> pl.DataFrame | None:
    key = f"runs/{attempt.key.run_id}/outcomes/{attempt.key.name}.parquet"
    return run.lake.get_frame(key, columns) if run.lake.exists(key) else None


def _all(run: Run, keys: Iterable[str], same: pl.Expr, columns: Iterable[str] = ()) -> list[Row]:
    return [row for key in keys for row in _rows(run, key, same, columns)][:SHOWN]


def _rows(run: Run, key: str, same: pl.Expr, columns: Iterable[str] = (), most: int | None = SHOWN) -> list[Row]:
    """Return some rows of a Parquet object, ``most`` of them; only what they need is decoded."""
    rows = pl.scan_parquet(io.BytesIO(run.lake.get(key))).filter(same)
    rows = rows.select(list(columns)) if columns else rows
    return (rows if most is None else rows.head(most)).collect().to_dicts()
