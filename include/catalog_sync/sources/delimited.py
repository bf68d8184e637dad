"""CSV and TSV: RFC 4180 text, read row by row so that every row that cannot be read is known by its number."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from catalog_sync.errors import BadInput, shorten
from catalog_sync.sources.base import BATCH_ROWS, FILE, ROW, Unreadable

#: A field larger than this is taken for an unclosed quote that swallows the file.
MAX_FIELD = 131_072
_UNDECODED = re.compile("[\udc80-\udcff]")


def read(
    stream: Any, name: str, *, delimiter: str, encoding: str, unreadable: list[Unreadable]
) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows as batches of text columns named by the header, with ``ROW`` and ``FILE``.

    :param stream: the file's bytes.
    :param name: the file's name.
    :param unreadable: gets the rows that have the wrong number of fields, bytes that the encoding does not allow, a NUL
        or broken quotes.
    :raises BadInput: the file is empty, its header repeats a name, or it ends inside quotes.
    """
    rows = _rows(stream, name, delimiter, encoding, unreadable)
    _, header = next(rows, (0, None))
    if header is None or not any(header):
        raise BadInput(f"{name}: is empty: not even a header; nothing was read")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise BadInput(f"{name}: the header has the column {shorten(twice[0])!r} twice")
    wide = len(header)
    numbers: list[int] = []
    values: list[list[str]] = []
    for number, row in rows:
        if len(row) != wide:
            if row:  # an empty line is no row
                reason = f"has {len(row)} fields, the header has {wide}"
                unreadable.append(Unreadable(number, name, reason, shorten(delimiter.join(row))))
            continue
        numbers.append(number)
        values.append(row)
        if len(values) == BATCH_ROWS:
            yield _batch(header, numbers, values, name)
            numbers, values = [], []
    if values:
        yield _batch(header, numbers, values, name)


def _batch(header: list[str], numbers: list[int], values: list[list[str]], name: str) -> pa.RecordBatch:
    columns: list[Any] = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
    columns += [pa.array(numbers, pa.int64()), pa.array([name], pa.string()).take(pa.array([0] * len(numbers)))]
    return pa.RecordBatch.from_arrays(columns, names=[*header, ROW, FILE])


def _rows(
    stream: Any, name: str, delimiter: str, encoding: str, unreadable: list[Unreadable]
) -> Iterator[tuple[int, list[str]]]:
    """Yield each readable row with its number: 0 for the header, then from 1. Unreadable rows have a number, too."""
    lines = _lines(stream, name, encoding)
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = -1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            if "end of data" in str(error):
                raise BadInput(
                    f"{name}: ends inside quotes (row {number}): the file is cut off; nothing was read"
                ) from None
            if "field limit" in str(error):
                raise BadInput(
                    f"{name}: row {number} has a field of over {MAX_FIELD} characters: a quote is not closed; "
                    "nothing was read"
                ) from None
            unreadable.append(Unreadable(number, name, f"broken quoting: {error}"))
            continue
        if row:
            number += 1
        bad = _fault(row, encoding)
        if bad and number == 0:
            raise BadInput(f"{name}: the header {bad}")
        if bad:
            unreadable.append(Unreadable(number, name, bad, shorten(_visible(delimiter.join(row)))))
            continue
        yield number, row


def _fault(row: list[str], encoding: str) -> str:
    text = "".join(row)
    if text.isascii():
        return "holds a NUL byte" if "\0" in text else ""
    if "\0" in text:
        return "holds a NUL byte"
    return f"has bytes that are not {encoding}" if _UNDECODED.search(text) else ""


def _visible(text: str) -> str:
    return _UNDECODED.sub("\N{REPLACEMENT CHARACTER}", text)


def _lines(stream: Any, name: str, encoding: str) -> Iterator[str]:
    """Yield the file's lines decoded; bytes that do not decode become lone surrogates, to be found row by row."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise BadInput(f"{name}: encoding = {shorten(encoding)!r}: Python knows no such encoding") from None
    wide = codec.startswith(("utf-16", "utf-32"))
    text = io.TextIOWrapper(
        stream,
        encoding="utf-8-sig" if codec == "utf-8" else codec,
        errors="strict" if wide else "surrogateescape",
        newline="",
    )
    try:
        yield from text
    except UnicodeDecodeError:
        raise BadInput(f"{name}: is not {encoding}; nothing was read") from None
