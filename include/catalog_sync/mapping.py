"""Mapping: the source's columns become the target fields; then a hook of the user's may transform the rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.errors import BadInput, Misconfigured, shorten
from catalog_sync.fields import PROVENANCE, TARGETS
from catalog_sync.settings import Expression, Mapping
from catalog_sync.sources.base import FILE, ROW

if TYPE_CHECKING:
    import pandas as pd

    Transform = Callable[[pd.DataFrame], pd.DataFrame]


def map_rows(raw: pl.DataFrame, mapping: Mapping, source: str) -> pl.DataFrame:
    """Return the mapped rows: columns ``TARGETS`` (text; empty becomes null), ``source`` and ``source_row``.

    :param raw: a source's batch: text columns, with ``ROW`` and perhaps ``FILE``.
    :param mapping: target field → source column, or a SQL expression over the source's columns.
    :raises BadInput: a column of the mapping is not there, or an expression fails.
    """
    columns = [name for name in raw.columns if name not in (ROW, FILE)]
    made = {target: _expression(target, mapping.get(target), columns, source) for target in TARGETS}
    name = pl.lit(source)
    if FILE in raw.columns:
        name = pl.when(pl.col(FILE) == "").then(pl.lit(source)).otherwise(pl.lit(source) + ":" + pl.col(FILE))
    try:
        frame = raw.select(
            **{target: made[target].cast(pl.String) for target in TARGETS}, source=name, source_row=pl.col(ROW)
        )
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"source {source!r}: an expression of its mapping fails: {shorten(error, 300)}") from None
    return frame.with_columns(pl.when(pl.col(target) != "").then(pl.col(target)).alias(target) for target in TARGETS)


def _expression(target: str, rule: str | Expression | None, columns: list[str], source: str) -> pl.Expr:
    if rule is None:
        return pl.lit(None, dtype=pl.String)
    if isinstance(rule, Expression):
        try:
            return pl.sql_expr(rule.expression)
        except pl.exceptions.PolarsError as error:
            raise BadInput(
                f"source {source!r}: mapping.{target}.expression = {shorten(rule.expression)!r}: {shorten(error, 200)}"
            ) from None
    if rule not in columns:
        raise BadInput(
            f"source {source!r}: mapping.{target} = {rule!r}: there is no such column; columns: "
            f"{shorten(', '.join(columns), 300)}. Mend the mapping, or the source's header"
        )
    return pl.col(rule)


def load_transform(name: str) -> Transform:
    """Return the hook ``module:function``.

    :raises Misconfigured: it cannot be imported or is no function.
    """
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"transform = {name!r}: {shorten(error)}; it must be importable from include/") from None
    if not callable(found):
        raise Misconfigured(f"transform = {name!r}: is no function")
    hook: Transform = found
    return hook


def transform_rows(rows: pl.DataFrame, hook: Transform, name: str) -> pl.DataFrame:
    """Return what the hook makes of the rows, checked: it may change, drop and add rows, not columns.

    The hook gets and returns a pandas frame of text. It is called once for each batch that the source yields (up to
    50,000 rows), so it must not depend on seeing all rows at once.

    :raises BadInput: the hook raised, or what it returned is no frame of these columns.
    """
    import pandas as pd

    try:
        made = hook(rows.to_pandas())
    except Exception as error:
        raise BadInput(f"transform = {name!r} raised {type(error).__name__}: {shorten(error, 200)}") from error
    if not isinstance(made, pd.DataFrame):
        raise BadInput(f"transform = {name!r} returned {type(made).__name__}, not a pandas DataFrame")
    known = [*TARGETS, *PROVENANCE]
    unknown = sorted(set(map(str, made.columns)) - set(known))
    if unknown:
        raise BadInput(f"transform = {name!r} returned the unknown column(s) {shorten(', '.join(unknown))}")
    made = made.reindex(columns=known)
    frame = pl.from_pandas(
        made.astype({target: "object" for target in TARGETS}).where(made.notna(), None), nan_to_null=True
    )
    text = [pl.col(target).cast(pl.String, strict=False) for target in TARGETS]
    out = frame.select(*text, pl.col("source").cast(pl.String), pl.col("source_row").cast(pl.Int64, strict=False))
    return out.with_columns(pl.when(pl.col(target) != "").then(pl.col(target)).alias(target) for target in TARGETS)
