"""Rejects for people: a CSV that a spreadsheet opens safely, and a pandas frame for notebooks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pandas as pd

#: A cell that begins with one of these is a formula to a spreadsheet (OWASP: CSV injection).
_FORMULA = r"^[=+\-@\t\r\n]"


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with an apostrophe before every text that a spreadsheet would take for a formula."""
    text = pl.selectors.string()
    return frame.with_columns(pl.when(text.str.contains(_FORMULA)).then("'" + text).otherwise(text).name.keep())


def reject_csv(rejects: pl.DataFrame) -> bytes:
    """Return the reject lines as CSV (UTF-8 with a byte order mark, so that spreadsheets read accents right)."""
    buffer = io.BytesIO()
    safe_cells(rejects.drop("row_id", strict=False)).write_csv(buffer, include_bom=True, line_terminator="\r\n")
    return buffer.getvalue()


def reject_frame(rejects: pl.DataFrame) -> pd.DataFrame:
    """Return the reject lines as a pandas frame."""
    return rejects.to_pandas()
