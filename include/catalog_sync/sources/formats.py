"""Parquet and XLSX: each yields batches of text columns with ``ROW`` and ``FILE``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import polars as pl
import pyarrow as pa

from catalog_sync.errors import BadInput, shorten
from catalog_sync.sources.base import BATCH_ROWS, FILE, ROW, Unreadable, batch_of, check_names

_WHY = "__why"
#: A workbook is a zip archive; one that unpacks to more than this is refused, since it is read as a whole. A sheet of a
#: million rows and ten columns has about 300 MB.
MAX_SHEETS = 1024 * 1024 * 1024
#: A sheet has no more rows than this, its header included (Microsoft, "Excel specifications and limits"). Programs that
#: write more cut the rest off and say nothing of it.
SHEET_ROWS = 1_048_576


def read_parquet(stream: Any, name: str, unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file: numbers as written, dates in ISO form, lists joined by ``|``."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
        check_names(file.schema_arrow.names, name)
        first = 1
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            batch.validate(full=True)  # a broken writer's text need not be UTF-8
            yield from _parquet_batch(pl.DataFrame(batch), first, name, unreadable)
            first += batch.num_rows
        if first == 1:
            yield batch_of(file.schema_arrow.names, [], [], name, unreadable)
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise BadInput(f"{name}: cannot be read as Parquet: {shorten(error, 200)}; nothing was read") from None


def _parquet_batch(raw: pl.DataFrame, first: int, name: str, unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
    binary = [column for column, kind in raw.schema.items() if kind == pl.Binary]
    undecoded = [pl.col(column).is_not_null() & _decoded(column).is_null() for column in binary]
    nul = [pl.col(column).str.contains("\0", literal=True).fill_null(False) for column in raw.columns]
    frame = raw.select(
        *(_as_text(column, kind) for column, kind in raw.schema.items()),
        pl.int_range(first, first + len(raw), dtype=pl.Int64).alias(ROW),
        pl.lit(name).alias(FILE),
        pl.when(pl.any_horizontal(pl.lit(False), *undecoded))
        .then(pl.lit("holds bytes that are not utf-8"))
        .alias(_WHY),
    )
    frame = frame.with_columns(
        pl.coalesce(_WHY, pl.when(pl.any_horizontal(nul)).then(pl.lit("holds a NUL"))).alias(_WHY)
    )
    bad = frame.filter(pl.col(_WHY).is_not_null())
    unreadable += [Unreadable(number, name, why) for number, why in bad.select(ROW, _WHY).iter_rows()]
    good = frame.filter(pl.col(_WHY).is_null()).drop(_WHY)
    yield from good.to_arrow().to_batches() if len(good) else [batch_of(raw.columns, [], [], name, unreadable)]


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.List):
        return column.cast(pl.List(pl.String)).list.join("|")
    if isinstance(kind, pl.Datetime):
        return column.dt.to_string("iso:strict")
    return _decoded(name) if kind == pl.Binary else column.cast(pl.String)


def _decoded(name: str) -> pl.Expr:
    """Return a binary column as text, null where it is not UTF-8 (a cast would raise for the whole batch)."""
    return pl.col(name).map_elements(_decode, return_dtype=pl.String)


def _decode(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def read_xlsx(stream: Any, name: str, sheet: str | None, unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one sheet, the first by default; its first row is the header.

    A number in a cell is written as Python writes it (``4011.0``), so that the contract's ``NUMERIC_CELL`` judges it.
    Blank rows count in the numbering, and cells under an empty header cell are left out.
    """
    rows = _sheet(stream, name, sheet)
    if not rows or not any(rows[0]):
        raise BadInput(f"{name}: is empty: not even a header; nothing was read")
    if len(rows) >= SHEET_ROWS:
        raise BadInput(
            f"{name}: the sheet fills all {SHEET_ROWS:,} rows that a sheet can have, and what came after them was "
            "probably cut off; write it as CSV or Parquet; nothing was read"
        )
    header = [(place, str(cell).strip()) for place, cell in enumerate(rows[0]) if str(cell).strip()]
    names = [column for _, column in header]
    check_names(names, name)
    for first in range(1, max(len(rows), 2), BATCH_ROWS):
        chunk = [(n, row) for n, row in enumerate(rows[first : first + BATCH_ROWS], first) if any(c != "" for c in row)]
        values = [[_cell(row[place]) for place, _ in header] for _, row in chunk]
        yield batch_of(names, values, [n for n, _ in chunk], name, unreadable)


def _sheet(stream: Any, name: str, sheet: str | None) -> list[list[Any]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with zipfile.ZipFile(stream) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_SHEETS:
            raise BadInput(f"{name}: unpacks to {unpacked} bytes; at most {MAX_SHEETS} are read; nothing was read")
        stream.seek(0)
        book = CalamineWorkbook.from_filelike(stream)
        if sheet is not None and sheet not in book.sheet_names:
            raise BadInput(
                f"{name}: there is no sheet {shorten(sheet)!r}; sheets: {shorten(', '.join(book.sheet_names), 200)}"
            )
        rows: list[list[Any]] = book.get_sheet_by_name(sheet or book.sheet_names[0]).to_python(skip_empty_area=False)
    except (zipfile.BadZipFile, CalamineError, OSError, ValueError, IndexError, NotImplementedError) as error:
        raise BadInput(f"{name}: cannot be read as XLSX: {shorten(error, 200)}; nothing was read") from None
    return rows


def _cell(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
