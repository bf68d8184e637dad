"""The rules that look at several rows: one row per key, one SKU per barcode in a store.

They are judged over the rows that survive all other rules.
"""

from __future__ import annotations

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import rejects
from catalog_sync.fields import ADDITIONAL, ITEM_FIELDS, KEY
from catalog_sync.keyed import within, without

_KEY = list(KEY)


def duplicates(items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the items with one row per key, the reject lines, and the rows that collapsed (``store_id``, ``rows``).

    Equal rows collapse into the first; of rows that differ none is taken, since guessing would send the wrong one.
    """
    repeated = items.filter(pl.struct(_KEY).is_duplicated())
    if repeated.is_empty():
        return items, rejects(items, pl.lit(False), Code.DUPLICATE_KEY, "item_sku", pl.col("item_sku"), ""), _none()
    content = pl.struct(f for f in ITEM_FIELDS if f != ADDITIONAL).struct.json_encode() + pl.col(ADDITIONAL).list.eval(
        pl.element().struct.json_encode()
    ).list.join(",")
    marked = repeated.with_columns(_content=content).with_columns(
        _kinds=pl.col("_content").n_unique().over(_KEY), _turn=pl.int_range(pl.len()).over(_KEY)
    )
    lines = rejects(
        marked,
        pl.col("_kinds") > 1,
        Code.DUPLICATE_KEY,
        "item_sku",
        pl.col("item_sku"),
        "several rows of this SKU in this store differ; the source must say which is right",
    )
    collapsed = marked.filter((pl.col("_kinds") == 1) & (pl.col("_turn") > 0))
    out = pl.concat([collapsed.select("row_id"), lines.select("row_id")])
    kept = without(items, out, ["row_id"])
    return kept, lines, collapsed.group_by("store_id").agg(rows=pl.len().cast(pl.Int64))


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema={"store_id": pl.String, "rows": pl.Int64})


def shared_barcodes(items: pl.DataFrame, claims: pl.DataFrame, holders: pl.DataFrame) -> pl.DataFrame:
    """Return the reject lines of rows whose barcode another row of the same store also claims.

    The SKU that Amazon acknowledged with the barcode keeps it; where none of the claimants is that SKU, all are
    rejected.

    :param claims: ``store_id``, ``item_sku``, ``gtin14`` of the items' barcodes (``barcodes.gtin14s``).
    :param holders: the same of what Amazon acknowledged as active.
    """
    contested = claims.filter(pl.struct("store_id", "gtin14").is_duplicated()).unique()
    contested = contested.filter(pl.struct("store_id", "gtin14").is_duplicated())
    entitled = contested.join(holders, on=["store_id", "item_sku", "gtin14"], how="semi")
    losers = contested.join(entitled, on=["store_id", "item_sku", "gtin14"], how="anti")
    barcode = losers.group_by(_KEY).agg(_gtin=pl.col("gtin14").min())
    lines = within(items, barcode).join(barcode, on=_KEY, maintain_order="left")
    return rejects(
        lines,
        pl.lit(True),
        Code.BARCODE_SHARED,
        "external_product_id",
        pl.col("_gtin"),
        "another SKU of this store claims the same barcode (compared as GTIN-14)",
    )


def waiting(items: pl.DataFrame, claims: pl.DataFrame, holders: pl.DataFrame) -> pl.DataFrame:
    """Return the keys of items whose barcode still belongs, at Amazon, to another SKU that gives it up.

    That other SKU stands in today's items with other barcodes. Its change goes first; the new claim follows in the next
    run. A holder that left the store does not free its barcode, so nothing is gained by waiting for it. Nor is it where
    SKUs wait for each other in a ring (two that swap their barcodes): those do not wait, and Amazon judges them.

    :param claims: barcodes as in ``shared_barcodes``; those of SKUs that are not among the items are passed over.
    :param holders: see ``shared_barcodes``.
    """
    claim = ["store_id", "item_sku", "gtin14"]
    held = claims.join(holders.rename({"item_sku": "_holder"}), on=["store_id", "gtin14"])
    others = held.filter(pl.col("_holder") != pl.col("item_sku"))
    if others.is_empty():
        return items.head(0).select(_KEY)
    # Whoever Amazon acknowledged with the barcode already has nothing to wait for.
    own = within(held.filter(pl.col("_holder") == pl.col("item_sku")), others, claim)
    held = within(without(others, own, claim), items)
    today = items.select("store_id", _holder="item_sku")
    mine = within(claims, items).select("store_id", "gtin14", _holder="item_sku")
    blocked = held.join(today, on=["store_id", "_holder"], how="semi").join(
        mine, on=["store_id", "gtin14", "_holder"], how="anti"
    )
    return _without_rings(blocked.select("store_id", "item_sku", "_holder").unique()).select(_KEY).unique().sort(_KEY)


def _without_rings(edges: pl.DataFrame) -> pl.DataFrame:
    """Return the edges (``item_sku`` waits for ``_holder``) that are part of no ring."""
    ring = edges
    while len(ring):
        # What nobody waits for is in no ring, and neither is what waits for nobody.
        inner = ring.join(ring, left_on=_KEY, right_on=["store_id", "_holder"], how="semi").join(
            ring, left_on=["store_id", "_holder"], right_on=_KEY, how="semi"
        )
        if len(inner) == len(ring):
            break
        ring = inner
    return edges.join(ring, on=[*_KEY, "_holder"], how="anti")
