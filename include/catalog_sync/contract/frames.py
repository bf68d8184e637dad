"""The frames in which the contract gives account: rejects, warnings and repairs."""

from __future__ import annotations

import polars as pl

from catalog_sync.contract.codes import Code

#: One line per code that a row breaks; ``row_id`` groups the lines of one row, so that rows count once.
REJECTS = {
    "row_id": pl.UInt32(),
    "store_id": pl.String(),
    "item_sku": pl.String(),
    "code": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
    "source": pl.String(),
    "source_row": pl.Int64(),
}
#: One line per repair; ``row_id`` as above, left out of what the contract returns.
REPAIRS = {
    "row_id": pl.UInt32(),
    "store_id": pl.String(),
    "item_sku": pl.String(),
    "code": pl.String(),
    "field": pl.String(),
    "before": pl.String(),
    "after": pl.String(),
    "source": pl.String(),
    "source_row": pl.Int64(),
}


def short(text: pl.Expr, limit: int = 80) -> pl.Expr:
    """Return the text cut to ``limit`` characters, control characters replaced: fit to be shown."""
    plain = text.str.replace_all(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\N{REPLACEMENT CHARACTER}")
    return pl.when(plain.str.len_chars() > limit).then(plain.str.head(limit - 1) + "…").otherwise(plain)


def rejects(rows: pl.DataFrame, broken: pl.Expr, code: Code, field: str, value: pl.Expr, message: str) -> pl.DataFrame:
    """Return the reject lines of the rows where ``broken`` holds."""
    return rows.filter(broken).select(
        "row_id",
        "store_id",
        "item_sku",
        pl.lit(code.value).alias("code"),
        pl.lit(field).alias("field"),
        short(value.cast(pl.String)).alias("value"),
        pl.lit(message).alias("message"),
        "source",
        "source_row",
    )


def repairs(rows: pl.DataFrame, code: Code, field: str, before: str, after: str) -> pl.DataFrame:
    """Return the repair lines of the rows where column ``after`` differs from column ``before``."""
    changed = rows.filter(pl.col(before).is_not_null() & (pl.col(before) != pl.col(after)))
    return changed.select(
        "row_id",
        "store_id",
        "item_sku",
        pl.lit(code.value).alias("code"),
        pl.lit(field).alias("field"),
        short(pl.col(before), 300).alias("before"),
        short(pl.col(after), 300).alias("after"),
        "source",
        "source_row",
    )
