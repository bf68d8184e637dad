"""Choosing the rows of a frame by whether their key stands in another frame, or more than once in their own.

A semi or anti join of Polars moves every column of every row that it keeps, and moving a list of structs out of a frame
of many chunks takes 1 µs a row (out of one chunk: 0.03). Here only the key columns are joined, and the frame is
filtered, which is many times cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from catalog_sync.fields import KEY


def within(frame: pl.DataFrame, keys: pl.DataFrame, on: Sequence[str] = KEY) -> pl.DataFrame:
    """Return the rows of ``frame``, in their order, whose key stands in ``keys``."""
    return frame.filter(_found(frame, keys, on))


def without(frame: pl.DataFrame, keys: pl.DataFrame, on: Sequence[str] = KEY) -> pl.DataFrame:
    """Return the rows of ``frame``, in their order, whose key does not stand in ``keys``."""
    return frame.filter(~_found(frame, keys, on))


def repeated(frame: pl.DataFrame, on: Sequence[str] = KEY) -> pl.DataFrame:
    """Return the rows of ``frame``, in their order, whose key stands in it more than once.

    Equal keys have equal hashes, so only the few rows whose hash repeats are compared by their text.
    """
    alike = frame.filter(frame.select(on).hash_rows().is_duplicated())
    return alike.filter(pl.struct(on).is_duplicated())


def _found(frame: pl.DataFrame, keys: pl.DataFrame, on: Sequence[str]) -> pl.Series:
    marks = keys.select(on).unique().with_columns(_found=pl.lit(True))
    joined = frame.select(on).join(marks, on=list(on), how="left", maintain_order="left")
    return joined["_found"].fill_null(False)
