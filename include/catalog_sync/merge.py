"""Merging: one row per store and SKU from several sources, field by field."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import REJECTS, breaches, keyed
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.fields import KEY, TARGETS
from catalog_sync.settings import MergeSettings

_AWAY = {"store_id": pl.String, "rows": pl.Int64}
_FIELDS = tuple(target for target in TARGETS if target not in KEY)
#: The key as it is compared: as the contract will have repaired it (it treats SKU and store alike), so that a
#: spreadsheet's ``12.0`` meets the database's ``12``.
_KEY = ["_store", "_sku"]


@dataclass(frozen=True)
class MergeResult:
    """What merging made of the rows; every row that came in is in one of the three, once.

    ``rows``: mapped rows, merged; ``merged_away``: ``store_id`` (as repaired) and how many ``rows`` went into
    others; ``rejects``: rows that could not be merged without guessing, with a ``row_id`` that no row of ``rows`` has
    as its place.
    """

    rows: pl.DataFrame
    merged_away: pl.DataFrame
    rejects: pl.DataFrame


def merge(frames: dict[str, pl.DataFrame], settings: MergeSettings) -> MergeResult:
    """Merge the sources' rows.

    A field's value is that of the first source, in the field's order of precedence, that has one (blanks are none). A
    barcode's type describes that very barcode, so it comes from the sources that have the barcode that won.

    The *base* of a key is the source with most rows of it (the first in precedence when equal): its rows stay, the
    others' go into them. Where a second source has several rows of the key that differ, nothing tells which belongs
    to which, and the base's rows are rejected. A row without store or SKU is not merged.

    :param frames: mapped rows by source name.
    :param settings: the orders of precedence; with several sources each is named.
    """
    none_away, no_rejects = pl.DataFrame(schema=_AWAY), pl.DataFrame(schema=REJECTS)
    if len(frames) == 1:
        return MergeResult(next(iter(frames.values())), none_away, no_rejects)
    order = list(settings.precedence)
    whole = pl.concat([frames[name].with_columns(_rank=pl.lit(n, dtype=pl.Int16)) for n, name in enumerate(order)])
    whole = whole.with_row_index("row_id").with_columns(
        _store=as_repaired(pl.col("store_id")), _sku=as_repaired(pl.col("item_sku"))
    )
    whole = whole.with_columns(_n=pl.len().over(_KEY), _mine=pl.len().over(*_KEY, "_rank").cast(pl.Int64))
    alone = (pl.col("_n") == pl.col("_mine")) | pl.any_horizontal(pl.col(part).fill_null("") == "" for part in _KEY)
    single, many = whole.filter(alone), whole.filter(~alone)
    if many.is_empty():
        return MergeResult(_plain(single), none_away, no_rejects)
    many = many.with_columns(_base=pl.col("_rank").sort_by(-pl.col("_mine"), "_rank").first().over(_KEY))
    base, others = many.filter(pl.col("_rank") == pl.col("_base")), many.filter(pl.col("_rank") != pl.col("_base"))
    # Equal rows of another source are one giver; what differs is one each.
    givers = others.unique([*_KEY, "_rank", *_FIELDS], maintain_order=True)
    unclear = givers.filter(pl.len().over(*_KEY, "_rank") > 1).select(_KEY).unique()
    rejected = base.join(unclear, on=_KEY, how="semi", maintain_order="left")
    merged = _fill(base.join(unclear, on=_KEY, how="anti", maintain_order="left"), givers, order, settings)
    rows = pl.concat([_plain(single), _plain(merged)])
    rejected = rejected.drop("row_id").with_row_index("row_id").with_columns(store_id="_store")
    lines = breaches(
        rejected,
        pl.lit(True),
        Code.DUPLICATE_KEY,
        "item_sku",
        pl.col("item_sku"),
        "several sources have several rows of this SKU in this store: nothing tells which belong together",
    )
    lines = keyed(lines, rejected).select(list(REJECTS)).with_columns(pl.col("row_id") + len(rows))
    return MergeResult(rows, others.group_by(store_id="_store").agg(rows=pl.len().cast(pl.Int64)), lines)


def _fill(base: pl.DataFrame, givers: pl.DataFrame, order: list[str], settings: MergeSettings) -> pl.DataFrame:
    """Return the base rows, each field filled by its order of precedence from the other sources' single rows."""
    for rank in range(len(order)):
        one = givers.filter(pl.col("_rank") == rank).select(*_KEY, *(pl.col(f).alias(f"{f}@{rank}") for f in _FIELDS))
        base = base.join(one, on=_KEY, how="left", maintain_order="left")

    def of(field: str, rank: int) -> pl.Expr:
        """Return the field's value in the source of that rank; null where it is blank."""
        value = pl.when(pl.col("_rank") == rank).then(pl.col(field)).otherwise(pl.col(f"{field}@{rank}"))
        return pl.when(value.str.strip_chars() != "").then(value)

    def first(field: str) -> pl.Expr:
        ranks = [order.index(name) for name in dict.fromkeys((*settings.fields.get(field, ()), *order))]
        if field != "external_product_id_type":
            return pl.coalesce(of(field, rank) for rank in ranks)
        won = first("external_product_id").str.strip_chars()
        same = [of("external_product_id", rank).str.strip_chars().eq_missing(won) for rank in ranks]
        return pl.coalesce(pl.when(is_it).then(of(field, rank)) for is_it, rank in zip(same, ranks, strict=True))

    return base.with_columns(first(field).alias(field) for field in _FIELDS)


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("row_id").select(*TARGETS, "source", "source_row")
