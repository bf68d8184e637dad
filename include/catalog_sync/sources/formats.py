"""JSON Lines, Parquet and XLSX: each yields batches of text columns with ``ROW`` and ``FILE``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import polars as pl
import pyarrow as pa

from catalog_sync.errors import BadInput, shorten
from catalog_sync.sources.base import BATCH_ROWS, FILE, ROW, Unreadable, as_text


def records_batch(rows: list[dict[str, str | None]], numbers: list[int], name: str) -> pa.RecordBatch:
    """Return rows of text values as one batch; a key that a row lacks is null in it."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    arrays: list[Any] = [pa.array([row.get(column) for row in rows], pa.string()) for column in columns]
    arrays += [pa.array(numbers, pa.int64()), pa.array([name] * len(rows), pa.string())]
    return pa.RecordBatch.from_arrays(arrays, names=[*columns, ROW, FILE])


def text_of(value: Any) -> str | None:
    """Return a JSON value as text: scalars as written, a list of scalars joined by ``|``, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
        return "|".join(text_of(part) or "" for part in value)
    return json.dumps(value, ensure_ascii=False)


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value with numbers as the text they were written in, so that no digit is lost."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def read_jsonl(stream: Any, name: str, encoding: str, unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
    """Yield the objects of a JSON Lines file; a line that is none is unreadable."""
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    seen = False
    for number, line in enumerate(stream, 1):
        seen = True
        if not line.strip():
            continue
        try:
            value = parse_json(line.decode(encoding))
            if not isinstance(value, dict):
                raise ValueError(f"a JSON {type(value).__name__}, not an object")
            row = {key: text_of(one) for key, one in value.items()}
            if any("\0" in text for text in row.values() if text):
                raise ValueError("holds a NUL")
        except (ValueError, RecursionError) as error:
            unreadable.append(Unreadable(number, name, shorten(f"is no JSON object: {error}", 120)))
            continue
        rows.append(row)
        numbers.append(number)
        if len(rows) == BATCH_ROWS:
            yield records_batch(rows, numbers, name)
            rows, numbers = [], []
    if not seen:
        raise BadInput(f"{name}: is empty; nothing was read")
    if rows:
        yield records_batch(rows, numbers, name)


def read_parquet(stream: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
        first = 1
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            frame = as_text(pl.DataFrame(batch)).with_columns(
                pl.int_range(first, first + batch.num_rows, dtype=pl.Int64).alias(ROW), pl.lit(name).alias(FILE)
            )
            first += batch.num_rows
            yield from frame.to_arrow().to_batches()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{name}: cannot be read as Parquet: {shorten(error, 200)}; nothing was read") from None


def read_xlsx(stream: Any, name: str, sheet: str | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one sheet, the first by default; its first row is the header.

    A number in a cell is written as Python writes it (``4011.0``), so that the contract's ``NUMERIC_CELL`` judges it.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(stream)
        if sheet is not None and sheet not in book.sheet_names:
            raise BadInput(f"{name}: there is no sheet {shorten(sheet)!r}; sheets: {', '.join(book.sheet_names)}")
        rows = book.get_sheet_by_name(sheet or book.sheet_names[0]).to_python(skip_empty_area=False)
    except (CalamineError, OSError, ValueError, IndexError) as error:
        raise BadInput(f"{name}: cannot be read as XLSX: {shorten(error, 200)}; nothing was read") from None
    if not rows or not any(rows[0]):
        raise BadInput(f"{name}: is empty: not even a header; nothing was read")
    header = [str(cell).strip() for cell in rows[0]]
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise BadInput(f"{name}: the header has the column {shorten(twice[0])!r} twice")
    for first in range(1, len(rows), BATCH_ROWS):
        chunk = [(n, row) for n, row in enumerate(rows[first : first + BATCH_ROWS], first) if any(c != "" for c in row)]
        records = [{key: _cell(cell) for key, cell in zip(header, row, strict=False) if key} for _, row in chunk]
        if records:
            yield records_batch(records, [n for n, _ in chunk], name)


def _cell(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
