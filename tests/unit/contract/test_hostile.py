"""Whatever comes in, every row ends in one place, and what is accepted keeps the contract."""

from __future__ import annotations

import sys
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_sync.contract.apply import apply_contract
from catalog_sync.contract.schema import ContractBroken, Promise, uphold
from catalog_sync.contract.text_rules import ascii_name
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT, ITEM_FIELDS, TARGETS, TEXT_FIELDS

HOSTILE = [
    "\0",
    "\x1b[31mred",
    "a" * 100_000,
    "é " * 50_000,
    "&amp;" * 20_000,
    "&" + "amp;" * 25_000,
    "&#38" * 25_000,
    "\u202e" * 10 + "0.99",
    "👩\u200d🌾" * 100,
    '=HYPERLINK("http://example.com","x")',
    "'; DROP TABLE items; --",
    "\ud7ff\ue000\ufffd\uffff",
    "Z͑ͫ̓a͛l̆g͔o",
    "|" * 1000,
    "|".join(["4011"] * 1000),
    "EAN:" * 1000,
    "-" * 1000,
    "9" * 10_000,
    "0" * 13,
    "٠٣٦٠٠٠٢٩١٤٥٢",
]
_ALPHABET = "0123456789.-xXaé |:&;#=\t\0♥"
_VALUES = st.one_of(
    st.none(),
    st.sampled_from(["", "S1", "A", "036000291452", "0036000291452", "4011.0", "9.5", "UPC", "EAN", "07838604", "x y"]),
    st.text(_ALPHABET, max_size=15),
    st.text(max_size=8),
)
_ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(TARGETS, _VALUES)), max_size=12)
_GOOD = st.fixed_dictionaries(
    {
        "item_sku": st.sampled_from(["A", "B", " A", "C.0", "4011.0"]),
        "external_product_id": st.sampled_from(["036000291452", "4006381333931", "96385074", "0036000291452"]),
        "item_name": st.sampled_from(["Oat", " Oat", "Öat &amp; Co", "&amp;#38;lt;", "＆amp;"]) | st.text(min_size=1),
        "store_id": st.sampled_from(["S1", "S2", "S1 "]),
        ADDITIONAL_TEXT: st.sampled_from([None, "4011", "PLU:4131|4011.0", "04006381333931"]),
        "standard_price": st.sampled_from([None, "9.5", "9.50", "0"]),
    }
)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Mapped source rows."""
    schema = {**dict.fromkeys(TARGETS, pl.String()), "source": pl.String(), "source_row": pl.Int64()}
    return pl.DataFrame([{**row, "source": "s", "source_row": n} for n, row in enumerate(rows, 1)], schema=schema)


def check(rows: list[dict[str, Any]]) -> None:
    """Hold the rows to the contract, and its result to what it promises."""
    result = apply_contract(frame(rows), rules={}, stores=("S1", "S2"))
    counts = result.counts
    balanced = pl.col("read") == pl.col("collapsed") + pl.col("rejected") + pl.col("accepted")
    assert counts.select(balanced.all()).item()
    assert counts["read"].sum() == len(rows)
    assert counts["accepted"].sum() == len(result.accepted)
    assert counts["rejected"].sum() == result.rejects["row_id"].n_unique()
    assert result.rejects.select("row_id", "code").is_duplicated().any() is False
    assert result.accepted.columns == [*ITEM_FIELDS, "source", "source_row"]
    assert sum(result.accepted.null_count().row(0)) == 0
    assert result.accepted.select("store_id", "item_sku").is_duplicated().any() is False
    again(result.accepted)


def again(items: pl.DataFrame) -> None:
    """What was accepted passes a second time, unchanged and unrepaired."""
    entry = pl.format(
        "{}:{}", *(pl.element().struct.field(f) for f in ("external_product_id_type", "external_product_id"))
    )
    back = items.with_columns(pl.col(ADDITIONAL).list.eval(entry).list.join("|").alias(ADDITIONAL_TEXT))
    second = apply_contract(back.select(*TARGETS, "source", "source_row"), rules={}, stores=("S1", "S2"))
    assert second.rejects.is_empty(), second.rejects
    assert second.repairs.is_empty(), second.repairs
    assert second.accepted.equals(items)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(_ROWS)
def test_any_rows_are_accounted_for(rows: list[dict[str, Any]]) -> None:
    """Read rows are collapsed, rejected or accepted, per store; what is accepted is accepted again, unchanged."""
    check(rows)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(_GOOD, max_size=8))
def test_likely_rows_are_accounted_for(rows: list[dict[str, Any]]) -> None:
    """The same of rows most of which are accepted, collapse or claim each other's barcodes."""
    check(rows)


@pytest.mark.parametrize("field", TARGETS)
def test_hostile_text_in_any_field_is_judged(field: str) -> None:
    """No text in any field makes the contract fail: its row is accepted or rejected like others."""
    good = {"external_product_id": "036000291452", "item_name": "Oat", "store_id": "S1"}
    check([{"item_sku": f"A{n}", **good, field: text} for n, text in enumerate(HOSTILE)])


def test_no_rows_are_no_error() -> None:
    """An empty frame gives empty results, of the same columns."""
    result = apply_contract(frame([]), rules={}, stores=("S1",))
    assert all(len(part) == 0 for part in (result.accepted, result.rejects, result.repairs, result.counts))
    assert result.accepted.columns == [*ITEM_FIELDS, "source", "source_row"]


def test_rows_of_nothing_are_rejected() -> None:
    """Rows in which every field is null, even without a type, are rejected as lacking what is required."""
    nothing = frame([{}] * 3).with_columns(pl.lit(None).alias(field) for field in TARGETS)
    result = apply_contract(nothing, rules={}, stores=("S1",))
    assert result.rejects["code"].to_list() == ["REQUIRED"] * 3


def test_every_character_there_is_becomes_printable_ascii() -> None:
    """A name of any characters becomes printable ASCII, and stays as it is when judged again."""
    points = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    for start in range(0, len(points), 4096):
        name = ascii_name(" ".join(points[start : start + 4096]))
        assert all(" " <= letter <= "~" for letter in name)
        assert ascii_name(name) == name


def test_a_broken_promise_names_field_rule_and_value() -> None:
    """An accepted item that breaks the contract stops the run with its field, its rule and its value."""
    items = apply_contract(
        frame([{"item_sku": "A", "external_product_id": "036000291452", "item_name": "Oat", "store_id": "S1"}]),
        rules={},
        stores=("S1",),
    ).accepted
    uphold(items, Promise(), ("S1",))
    for field in TEXT_FIELDS:
        with pytest.raises(ContractBroken, match=field):
            uphold(items.with_columns(pl.lit("\x07" * 300).alias(field)), Promise(), ("S1",))
    with pytest.raises(ContractBroken, match="item_name = 'Öat': accepted, yet breaks NAME_ASCII"):
        uphold(items.with_columns(item_name=pl.lit("Öat")), Promise(), ("S1",))
    with pytest.raises(ContractBroken, match="BARCODE_EXTRA"):
        uphold(
            items.with_columns(pl.col(ADDITIONAL).list.concat(items[ADDITIONAL]).alias(ADDITIONAL)).with_columns(
                pl.concat_list(
                    [pl.struct(external_product_id=pl.lit("4011"), external_product_id_type=pl.lit("PLU"))] * 51
                ).alias(ADDITIONAL)
            ),
            Promise(),
            ("S1",),
        )
