"""Archive batches: SKUs that Amazon is asked to archive in every store, sent and followed like batches of an upload.

A batch has one *item* for each SKU. Its rows are those that Amazon has of them, in whichever stores, by the item's
``position``; in doubt, and settled, is each of its SKUs in each store of its request.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.fields import KEY

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: What a batch of archives has as ``operation``; one of an upload has none.
OPERATION = "archive"
#: SKUs times stores of one request: what settling it may touch. It bounds memory.
MAX_KEYS = 20_000


def write_archives(run: Run, number: int, first: int, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Write requests that archive the rows' SKUs in every configured store, and return the batches.

    :param number: the plan's number, 0 in a dry run.
    :param first: the number of the first batch.
    :param rows: ``KEY``, ``content_hash`` and ``action`` of what Amazon has of these SKUs, all of it.
    """
    from catalog_sync.plan import cut

    stores, api = list(run.stores), run.settings.api
    skus = rows.select("item_sku").unique().sort("item_sku")
    most = max(1, min(api.max_items, MAX_KEYS // len(stores)))
    room = api.max_bytes - len(_payload([], stores))
    pieces = cut(skus["item_sku"].str.len_bytes() + len('""'), most, room)
    folder = run.key(f"batches/{number:06d}" if number else f"batches/dry-{run.token()}")
    return [
        _write(run, folder, batch, skus[start:stop].with_row_index("position"), rows, stores)
        for batch, (start, stop) in enumerate(pieces, first)
    ]


def is_archive(batch: dict[str, Any]) -> bool:
    """Tell whether the batch archives."""
    return batch.get("operation") == OPERATION


def batch_keys(run: Run, batch: dict[str, Any], start: int, stop: int) -> pl.DataFrame:
    """Return ``KEY`` of what the batch's items from ``start`` to before ``stop`` are about."""
    if not is_archive(batch):
        return run.lake.get_frame(str(batch["rows_key"]), list(KEY))[start:stop]
    return every_store(skus_of(run, batch, start, stop), batch).select(KEY)


def skus_of(run: Run, batch: dict[str, Any], start: int, stop: int) -> pl.DataFrame:
    """Return ``item_sku`` and ``position`` of the archive batch's items."""
    rows = run.lake.get_frame(str(batch["rows_key"]), ["item_sku", "position"]).unique().sort("position")
    return rows[start:stop]


def every_store(skus: pl.DataFrame, batch: dict[str, Any]) -> pl.DataFrame:
    """Return the lines of the SKUs, one for each store of the batch's request."""
    stores = pl.DataFrame({"store_id": batch["stores"]}, schema={"store_id": pl.String})
    return skus.drop("store_id", strict=False).join(stores, how="cross")


def without_skus(
    run: Run, batch: dict[str, Any], rows: pl.DataFrame, why: pl.Series
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the events of the SKUs that are left out, all of a SKU or nothing, and the batch of the others.

    :param rows: of the batch; ``why``: for each, why it must not be archived now, null where it may.
    """
    reasons = rows.select("item_sku", message=why).filter(pl.col("message").is_not_null()).unique("item_sku")
    out = rows.join(reasons, on="item_sku").select(*KEY, "message", what=pl.lit("in_doubt"), code=pl.lit(""))
    kept = rows.drop("position").join(reasons, on="item_sku", how="anti")
    skus = kept.select("item_sku").unique().sort("item_sku").with_row_index("position")
    folder = f"{batch['key'].rpartition('/')[0]}/{run.token()}"
    made = _write(run, folder, batch["number"], skus, kept, batch["stores"])
    return out.select(*KEY, "what", "code", "message"), made


def _write(
    run: Run, folder: str, number: int, skus: pl.DataFrame, rows: pl.DataFrame, stores: list[str]
) -> dict[str, Any]:
    payload = _payload(skus["item_sku"].to_list(), stores)
    mine = rows.select(*KEY, "content_hash", "action").join(skus, on="item_sku").sort("position", "store_id")
    key, rows_key = f"{folder}/{number:05d}.json.zst", f"{folder}/{number:05d}.rows.parquet"
    run.lake.put_compressed(key, payload)
    run.lake.put_frame(rows_key, mine)
    return {
        "number": number,
        "operation": OPERATION,
        "key": key,
        "rows_key": rows_key,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "items": len(skus),
        "bytes": len(payload),
        "ranges": [],
        "stores": stores,
    }


def _payload(skus: list[str], stores: list[str]) -> bytes:
    """Return the body of a request (``archive_catalog_api``)."""
    return json.dumps({"itemSkus": skus, "allApplicableStores": stores}, separators=(",", ":")).encode()
