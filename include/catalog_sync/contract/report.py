"""Rejects for people: a CSV that a spreadsheet opens safely, and a pandas frame for notebooks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.contract.frames import short

if TYPE_CHECKING:
    import pandas as pd

#: A cell that begins with one of these, perhaps after blanks, is a formula to a spreadsheet (OWASP: CSV injection).
_FORMULA = r"^\s*[=+\-@＝＋－＠]|^[\t\r\n]"


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with texts that a spreadsheet cannot take for a formula, cut and free of control characters."""
    raw = pl.selectors.string()
    text = short(raw, 255)
    return frame.with_columns(pl.when(raw.str.contains(_FORMULA)).then("'" + text).otherwise(text).name.keep())


def reject_csv(rejects: pl.DataFrame) -> bytes:
    """Return the reject lines as CSV (UTF-8 with a byte order mark, so that spreadsheets read accents right)."""
    return people_csv(rejects.drop("row_id", strict=False))


def people_csv(frame: pl.DataFrame) -> bytes:
    """Return the frame as CSV that a spreadsheet opens safely (see ``safe_cells``)."""
    buffer = io.BytesIO()
    safe_cells(frame).write_csv(buffer, include_bom=True, line_terminator="\r\n")
    return buffer.getvalue()


def reject_frame(rejects: pl.DataFrame) -> pd.DataFrame:
    """Return the reject lines as a pandas frame, for notebooks; texts as they came."""
    return rejects.to_pandas()
