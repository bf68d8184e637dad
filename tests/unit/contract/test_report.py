"""Rejects for people: a CSV that no spreadsheet executes, and a frame for notebooks."""

from __future__ import annotations

import csv
import io
from typing import Any

import polars as pl
import pytest

from catalog_sync.contract.report import reject_csv, reject_frame, safe_cells


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "\0=1"])
def test_no_cell_begins_like_a_formula(judge: Any, text: str) -> None:
    """Values that a spreadsheet would compute get an apostrophe or a harmless character in front."""
    result = judge({"brand_name": text + "\x01", "item_sku": text + "é"})
    assert len(result.rejects) > 0
    table = list(csv.DictReader(io.StringIO(reject_csv(result.rejects).decode("utf-8-sig"))))
    for line in table:
        for cell in line.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝")), line
            assert cell.isprintable()


@pytest.mark.parametrize("text", ["=1", " =1", "\u2003@x", "\t1", "＋1"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    """Whatever was not trimmed before is made a text, blanks in front included."""
    frame = pl.DataFrame({"value": [text, "a=1", None], "source_row": [1, 2, 3]})
    cells = safe_cells(frame)["value"].to_list()
    assert cells[0].startswith("'")
    assert cells[1:] == ["a=1", None]


def test_the_csv_is_readable_by_a_spreadsheet(judge: Any) -> None:
    """It begins with a byte order mark, keeps accents and quotes, and has a line per reject."""
    result = judge({"standard_price": 'É "1",2'}, {"item_sku": None})
    raw = reject_csv(result.rejects)
    assert raw.startswith(b"\xef\xbb\xbf")
    table = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [(line["code"], line["value"], line["source_row"]) for line in table] == [
        ("PRICE_FORMAT", 'É "1",2', "1"),
        ("REQUIRED", "", "2"),
    ]
    assert "row_id" not in table[0]


def test_a_text_of_any_length_stays_a_cell(judge: Any) -> None:
    """A key of a hundred thousand characters is cut in the CSV."""
    raw = reject_csv(judge({"item_sku": "=" * 100_000}).rejects)
    assert len(raw) < 2_000


def test_rejects_open_in_a_notebook(judge: Any) -> None:
    """The pandas frame has the lines and columns of the reject frame."""
    result = judge({"item_sku": None, "standard_price": "x"})
    frame = reject_frame(result.rejects)
    assert frame["code"].tolist() == ["PRICE_FORMAT", "REQUIRED"]
    assert list(frame.columns) == result.rejects.columns
