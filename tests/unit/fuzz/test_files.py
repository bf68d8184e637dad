"""Source files: whatever is in them, every row is read or known to be unreadable, or the file is refused whole."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import HOSTILE_JSON, JSON, TEXT, damaged, dumps, is_told_well
from tests.unit.sources.conftest import Read, read_source, xlsx

from catalog_sync.errors import CatalogSyncError
from catalog_sync.settings import FileSourceSettings
from catalog_sync.sources.base import ROW
from catalog_sync.sources.file import FileSource

FORMATS = ("csv", "tsv", "jsonl", "parquet", "xlsx")


def read(data: bytes, name: str, **settings: Any) -> Read | None:
    """Read the bytes as a source file; ``None`` when it is refused in the documented way."""

    def no_aws() -> Any:
        raise AssertionError("asked for an AWS account")

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        kind = name.removesuffix(".gz").rpartition(".")[2]
        described = FileSourceSettings(name="erp", kind="file", path=name, format=kind, **settings)  # type: ignore[arg-type]
        try:
            return read_source(FileSource(described, Path(folder), no_aws))
        except CatalogSyncError as error:
            is_told_well(error)
            return None


def numbers(got: Read) -> list[int]:
    """The number of every row, read or not, in order."""
    good = got.rows[ROW].to_list() if ROW in got.rows.columns else []
    return sorted([*good, *(row.row for row in got.unreadable)])


@given(
    st.sampled_from(FORMATS), st.booleans(), st.binary(max_size=200) | TEXT.map(lambda t: t.encode("utf-8", "ignore"))
)
def test_any_bytes(kind: str, compressed: bool, data: bytes) -> None:
    """Nothing but rows or an error of ours comes out of any bytes under any name."""
    RAN[f"{kind} of any bytes"] += 1
    got = read(gzip.compress(data, mtime=0) if compressed else data, f"x.{kind}{'.gz' if compressed else ''}")
    if got is not None:
        assert len(numbers(got)) == len(set(numbers(got)))


CELLS = st.text(st.characters(exclude_characters='",\n\r', exclude_categories=()), max_size=6)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=8), ENDS, st.sampled_from([",", "\t", ";"]))
def test_no_line_of_a_csv_is_lost(rows: list[list[str]], end: str, delimiter: str) -> None:
    """Rows of any width, without quotes: each line that is not blank is read, or unreadable, once, by its number."""
    RAN["csv lines"] += 1
    assume(not any(delimiter in cell for row in rows for cell in row))
    lines = [delimiter.join(row) for row in [["a", "b", "c"], *rows]]
    data = (end.join(lines) + end).encode("utf-8", "surrogatepass")
    got = read(data, "x.csv", delimiter=delimiter)
    assert got is not None
    assert numbers(got) == list(range(1, sum(bool(line) for line in lines[1:]) + 1))
    good = [
        row for row in rows if len(row) == 3 and not any(c in "\0" or "\ud800" <= c <= "\udfff" for c in "".join(row))
    ]
    assert got.rows.select("a", "b", "c").rows() == [tuple(row) for row in good]


@given(
    st.lists(st.lists(st.text(max_size=6) | TEXT, min_size=2, max_size=4), max_size=8),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.data(),
)
def test_a_damaged_csv(rows: list[list[str]], quoting: Any, data: st.DataObject) -> None:
    """What a CSV writer wrote, damaged: rows are numbered without a gap, or the file is refused."""
    RAN["csv damaged"] += 1
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=quoting).writerows([["a", "b"], *rows])
    got = read(data.draw(damaged(buffer.getvalue().encode("utf-8", "surrogatepass"))), "x.csv")
    if got is not None:
        assert numbers(got) == list(range(1, len(numbers(got)) + 1))


@given(
    st.sampled_from(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift_jis", "utf-8"]),
    st.binary(max_size=60),
)
def test_any_encoding(encoding: str, data: bytes) -> None:
    """No bytes in any encoding make a reader fail otherwise."""
    RAN["csv encodings"] += 1
    read("a,b\n1,2\n".encode(encoding) + data, "x.csv", encoding=encoding)
    read('{"a": 1}\n'.encode(encoding) + data, "x.jsonl", encoding=encoding)


OBJECTS = st.dictionaries(st.sampled_from(["sku", "name", "a b", "", "é"]), JSON, max_size=3).map(dumps)
LINES = OBJECTS | (JSON.map(dumps) | HOSTILE_JSON | TEXT).filter(lambda text: not set(text) & {"\n", "\r"})


@given(st.lists(LINES, max_size=8), ENDS)
def test_no_line_of_a_jsonl_file_is_lost(lines: list[str], end: str) -> None:
    """Each line that is not blank is read, or unreadable, once, by its number."""
    RAN["jsonl lines"] += 1
    data = "".join(line + end for line in lines).encode("utf-8", "surrogatepass")
    got = read(data, "x.jsonl")
    blank = {n for n, line in enumerate(lines, 1) if not line.removeprefix("\ufeff" if n == 1 else "").strip()}
    if got is None:
        assert not data.removeprefix(b"\xef\xbb\xbf") or b"__" in data
        return
    assert numbers(got) == [n for n in range(1, len(lines) + 1) if n not in blank]


@given(st.lists(OBJECTS, max_size=6), st.data())
def test_a_damaged_jsonl_file(lines: list[str], data: st.DataObject) -> None:
    """No row is there twice."""
    RAN["jsonl damaged"] += 1
    got = read(data.draw(damaged("".join(f"{line}\n" for line in lines).encode())), "x.jsonl")
    if got is not None:
        assert len(numbers(got)) == len(set(numbers(got)))


def arrays(rows: int) -> st.SearchStrategy[pa.Array]:
    """Arrow columns of the types that Parquet writers use."""
    import datetime as dt
    from decimal import Decimal

    times = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - naive on purpose
    kinds: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
        (pa.string(), st.text(max_size=5)),
        (pa.large_string(), st.text(max_size=5)),
        (pa.binary(), st.binary(max_size=5)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint8(), st.integers(0, 255)),
        (pa.float64(), st.floats()),
        (pa.float32(), st.floats(width=32)),
        (pa.bool_(), st.booleans()),
        (pa.date32(), times.map(lambda t: t.date())),
        (pa.timestamp("ns"), times),
        (pa.timestamp("us", "UTC"), times.map(lambda t: t.replace(tzinfo=dt.UTC))),
        (pa.time64("us"), times.map(lambda t: t.time())),
        (pa.duration("us"), st.timedeltas(dt.timedelta(-999), dt.timedelta(999))),
        (pa.decimal128(38, 5), st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-5))),
        (pa.list_(pa.string()), st.lists(st.none() | st.text(max_size=3), max_size=3)),
        (pa.list_(pa.list_(pa.int32())), st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2)),
        (pa.list_(pa.float64()), st.lists(st.floats(), max_size=3)),
        (pa.struct([("x", pa.int32())]), st.fixed_dictionaries({"x": st.integers(0, 9)})),
        (pa.map_(pa.string(), pa.int32()), st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=2)),
        (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b\0"])),
        (pa.null(), st.none()),
    ]

    def array(kind: tuple[pa.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[pa.Array]:
        values = st.lists(st.none() | kind[1], min_size=rows, max_size=rows)
        if pa.types.is_dictionary(kind[0]):
            return values.map(lambda one: pa.array(one, pa.string()).dictionary_encode())
        return values.map(lambda one: pa.array(one, kind[0]))

    return st.sampled_from(kinds).flatmap(array)


@given(st.integers(0, 5), st.data())
def test_no_row_of_a_parquet_file_is_lost(rows: int, data: st.DataObject) -> None:
    """Columns of every type: each row is read, or unreadable, once, or the file is refused."""
    RAN["parquet"] += 1
    columns = data.draw(st.lists(arrays(rows), min_size=1, max_size=4))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, names=[f"c{n}" for n in range(len(columns))]), buffer)
    got = read(buffer.getvalue(), "x.parquet")
    if got is not None:
        assert numbers(got) == list(range(1, rows + 1))
        assert set(got.rows.drop(ROW).dtypes) <= {pl.String}
    read(data.draw(damaged(buffer.getvalue())), "x.parquet")


XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=6
)


@given(
    st.lists(
        st.lists(st.none() | XML_TEXT | st.floats(allow_nan=False, allow_infinity=False) | st.booleans(), max_size=4),
        max_size=6,
    ),
    st.data(),
)
def test_no_row_of_a_workbook_is_lost(rows: list[list[Any]], data: st.DataObject) -> None:
    """Each row that has a value under the header is read, by its number; damaged, it is refused or read."""
    RAN["xlsx"] += 1
    with tempfile.TemporaryDirectory() as folder:
        whole = xlsx(Path(folder) / "x.xlsx", [["a", "b"], *rows])
    got = read(whole, "x.xlsx")
    assert got is not None
    shown = {n for n, row in enumerate(rows, 1) if any(value not in (None, "") for value in row)}
    assert numbers(got) == sorted(shown)
    read(data.draw(damaged(whole)), "x.xlsx")


def test_bombs(tmp_path: Path) -> None:
    """What unpacks to more than a source may have is refused before it fills the memory."""
    import tracemalloc

    from catalog_sync.sources import file, lines

    assert (file.MAX_WHOLE, lines.MAX_LINE) == (2 << 30, 16 << 20)
    bombs = {
        "x.csv.gz": gzip.compress(b"a,b\n" + b"1" * (64 << 20)),
        "x.jsonl.gz": gzip.compress(b'{"a": "' + b"1" * (64 << 20)),
    }
    for name, data in bombs.items():
        tracemalloc.start()
        assert read(data, name) is None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 128 << 20
