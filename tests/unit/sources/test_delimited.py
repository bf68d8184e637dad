"""CSV and TSV: every row is read, or known by its number; nothing of a broken file is used."""

from __future__ import annotations

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.sources import delimited
from catalog_sync.sources.base import FILE, ROW, Unreadable

HEAD = b"sku,gtin,name\n"


def test_text_stays_text(read) -> None:
    """Leading zeros, spreadsheet numbers, formulas, blanks and long names arrive as they were written."""
    values = [
        "0012",
        "4011.0",
        "1.23E+11",
        '=HYPERLINK("http://x")',
        "  two  ",
        "n" * 300,
        "é®漢",
        'say "hi", x',
        "a\nb",
    ]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["sku", "gtin", "name"], *([value, value, value] for value in values)])
    got = read(buffer.getvalue().encode())
    assert got.rows["name"].to_list() == values
    assert got.rows["gtin"].to_list() == values
    assert got.rows[ROW].to_list() == list(range(1, len(values) + 1))
    assert set(got.rows[FILE]) == {"items.csv"}
    assert got.unreadable == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"2,b,B,extra", "has 4 fields, the header has 3"),
        (b"2,b", "has 2 fields, the header has 3"),
        (b"2,b,caf\xe9", "holds bytes that are not utf-8"),
        (b"2,b\0,B", "holds a NUL"),
        (b'2,"b"x,B', "has broken quoting: ',' expected after '\"'"),
    ],
)
def test_a_row_that_cannot_be_read_is_known_by_its_number(read, row, why) -> None:
    """The rows around it are read, and keep their numbers."""
    got = read(HEAD + b"1,a,A\n" + row + b"\n3,c,C\n")
    assert got.bad() == {2: why}
    assert got.rows[ROW].to_list() == [1, 3]
    assert got.rows["name"].to_list() == ["A", "C"]
    assert got.unreadable[0].file == "items.csv"
    assert got.unreadable[0].value.startswith("2")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"items\.csv: is empty: not even a header"),
        (b"\n\n", r"items\.csv: is empty: not even a header"),
        (b"sku,gtin,sku\n1,2,3\n", r"items\.csv: has the column 'sku' twice"),
        (b"sku,__row\n1,2\n", "reserved"),
        (b"s\xefku,gtin\n1,2\n", "the header holds bytes that are not utf-8"),
        ("sku,gtin\n1,2\n".encode("utf-16"), "the header holds"),
        (HEAD + b'1,a,A\n2,b,"B', r"row 2: the file ends inside quotes: it is cut off"),
        (HEAD + b"1,a,A\n2,b", r"row 2: the last row has 2 of 3 fields and no line end: the file is cut off"),
        (HEAD + b'1,"a,A\n2,b,B\n3,c,"C"\n', r"row 1: broken quoting over 3 line"),
        (HEAD + b'1,"a,A\n2,b,B\n3,c",C,D\n', r"row 1: has 4 fields instead of 3, and whole rows inside quotes"),
        (HEAD + b'1,a,"' + b"x" * 1_000_001 + b'"\n', r"row 1: a field of over 1000000 characters"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_whole(read, data, message) -> None:
    """An empty, ambiguous, cut-off or swallowed file is an error that says where."""
    with pytest.raises(BadInput, match=message):
        read(data)


def test_a_header_alone_is_a_file_without_rows(read) -> None:
    """It has its columns, so that the mapping is checked, and no rows."""
    got = read(HEAD)
    assert got.rows.columns == ["sku", "gtin", "name", ROW, FILE]
    assert got.rows.is_empty()


def test_the_last_line_may_lack_its_end(read) -> None:
    """A complete last row without a line end is read."""
    assert read(HEAD + b"1,a,A").rows["name"].to_list() == ["A"]


def test_a_large_field_is_read(read) -> None:
    """A field of 900,000 characters is one row's matter; the contract judges its length."""
    got = read(HEAD + b'1,a,"' + b"x" * 900_000 + b'"\n2,b,B\n')
    assert got.rows["name"].str.len_chars().to_list() == [900_000, 1]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("sku,name\n1,é\n".encode("utf-8-sig"), "utf-8"),
        ("sku,name\n1,é\n".encode("latin-1"), "latin-1"),
        ("sku,name\n1,é\n".encode("utf-16"), "utf-16"),
        ("sku,name\r\n1,é\r\n".encode("cp1252"), "cp1252"),
    ],
)
def test_the_stated_encoding_is_used(read, data, encoding) -> None:
    """A byte order mark is no part of the first column's name."""
    got = read(data, encoding=encoding)
    assert got.rows.select("sku", "name").rows() == [("1", "é")]


def test_wrong_encodings_are_told(read) -> None:
    """Broken UTF-16 is refused; an encoding nobody knows is a mistake of the configuration."""
    with pytest.raises(BadInput, match="is not utf-16"):
        read("sku,name\n1,é\n".encode("utf-16")[:-1], encoding="utf-16")
    with pytest.raises(Misconfigured, match="encoding = 'utf-9'"):
        read(HEAD, encoding="utf-9")
    with pytest.raises(Misconfigured, match="encoding = 'base64'"):
        read(HEAD, encoding="base64")


def test_every_row_of_another_encoding_is_counted(read) -> None:
    """A Latin-1 file declared UTF-8: the plain rows are read, each other row is named."""
    lines = [b"%d,%d,%s" % (n, n, b"caf\xe9" if n % 2 else b"tea") for n in range(1, 11)]
    got = read(HEAD + b"\n".join(lines) + b"\n")
    assert sorted(got.bad()) == [1, 3, 5, 7, 9]
    assert set(got.rows["name"]) == {"tea"}


def test_tsv_and_other_delimiters(read) -> None:
    """A TSV's delimiter is the tab; a setting may say another."""
    assert read(b"sku\tname\n1\ta,b\n", "x.tsv").rows["name"].to_list() == ["a,b"]
    assert read(b"sku;name\n1;a,b\n", delimiter=";").rows["name"].to_list() == ["a,b"]


def test_gzip(read) -> None:
    """A .gz file is read as what is in it."""
    assert read(gzip.compress(HEAD + b"1,a,A\n"), "items.csv.gz").rows["name"].to_list() == ["A"]


@pytest.mark.parametrize("cut", [5, 40, -1, -8])
def test_cut_off_gzip_is_refused(read, cut) -> None:
    """Wherever the file ends too early, nothing of it is used."""
    data = gzip.compress(HEAD + b"".join(b"%d,a,A\n" % n for n in range(1000)))
    with pytest.raises(BadInput, match="gzip data is cut off or damaged"):
        read(data[:cut], "items.csv.gz")


def test_what_is_not_gzip_is_refused(read) -> None:
    """A plain file named .gz is no gzip file."""
    with pytest.raises(BadInput, match="gzip data is cut off or damaged"):
        read(HEAD + b"1,a,A\n", "items.csv.gz")


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=3, max_size=3), max_size=12),
)
def test_what_was_written_is_read(rows) -> None:
    """Whatever text a CSV writer writes is read back with its number; rows with a NUL, and no others, are not."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    unreadable: list[Unreadable] = []
    stream = io.BytesIO(buffer.getvalue().encode())
    batches = delimited.read(stream, "x", delimiter=",", encoding="utf-8", unreadable=unreadable)
    got = [row for batch in batches for row in batch.to_pylist()]
    whole = {n: row for n, row in enumerate(rows, 1) if not any("\0" in value for value in row)}
    assert {row[ROW]: [row["a"], row["b"], row["c"]] for row in got} == whole
    assert [row.row for row in unreadable] == [n for n in range(1, len(rows) + 1) if n not in whole]


def test_signs_that_only_look_like_line_ends_end_no_line(read) -> None:
    """A row that is too long, with a NEL or a line separator in it, is one unreadable row, not a file in disorder."""
    got = read("a,b\n1,2\nx\x85y,z,z\nx\u2028y,z,z\n3,4\n".encode(), "x.csv")
    assert (got.rows["a"].to_list(), sorted(got.bad())) == (["1", "3"], [2, 3])
