"""CSV and TSV: RFC 4180 text, read row by row so that every row that cannot be read is known by its number."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from catalog_sync.errors import BadInput
from catalog_sync.sources.base import BATCH_ROWS, Unreadable, batch_of, check_names, fault, visible
from catalog_sync.sources.lines import Lines

#: What ends a line here; to Python's ``splitlines`` other characters would, too.
_LINE_END = re.compile(r"\r\n|\n|\r")
#: A field of more characters is taken for an unclosed quote that swallows the file.
MAX_FIELD = 1_000_000


def read(
    stream: Any, name: str, *, delimiter: str, encoding: str, unreadable: list[Unreadable]
) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows as batches of text columns named by the header, with ``ROW`` and ``FILE``.

    :param stream: the file's bytes.
    :param name: the file's name.
    :param unreadable: gets the rows that have the wrong number of fields, bytes that the encoding does not allow, a NUL
        or broken quotes.
    :raises BadInput: the file is empty, its header repeats a name, it is cut off, or a quote that is not closed hides
        where its rows begin.
    """
    return _Reader(Lines(stream, name, encoding), name, delimiter, encoding, unreadable).batches()


class _Reader:
    def __init__(self, lines: Lines, name: str, delimiter: str, encoding: str, unreadable: list[Unreadable]) -> None:
        csv.field_size_limit(MAX_FIELD)
        self._lines = lines
        self._csv = csv.reader(lines, delimiter=delimiter, strict=True)
        self._name, self._delimiter, self._encoding, self._unreadable = name, delimiter, encoding, unreadable
        self._line = 0  # the file's lines up to the end of the last row

    def batches(self) -> Iterator[pa.RecordBatch]:
        header = self._header()
        numbers: list[int] = []
        rows: list[list[str]] = []
        number, wide, any_yet = 0, len(header), False
        while (row := self._next(number + 1)) is not None:
            number += 1
            if len(row) == wide:
                numbers.append(number)
                rows.append(row)
            elif row:
                self._wrong_width(number, row, wide)
            if len(rows) == BATCH_ROWS:
                yield batch_of(header, rows, numbers, self._name, self._unreadable, self._encoding)
                numbers, rows, any_yet = [], [], True
        if rows or not any_yet:
            yield batch_of(header, rows, numbers, self._name, self._unreadable, self._encoding)

    def _header(self) -> list[str]:
        header = self._next(0)
        if header is None or not any(header):
            raise BadInput(f"{self._name}: is empty: not even a header; nothing was read")
        if why := fault(self._delimiter.join(header), self._encoding):
            raise BadInput(f"{self._name}: the header {why}; nothing was read")
        check_names(header, self._name)
        return header

    def _next(self, number: int) -> list[str] | None:
        """Return the next row that is not blank: empty when its quotes are broken, ``None`` at the end."""
        while True:
            begin = self._csv.line_num
            try:
                row = next(self._csv, None)
            except csv.Error as error:
                self._broken(number, error, self._csv.line_num - begin)
                return []
            if row is None or row:
                return row

    def _broken(self, number: int, error: csv.Error, lines: int) -> None:
        where = f"{self._name}: row {number}"
        if "end of data" in str(error):
            raise BadInput(f"{where}: the file ends inside quotes: it is cut off; nothing was read") from None
        if "field limit" in str(error):
            raise BadInput(
                f"{where}: a field of over {MAX_FIELD} characters: a quote is not closed; nothing was read"
            ) from None
        if lines > 1 or number == 0:
            raise BadInput(
                f"{where}: broken quoting over {lines} line(s) ({error}): where rows begin cannot be told; "
                "nothing was read"
            ) from None
        self._unreadable.append(
            Unreadable(number, self._name, f"has broken quoting: {error}", visible(self._lines.last))
        )

    def _wrong_width(self, number: int, row: list[str], wide: int) -> None:
        where = f"{self._name}: row {number}"
        if len(row) < wide and not self._lines.ended:
            raise BadInput(
                f"{where}: the last row has {len(row)} of {wide} fields and no line end: the file is cut off; "
                "nothing was read"
            )
        text = self._delimiter.join(row)
        # A field that begins with a stray quote swallows the rows up to the next quote: they would look absent.
        if any(line.count(self._delimiter) >= wide - 1 for line in _LINE_END.split(text)[1:]):
            raise BadInput(
                f"{where}: has {len(row)} fields instead of {wide}, and whole rows inside quotes: a quote is not "
                "closed; nothing was read"
            )
        reason = f"has {len(row)} fields, the header has {wide}"
        self._unreadable.append(Unreadable(number, self._name, reason, visible(text)))
