"""Mapping: the source's columns become the target fields; then a hook of the user's may transform the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from catalog_sync.errors import BadInput, Misconfigured, shorten
from catalog_sync.fields import PROVENANCE, TARGETS
from catalog_sync.settings import Expression, Mapping
from catalog_sync.sources import load_object
from catalog_sync.sources.base import FILE, ROW, TEXT

if TYPE_CHECKING:
    import pandas as pd

    Transform = Callable[[pd.DataFrame], pd.DataFrame]


class Mapper:
    """Maps the batches of one source.

    :param mapping: target field → source column, or a SQL expression over the columns of a row.
    :param source: the source's name.
    :raises Misconfigured: an expression is no SQL, or the mapping is empty.
    """

    def __init__(self, mapping: Mapping, source: str) -> None:
        if not mapping:
            raise Misconfigured(f"source {source!r}: has no mapping: give one for the source, or one for all")
        self._mapping, self._source = mapping, source
        self._made = {target: self._expression(target, mapping.get(target)) for target in TARGETS}
        self._needs = {target: self._made[target].meta.root_names() for target in TARGETS}
        self._seen: set[str] = set()

    def _expression(self, target: str, rule: str | Expression | None) -> pl.Expr:
        if rule is None:
            return pl.lit(None, dtype=pl.String)
        if isinstance(rule, str):
            return pl.col(rule)
        try:
            return pl.sql_expr(rule.expression).cast(pl.String)
        except pl.exceptions.PolarsError as error:
            raise Misconfigured(f"{self._where(target)}: is no SQL expression: {shorten(error, 200)}") from None

    def map(self, raw: pl.DataFrame, sparse: bool = False) -> pl.DataFrame:
        """Return the mapped rows: columns ``TARGETS`` (text; empty becomes null), ``source`` and ``source_row``.

        :param raw: a source's batch: text columns, with ``ROW`` and perhaps ``FILE``.
        :param sparse: a column that is not there is null in this batch; ``finish`` sees to it that some batch has it.
        :raises BadInput: a column of the mapping is not there, or an expression fails.
        """
        columns = [name for name in raw.columns if name not in (ROW, FILE)]
        self._seen.update(columns)
        if not sparse:
            self._check(columns)
        lacking = {name for names in self._needs.values() for name in names if name not in columns}
        raw = raw.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in sorted(lacking))
        name = pl.lit(self._source)
        if FILE in raw.columns:
            name = pl.when(pl.col(FILE) == "").then(name).otherwise(name + ":" + pl.col(FILE))
        try:
            frame = raw.select(**self._made, source=name, source_row=pl.col(ROW))
        except pl.exceptions.PolarsError:
            raise self._culprit(raw, columns) from None
        return frame.with_columns(_empty_to_null())

    def finish(self) -> None:
        """Raise ``BadInput`` when a sparse source had rows, but none had a column of the mapping."""
        if self._seen:
            self._check(sorted(self._seen))

    def _check(self, columns: list[str]) -> None:
        for target, names in self._needs.items():
            for name in names:
                if name not in columns:
                    raise BadInput(
                        f"{self._where(target)}: there is no column {shorten(name)!r}; columns: "
                        f"{shorten(', '.join(columns), 300)}. Mend the mapping, or the source"
                    )

    def _culprit(self, raw: pl.DataFrame, columns: list[str]) -> BadInput:
        """Return the error that names the expression that fails on these rows."""
        for target in TARGETS:
            try:
                raw.select(self._made[target].alias(target), ROW)
            except pl.exceptions.PolarsError as error:
                return BadInput(
                    f"{self._where(target)}: fails: {shorten(error, 200)}; columns: {shorten(', '.join(columns), 300)}"
                )
        return BadInput(f"source {self._source!r}: its mapping fails")

    def _where(self, target: str) -> str:
        rule = self._mapping[target]
        key, text = (".expression", rule.expression) if isinstance(rule, Expression) else ("", rule)
        return f"source {self._source!r}: mapping.{target}{key} = {shorten(text)!r}"


def _empty_to_null() -> Iterable[pl.Expr]:
    return (pl.when(pl.col(target) != "").then(pl.col(target)).alias(target) for target in TARGETS)


def load_transform(name: str) -> Transform:
    """Return the hook ``module:function``.

    :raises Misconfigured: it cannot be imported or is no function.
    """
    found = load_object("transform", name)
    if not callable(found):
        raise Misconfigured(f"transform = {name!r}: is no function")
    hook: Transform = found
    return hook


def transform_rows(rows: pl.DataFrame, hook: Transform, name: str, source: str) -> pl.DataFrame:
    """Return what the hook makes of the rows, checked: it may change, drop and add rows, not columns.

    The hook gets and returns a pandas frame of text. It is called once for each batch that the source yields (up to
    50,000 rows), so it must not depend on seeing all rows at once. A row that it adds may lack ``source`` (then it is
    ``source``'s) and ``source_row`` (then null).

    :raises BadInput: the hook raises, or what it returns is no frame, or lacks a field, or has another column.
    """
    import pandas as pd

    where = f"transform = {name!r}"
    try:
        made = hook(rows.to_pandas())
    except Exception as error:
        raise BadInput(f"{where} raised {type(error).__name__}: {shorten(error, 200)}") from error
    if not isinstance(made, pd.DataFrame):
        raise BadInput(f"{where} returned {type(made).__name__}, not a pandas DataFrame")
    columns = [str(column) for column in made.columns]
    unknown = sorted(set(columns) - {*TARGETS, *PROVENANCE})
    missing = [target for target in TARGETS if target not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        raise BadInput(
            f"{where} returned other columns than it got; unknown: {shorten(', '.join(unknown)) or 'none'}; missing: "
            f"{', '.join(missing) or 'none'}. It must return each of {', '.join(TARGETS)} once"
        )
    try:
        text = {column: _texts(made[column]) for column in (*TARGETS, "source") if column in columns}
    except UnicodeEncodeError as error:
        raise BadInput(f"{where} returned text that cannot be written as UTF-8: {shorten(error)}") from None
    frame = pl.DataFrame(text)
    number = _numbers(made["source_row"], where) if "source_row" in columns else [None] * len(frame)
    given = pl.col("source") if "source" in columns else pl.lit(None, dtype=pl.String)
    return frame.select(
        *_empty_to_null(),
        source=pl.coalesce(given, pl.lit(source)),
        source_row=pl.Series(number, dtype=pl.Int64),
    )


def _texts(column: pd.Series[Any]) -> pl.Series:
    """Return the column as text; what is not text yet is written as Python writes it."""
    try:
        made: Any = pl.from_arrow(pa.array(column, TEXT, from_pandas=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        made = [None if none else str(value) for value, none in zip(column, column.isna(), strict=True)]
    return pl.Series(made, dtype=pl.String)


def _numbers(column: pd.Series[Any], where: str) -> list[int | None]:
    try:
        return [None if none else int(value) for value, none in zip(column, column.isna(), strict=True)]
    except (ValueError, TypeError) as error:
        raise BadInput(f"{where} returned a source_row that is no number: {shorten(error)}") from None
