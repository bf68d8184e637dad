"""What a source is: one method that yields Arrow batches of text, and a list of the rows that it could not read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

#: Reserved columns of a batch: the row's number in its file (from 1), and the file when a source has several.
ROW, FILE = "__row", "__file"
#: Rows of one batch; it bounds the memory of a reader.
BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Unreadable:
    """A row that could not be read: its number (from 1), its file, and why, with what could be seen of it."""

    row: int
    file: str
    reason: str
    value: str = ""


class Source(ABC):
    """A source of raw rows.

    Columns are text (a leading zero is never lost) and may be null. A batch may carry ``ROW`` and ``FILE``; without
    them rows are numbered in the order in which they come. Nothing of a source that raises is ever used.

    :ivar unreadable: filled while ``batches`` is read.
    :ivar modified_at: when the data was last changed (Unix seconds), where the source can tell; known once read.
    """

    def __init__(self) -> None:
        self.unreadable: list[Unreadable] = []
        self.modified_at: float | None = None

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows.

        :raises BadInput: the source as a whole cannot be read, or only half of it.
        """


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with every column as text: numbers as written, dates in ISO form, lists joined by ``|``."""
    exprs = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if isinstance(kind, pl.List):
            column = column.cast(pl.List(pl.String)).list.join("|")
        elif isinstance(kind, pl.Datetime):
            column = column.dt.to_string("iso:strict")
        elif kind == pl.Binary:
            column = column.cast(pl.String, strict=False)
        elif kind != pl.String:
            column = column.cast(pl.String)
        exprs.append(column.alias(name))
    return frame.select(exprs)
