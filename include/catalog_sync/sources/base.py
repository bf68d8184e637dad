"""What a source is: one method that yields Arrow batches of text, and a list of the rows that it could not read."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog_sync.errors import BadInput, shorten

#: Reserved columns of a batch: the row's number in its file (from 1), and the file when a source has several.
ROW, FILE = "__row", "__file"
#: Rows of one batch; it bounds the memory of a reader.
BATCH_ROWS = 50_000
#: Text is 64-bit here: a batch of long texts may exceed the 2 GiB of Arrow's plain strings.
TEXT = pa.large_string()

_NOT_TEXT = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be read: its number (from 1), its file, and why, with what could be seen of it."""

    row: int
    file: str
    reason: str
    value: str = ""


class Source(ABC):
    """A source of raw rows.

    Columns are text (a leading zero is never lost) and may be null. A batch may carry ``ROW`` and ``FILE``; without
    them rows are numbered in the order in which they come. Nothing of a source that raises is ever used. A source
    without rows yields its columns in an empty batch where it can tell them, so that the mapping is checked all the
    same.

    :ivar unreadable: filled while ``batches`` is read.
    :ivar modified_at: when the data was last changed (Unix seconds), where the source can tell; known once read.
    :ivar sparse: a batch may lack columns that no row of it has (JSON); a column must then be in *some* batch.
    """

    sparse = False

    def __init__(self) -> None:
        self.unreadable: list[Unreadable] = []
        self.modified_at: float | None = None

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows.

        :raises BadInput: the source as a whole cannot be read, or only half of it.
        :raises RetryLater: the source cannot be reached now.
        """


def check_names(names: Sequence[str], where: str) -> None:
    """Raise ``BadInput`` when the columns repeat a name or use a reserved one."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{where}: has the column {shorten(twice[0])!r} twice; nothing was read")
    if ROW in names or FILE in names:
        raise BadInput(f"{where}: has a column {ROW} or {FILE}, which are reserved: rename it; nothing was read")


def fault(text: str, encoding: str = "utf-8") -> str:
    """Say what keeps ``text`` from being text: a NUL, or bytes that were not decoded; empty when nothing does."""
    if "\0" in text:
        return "holds a NUL"
    if not text.isascii() and _NOT_TEXT.search(text):
        return f"holds bytes that are not {encoding}"
    return ""


def visible(text: str) -> str:
    """Return what can be shown of a row that cannot be read."""
    return shorten(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text))


def batch_of(
    names: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    numbers: Sequence[int],
    file: str,
    unreadable: list[Unreadable],
    encoding: str = "utf-8",
) -> pa.RecordBatch:
    """Return the rows as one batch with ``ROW`` and ``FILE``; rows that are no text go to ``unreadable``.

    :param rows: one value per name; undecoded bytes stand in them as lone surrogates.
    :param numbers: the number of each row.
    """
    arrays = _arrays(names, rows)
    if arrays is None:
        good = []
        for number, row in zip(numbers, rows, strict=True):
            text = "|".join(value for value in row if value)
            if why := fault(text, encoding):
                unreadable.append(Unreadable(number, file, why, visible(text)))
            else:
                good.append((number, row))
        numbers, rows = [number for number, _ in good], [row for _, row in good]
        arrays = _arrays(names, rows) or []
    arrays += [pa.array(numbers, pa.int64()), pa.repeat(pa.scalar(file, TEXT), len(rows))]
    return pa.RecordBatch.from_arrays(arrays, names=[*names, ROW, FILE])


def _arrays(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[Any] | None:
    """Return the rows' columns, or ``None`` when some value is no text; columns are cheaper to look at than rows."""
    try:
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        arrays: list[Any] = [pa.array(column, TEXT) for column in columns]
    except UnicodeEncodeError:
        return None
    if any(pc.any(pc.match_substring(array, "\0")).as_py() for array in arrays):
        return None
    return arrays
