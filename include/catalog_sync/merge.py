"""Merging: one row per store and SKU from several sources, field by field."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import REJECTS, rejects
from catalog_sync.fields import KEY, TARGETS
from catalog_sync.settings import MergeSettings

_AWAY = {"store_id": pl.String, "rows": pl.Int64}
_FIELDS = tuple(target for target in TARGETS if target not in KEY)


@dataclass(frozen=True)
class MergeResult:
    """What merging made of the rows; every row that came in is in one of the three, once.

    ``rows``: mapped rows, merged; ``merged_away``: ``store_id`` and how many ``rows`` went into others; ``rejects``:
    rows that could not be merged without guessing.
    """

    rows: pl.DataFrame
    merged_away: pl.DataFrame
    rejects: pl.DataFrame


def merge(frames: dict[str, pl.DataFrame], settings: MergeSettings) -> MergeResult:
    """Merge the sources' rows.

    A field's value is that of the first source, in the field's order of precedence, that has one. The *base* of a key
    is the source with most rows of it (the first in precedence when equal): its rows stay, the others' go into them.
    Where a second source also has several rows of the key, nothing tells which belongs to which, and the base's rows
    are rejected. A row without store or SKU is not merged.

    :param frames: mapped rows by source name.
    :param settings: the orders of precedence; with several sources each is named.
    """
    nothing = MergeResult(pl.DataFrame(), pl.DataFrame(schema=_AWAY), pl.DataFrame(schema=REJECTS))
    if len(frames) == 1:
        return MergeResult(next(iter(frames.values())), nothing.merged_away, nothing.rejects)
    order = list(settings.precedence)
    rank = {name: n for n, name in enumerate(order)}
    whole = pl.concat([frames[name].with_columns(_rank=pl.lit(rank[name], dtype=pl.Int16)) for name in order])
    whole = whole.with_row_index("row_id").with_columns(
        _store=pl.col("store_id").str.strip_chars(), _sku=pl.col("item_sku").str.strip_chars()
    )
    key = ["_store", "_sku"]
    whole = whole.with_columns(_n=pl.len().over(*key), _mine=pl.len().over(*key, "_rank"))
    alone = (pl.col("_n") == pl.col("_mine")) | pl.any_horizontal(pl.col(part).fill_null("") == "" for part in key)
    single, many = whole.filter(alone), whole.filter(~alone)
    if many.is_empty():
        return MergeResult(_plain(single), nothing.merged_away, nothing.rejects)
    many = many.sort("_rank", maintain_order=True).with_columns(
        _base=pl.col("_rank").sort_by(-pl.col("_mine").cast(pl.Int64), "_rank").first().over(*key)
    )
    is_base = pl.col("_rank") == pl.col("_base")
    ambiguous = ((pl.col("_mine") > 1) & ~is_base).any().over(*key)
    many = many.with_columns(_ambiguous=ambiguous)
    base = many.filter(is_base)
    away = many.filter(~is_base).group_by("store_id").agg(rows=pl.len().cast(pl.Int64))
    lines = rejects(
        base,
        pl.col("_ambiguous"),
        Code.DUPLICATE_KEY,
        "item_sku",
        pl.col("item_sku"),
        "several sources have several rows of this SKU in this store: nothing tells which belong together",
    )
    sound = many.filter(~pl.col("_ambiguous"))
    merged = _fill(sound, order, rank, settings, key)
    return MergeResult(pl.concat([_plain(single), _plain(merged)]), away, lines)


def _fill(
    rows: pl.DataFrame, order: list[str], rank: dict[str, int], settings: MergeSettings, key: list[str]
) -> pl.DataFrame:
    """Return the base rows, each field filled by its order of precedence from the other sources' single rows."""
    base = rows.filter(pl.col("_rank") == pl.col("_base"))
    donors = rows.filter(pl.col("_rank") != pl.col("_base"))
    for name in order:
        one = donors.filter(pl.col("_rank") == rank[name]).select(
            *key, *(pl.col(field).alias(f"{field}@{name}") for field in _FIELDS)
        )
        base = base.join(one, on=key, how="left", maintain_order="left")
    filled = []
    for field in _FIELDS:
        values = [
            pl.when(pl.col("_rank") == rank[name]).then(pl.col(field)).otherwise(pl.col(f"{field}@{name}"))
            for name in (*settings.fields.get(field, ()), *order)
        ]
        filled.append(pl.coalesce(values).alias(field))
    return base.with_columns(filled)


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("row_id").select(*TARGETS, "source", "source_row")
