"""The rules that look at several rows: one row per key, one SKU per barcode in a store.

They are judged over the rows that survive all other rules.
"""

from __future__ import annotations

import polars as pl

from catalog_sync.barcodes import gtin14s
from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import breaches
from catalog_sync.contract.trade_items import Items
from catalog_sync.fields import ADDITIONAL, ITEM_FIELDS, KEY
from catalog_sync.keyed import repeated, within, without

_CLAIM = [*KEY, "gtin14"]


def duplicates(items: Items) -> tuple[Items, pl.DataFrame, pl.DataFrame]:
    """Return the items with one row per key, the reject lines, and the rows that collapsed (``store_id``, ``rows``).

    Equal rows collapse into the first; of rows that differ none is taken, since guessing would send the wrong one.
    """
    twice = items.within(repeated(items.rows))
    content = pl.struct(f for f in ITEM_FIELDS if f != ADDITIONAL).struct.json_encode() + pl.col(ADDITIONAL).list.eval(
        pl.element().struct.json_encode()
    ).list.join(",")
    marked = (
        twice.whole()
        .select(*KEY, _content=content)
        .with_columns(twice.rows["row_id"], _kinds=pl.col("_content").n_unique().over(KEY))
        .with_columns(_turn=pl.int_range(pl.len()).over(KEY))
    )
    lines = breaches(
        marked,
        pl.col("_kinds") > 1,
        Code.DUPLICATE_KEY,
        "item_sku",
        pl.col("item_sku"),
        "several rows of this SKU in this store differ; the source must say which is right",
    )
    collapsed = marked.filter((pl.col("_kinds") == 1) & (pl.col("_turn") > 0))
    out = pl.concat([collapsed.select("row_id"), lines.select("row_id")])
    kept = items.within(without(items.rows, out, ["row_id"]))
    return kept, lines, collapsed.group_by("store_id").agg(rows=pl.len().cast(pl.Int64))


def shared_barcodes(items: Items, holders: pl.DataFrame) -> pl.DataFrame:
    """Return the reject lines of rows whose barcode another row of the same store also claims.

    The SKU that Amazon acknowledged with the barcode keeps it; where none of the claimants is that SKU, all are
    rejected.

    :param holders: what Amazon acknowledged as active: ``KEY`` and ``BARCODE_FIELDS``.
    """
    # Only a barcode that two trade items have can be claimed twice in a store.
    claims = items.claims(repeated(items.barcodes(), ["gtin14"]))
    contested = repeated(claims, ["store_id", "gtin14"])
    entitled = gtin14s(within(holders, contested)) if len(contested) else contested
    losers = without(contested, entitled, _CLAIM)
    barcode = losers.group_by(KEY).agg(_gtin=pl.col("gtin14").min())
    return breaches(
        within(items.rows, barcode).join(barcode, on=list(KEY), maintain_order="left"),
        pl.lit(True),
        Code.BARCODE_SHARED,
        "external_product_id",
        pl.col("_gtin"),
        "another SKU of this store claims the same barcode (compared as GTIN-14)",
    )


def waiting(items: Items, holders: pl.DataFrame) -> pl.DataFrame:
    """Return the keys of items whose barcode still belongs, at Amazon, to another SKU that gives it up.

    That other SKU stands among the items with other barcodes. Its change goes first; the new claim follows in the next
    run. A holder that left the store does not free its barcode, so nothing is gained by waiting for it. Nor is it where
    SKUs wait for each other in a ring (two that swap their barcodes): those do not wait, and Amazon judges them.

    :param items: those that would be sent now.
    :param holders: as for ``shared_barcodes``.
    """
    nobody = items.rows.head(0).select(KEY)
    if items.rows.is_empty() or holders.is_empty():
        return nobody
    claims = items.claims(items.barcodes())
    # Whoever Amazon acknowledged with the barcode already has nothing to wait for.
    new = without(claims, gtin14s(within(holders, items.rows)), _CLAIM)
    if new.is_empty():
        return nobody
    held = new.join(gtin14s(holders).rename({"item_sku": "_holder"}), on=["store_id", "gtin14"])
    today = items.rows.select("store_id", _holder="item_sku")
    kept = claims.rename({"item_sku": "_holder"})
    blocked = held.join(today, on=["store_id", "_holder"], how="semi").join(
        kept, on=["store_id", "gtin14", "_holder"], how="anti"
    )
    return _without_rings(blocked.select("store_id", "item_sku", "_holder").unique()).select(KEY).unique().sort(KEY)


def _without_rings(edges: pl.DataFrame) -> pl.DataFrame:
    """Return the edges (``item_sku`` waits for ``_holder``) that are part of no ring."""
    ring = edges
    while len(ring):
        # What nobody waits for is in no ring, and neither is what waits for nobody.
        inner = ring.join(ring, left_on=KEY, right_on=["store_id", "_holder"], how="semi").join(
            ring, left_on=["store_id", "_holder"], right_on=KEY, how="semi"
        )
        if len(inner) == len(ring):
            break
        ring = inner
    return edges.join(ring, on=[*KEY, "_holder"], how="anti")
