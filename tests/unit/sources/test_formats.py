"""JSON Lines, Parquet and XLSX as text."""

from __future__ import annotations

import gzip
import io
import random
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from catalog_sync.errors import BadInput, CatalogSyncError
from catalog_sync.sources import file, formats, lines
from catalog_sync.sources.base import ROW


def test_jsonl_keeps_numbers_as_written(read) -> None:
    """No digit of a number is lost, a missing key is null, lists are joined."""
    got = read(
        b'{"sku": 12, "gtin": 4011.0, "price": 9.50}\n\n{"sku": "012", "gtin": 1.23E+11, "more": ["4011", 4012]}\n',
        "x.jsonl",
    )
    assert got.rows.select("sku", "gtin", "price", "more", ROW).rows() == [
        ("12", "4011.0", "9.50", None, 1),
        ("012", "1.23E+11", None, "4011|4012", 3),
    ]
    assert got.source.sparse


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"sku": ', "is no JSON object"),
        (b"[1]", "is no JSON object: a JSON list"),
        (b'{"sku": "a\\u0000"}', "holds a NUL"),
        (b'{"sku": "caf\xe9"}', "holds bytes that are not utf-8"),
        (b'{"sku": "2", "caf\xe9": "1"}', "is no JSON object: a key holds bytes that are not utf-8"),
        (b'{"sku": "\\ud800"}', "holds bytes that are not utf-8"),
        (b"[" * 100_000, "is no JSON object"),
    ],
)
def test_a_line_that_is_no_object_is_unreadable(read, line, why) -> None:
    """The lines around it are read."""
    got = read(b'{"sku": "1"}\n' + line + b'\n{"sku": "3"}\n', "x.jsonl")
    assert got.rows["sku"].to_list() == ["1", "3"]
    assert list(got.bad()) == [2]
    assert got.bad()[2].startswith(why)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b'{"sku": "1"}\n{"sk', "line 2: the last line is no JSON and has no line end: the file is cut off"),
    ],
)
def test_a_jsonl_file_that_cannot_be_trusted_is_refused(read, data, message) -> None:
    """Empty or cut off: nothing is used."""
    with pytest.raises(BadInput, match=message):
        read(data, "x.jsonl")


def test_jsonl_may_have_a_byte_order_mark(read) -> None:
    """It is no part of the first line."""
    assert read(b'\xef\xbb\xbf{"sku": "1"}', "x.jsonl").rows["sku"].to_list() == ["1"]


def parquet(frame: pl.DataFrame) -> bytes:
    """The frame as a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_parquet_as_text(read) -> None:
    """Every type becomes the text it would be written as."""
    frame = pl.DataFrame(
        {
            "sku": [12], "gtin": ["0012"], "price": [Decimal("9.50")], "number": [4011.0], "day": [date(2026, 1, 2)],
            "at": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)], "more": [["4011", "4012"]], "raw": [b"abc"],
            "yes": [True], "none": pl.Series([None], dtype=pl.String),
        }
    )  # fmt: skip
    row = read(parquet(frame), "x.parquet").rows.row(0, named=True)
    assert [row[name] for name in ("sku", "gtin", "price", "number", "day")] == [
        "12",
        "0012",
        "9.50",
        "4011.0",
        "2026-01-02",
    ]
    assert [row[name] for name in ("more", "raw", "yes", "none", ROW)] == ["4011|4012", "abc", "true", None, 1]
    assert row["at"].startswith("2026-01-02T03:04:05")


def test_parquet_rows_that_are_no_text(read) -> None:
    """A NUL, or bytes that are not UTF-8, make a row unreadable."""
    frame = pl.DataFrame({"sku": ["1", "2\0", "3", "4"], "raw": [b"a", b"b", b"\xff", None]})
    got = read(parquet(frame), "x.parquet")
    assert got.bad() == {2: "holds a NUL", 3: "holds bytes that are not utf-8"}
    assert got.rows["sku"].to_list() == ["1", "4"]
    assert got.rows[ROW].to_list() == [1, 4]


def test_a_parquet_file_without_rows_has_its_columns(read) -> None:
    """So that the mapping is checked."""
    got = read(parquet(pl.DataFrame(schema={"sku": pl.String})), "x.parquet")
    assert got.rows.is_empty()
    assert "sku" in got.rows.columns


@pytest.mark.parametrize("name", ["x.parquet", "x.xlsx"])
@pytest.mark.parametrize("data", [b"", b"sku,name\n1,A\n", b"PK\x03\x04 nothing"])
def test_what_is_no_such_file_is_refused(read, name, data) -> None:
    """A wrong or empty file is an error that names it."""
    with pytest.raises(BadInput, match=rf"{name}: cannot be read as"):
        read(data, name)


def test_cut_off_parquet_is_refused(read) -> None:
    """Its directory stands at its end; damage before that is found, too."""
    data = parquet(pl.DataFrame({"sku": [f"sku-{n}" for n in range(5000)]}))
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        read(data[:-20], "x.parquet")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        read(data[:50] + bytes(500) + data[550:], "x.parquet")


def test_cut_off_gzip_of_a_workbook_is_refused(read) -> None:
    """As for text files."""
    with pytest.raises(BadInput, match="gzip data is cut off or damaged"):
        read(gzip.compress(b"x" * 1000)[:-5], "x.xlsx.gz")


def test_xlsx_numbers_show_that_they_are_numbers(read, make_xlsx) -> None:
    """A number in a cell is written with its ``.0``, so that the contract judges it; texts stay; blanks are null."""
    rows = [
        ["sku", " gtin ", "name", None],
        ["012", 4011.0, "A", "note"],
        [None, None, None, None],
        [7, 1.23e11, True, 5],
    ]
    got = read(make_xlsx(rows), "x.xlsx")
    assert got.rows.select("sku", "gtin", "name", ROW).rows() == [
        ("012", "4011.0", "A", 1),
        ("7.0", "123000000000.0", "true", 3),
    ]


def test_xlsx_texts_are_not_read_as_numbers(read, make_xlsx) -> None:
    """Text cells that look like numbers or formulas stay as they are."""
    values = ["4011.0", "1.23E+11", "=HYPERLINK(1)", "n" * 300]
    got = read(make_xlsx([["gtin"], *([value] for value in values)]), "x.xlsx")
    assert got.rows["gtin"].to_list() == values


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([], {}, "is empty"),
        ([["a", "b", "a"], [1, 2, 3]], {}, "has the column 'a' twice"),
        ([["a"], [1]], {"sheet": "Prices"}, "there is no sheet 'Prices'; sheets: Items"),
    ],
)
def test_a_workbook_that_cannot_be_used_is_refused(read, make_xlsx, rows, settings, message) -> None:
    """The message says what is there."""
    with pytest.raises(BadInput, match=message):
        read(make_xlsx(rows), "x.xlsx", **settings)


def test_a_sheet_with_a_header_alone(read, make_xlsx) -> None:
    """Has columns and no rows."""
    got = read(make_xlsx([["sku", "gtin"]]), "x.xlsx", sheet="Items")
    assert got.rows.is_empty()
    assert "gtin" in got.rows.columns


def test_a_sheet_that_is_full_is_refused(read, make_xlsx, monkeypatch) -> None:
    """Its writer had no room for more: what is missing would count as absent. The limit is lowered here."""
    monkeypatch.setattr(formats, "SHEET_ROWS", 4)
    assert len(read(make_xlsx([["sku"], ["1"], ["2"], [None]]), "x.xlsx").rows) == 2
    with pytest.raises(
        BadInput, match=r"x\.xlsx: .* all 4 rows that a sheet can have.*CSV or Parquet; nothing was read"
    ):
        read(make_xlsx([["sku"], ["1"], [None], ["3"]]), "x.xlsx")


@pytest.mark.parametrize("name", ["x.xlsx", "x.parquet", "x.csv", "x.csv.gz", "x.jsonl"])
def test_damaged_files_give_rows_or_an_error_of_ours(read, make_xlsx, name) -> None:
    """Whatever bytes are changed or cut off, nothing else comes out (a library's panic would end the worker)."""
    whole = {
        "x.xlsx": make_xlsx([["sku", "gtin"], ["1", 4011.0], ["2", "x"]]),
        "x.parquet": parquet(pl.DataFrame({"sku": ["1", "2"], "price": [1.5, None], "more": [["a"], None]})),
        "x.csv": 'sku,name\n"1","é ""x"""\n2,b\n'.encode() * 3,
        "x.csv.gz": gzip.compress(b"sku,name\n" + b"1,a\n" * 50, mtime=0),
        "x.jsonl": '{"sku": "1é", "n": [1.0, "x"]}\n'.encode() * 3,
    }[name]
    chance = random.Random(7)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 3, 20])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        with suppress(CatalogSyncError):
            read(bytes(data), name)


def test_a_key_that_stands_twice_is_not_half_lost(read) -> None:
    """Of two values under one key one would be lost: the row is unreadable."""
    got = read(b'{"sku": "1", "name": "a", "name": "b"}\n{"sku": "2"}\n', "x.jsonl")
    assert got.rows["sku"].to_list() == ["2"]
    assert got.bad() == {1: "is no JSON object: the key 'name' twice"}


def test_a_parquet_file_whose_rows_are_all_unreadable_has_its_columns(read) -> None:
    """The mapping is checked all the same."""
    got = read(parquet(pl.DataFrame({"sku": ["\0"]})), "x.parquet")
    assert (got.rows.columns[0], len(got.rows), list(got.bad())) == ("sku", 0, [1])


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.xlsx.gz", "x.xlsx"])
def test_what_unpacks_without_end_is_refused(read, make_xlsx, monkeypatch, name) -> None:
    """Before it fills the memory; the limits are lowered here."""
    monkeypatch.setattr(file, "MAX_WHOLE", 1000)
    monkeypatch.setattr(formats, "MAX_SHEETS", 1000)
    data = make_xlsx([["sku"], ["x" * 10_000]]) if name == "x.xlsx" else gzip.compress(b" " * 10_000)
    with pytest.raises(BadInput, match=r"unpacks to"):
        read(data, name, format=name.split(".")[1])


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_line_without_end_is_refused(read, monkeypatch, name) -> None:
    """A file without line ends is not read into memory as one line."""
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    with pytest.raises(BadInput, match="a line of over 1000 characters"):
        read(b"a,b\n" + b"x" * 5000, name)
