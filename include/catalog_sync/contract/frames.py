"""The frames in which the contract gives account: rejects, warnings and repairs."""

from __future__ import annotations

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.fields import KEY, PROVENANCE

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


def breaches(rows: pl.DataFrame, broken: pl.Expr, code: Code, field: str, value: pl.Expr, message: str) -> pl.DataFrame:
    """Return a line, by ``row_id``, for each row where ``broken`` holds: a reject line that lacks the row's key."""
    return rows.filter(broken).select(
        "row_id",
        pl.lit(code.value).alias("code"),
        pl.lit(field).alias("field"),
        short(value.cast(pl.String)).alias("value"),
        pl.lit(message).alias("message"),
    )


def mends(rows: pl.DataFrame, code: Code, field: str, before: str, after: str) -> pl.DataFrame:
    """Return a line, by ``row_id``, for each row where the columns differ: a repair line that lacks the row's key."""
    changed = rows.filter(pl.col(before).is_not_null() & (pl.col(before) != pl.col(after)))
    return changed.select(
        "row_id",
        pl.lit(code.value).alias("code"),
        pl.lit(field).alias("field"),
        short(pl.col(before), 300).alias("before"),
        short(pl.col(after), 300).alias("after"),
    )


def keyed(lines: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the lines with key and provenance of their row, in ``rows`` at the place ``row_id``."""
    return lines.hstack(rows.select(*KEY, *PROVENANCE)[lines["row_id"]])
