"""Barcode arithmetic, held against two kept libraries."""

from __future__ import annotations

import polars as pl
import pytest
from biip.gtin import Gtin
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import ean, isbn

from catalog_sync.barcodes import gs1_ok, gtin14s, isbn10_ok, number, upca_of_upce, with_gtin14
from catalog_sync.fields import ADDITIONAL

#: Many barcodes at once, the same ones in every run.
MANY = settings(derandomize=True, max_examples=25, deadline=None)


def codes(size: int, first: str = "0123456789", last: str = "0123456789") -> st.SearchStrategy[list[str]]:
    """Lists of texts of ``size`` digits."""
    middle = st.text("0123456789", min_size=size - 2, max_size=size - 2)
    return st.lists(st.builds("{}{}{}".format, st.sampled_from(first), middle, st.sampled_from(last)), min_size=40)


@pytest.mark.parametrize("size", [8, 12, 13, 14])
def test_the_check_digit_is_gs1s(size: int) -> None:
    """A number passes exactly when python-stdnum says that its check digit is right."""

    @MANY
    @given(codes(size))
    def check(texts: list[str]) -> None:
        texts = texts + [text[:-1] + ean.calc_check_digit(text[:-1]) for text in texts]
        frame = pl.DataFrame({"code": texts}).select(ok=gs1_ok(number(pl.col("code"))))
        assert frame["ok"].to_list() == [ean.calc_check_digit(text[:-1]) == text[-1] for text in texts]

    check()


@MANY
@given(codes(10, last="0123456789X"))
def test_isbn_10_has_a_check_digit_of_its_own(texts: list[str]) -> None:
    """Ten characters pass exactly when python-stdnum takes them for an ISBN-10."""
    texts = texts + [text[:-1] + isbn._calc_isbn10_check_digit(text[:-1]) for text in texts]
    frame = pl.DataFrame({"code": texts}).select(ok=isbn10_ok(pl.col("code")))
    assert frame["ok"].to_list() == [bool(isbn.isbn_type(text) == "ISBN10") for text in texts]


@MANY
@given(codes(8, first="01"))
def test_upc_e_expands_as_biip_does(texts: list[str]) -> None:
    """The UPC-A behind a UPC-E is the one that biip finds."""
    from biip.upc import Upc

    payloads = [text[:7] for text in texts]
    expected = [Upc.parse(payload).as_upc_a() for payload in payloads]
    shorts = [payload + upc_a[-1] for payload, upc_a in zip(payloads, expected, strict=True)]
    frame = pl.DataFrame({"code": shorts}).select(upca=upca_of_upce(number(pl.col("code"))))
    assert [f"{upca:012d}" for upca in frame["upca"]] == expected


@pytest.mark.parametrize("size", [8, 12, 13, 14])
def test_barcodes_compare_as_gtin_14(size: int) -> None:
    """The GTIN-14 of a GTIN-8, -12, -13 or -14 is the one that biip writes."""

    @MANY
    @given(codes(size, first="3456789"))
    def check(texts: list[str]) -> None:
        whole = [text[:-1] + ean.calc_check_digit(text[:-1]) for text in texts]
        kind = {8: "EAN8", 12: "UPC", 13: "EAN", 14: "GTIN"}[size]
        frame = with_gtin14(pl.DataFrame({"code": whole}).with_columns(kind=pl.lit(kind)))
        assert frame["gtin14"].to_list() == [Gtin.parse(text).as_gtin_14() for text in whole]

    check()


@MANY
@given(codes(9))
def test_an_isbn_10_compares_as_its_978_number(texts: list[str]) -> None:
    """An ISBN-10 and the EAN-13 of the same book are one barcode, as python-stdnum converts it."""
    tens = [text + isbn._calc_isbn10_check_digit(text) for text in texts]
    frame = with_gtin14(pl.DataFrame({"code": tens}).with_columns(kind=pl.lit("ISBN")))
    assert frame["gtin14"].to_list() == ["0" + isbn.to_isbn13(text) for text in tens]


def test_amazons_own_upc_e_example() -> None:
    """07838604 stands for 078000003864, as Amazon's page has it."""
    frame = with_gtin14(pl.DataFrame({"code": ["07838604"], "kind": ["UPC"]}))
    assert frame["gtin14"].to_list() == ["00078000003864"]


@pytest.mark.parametrize("text", ["", "12a", "１２３４５６７８", "1" * 19, "-5", None])
def test_what_is_no_number_passes_no_check(text: str | None) -> None:
    """Anything but up to 18 ASCII digits is no number, and fails the check instead of raising."""
    frame = pl.DataFrame({"code": [text]}, schema={"code": pl.String})
    assert frame.select(number(pl.col("code"))).item() is None
    assert frame.select(gs1_ok(number(pl.col("code")))).item() is False


def test_a_plu_equals_no_gtin() -> None:
    """A PLU has a name space of its own, so that 4011 never meets a padded number."""
    frame = with_gtin14(pl.DataFrame({"code": ["4011"], "kind": ["PLU"]}))
    assert frame["gtin14"].to_list() == ["PLU4011"]


def test_an_item_has_all_its_barcodes_once() -> None:
    """The main and the additional barcodes are listed, the same number in two forms once."""
    extra = [
        {"external_product_id": "4006381333931", "external_product_id_type": "EAN"},
        {"external_product_id": "0036000291452", "external_product_id_type": "EAN"},
    ]
    items = pl.DataFrame(
        {
            "store_id": ["S"],
            "item_sku": ["A"],
            "external_product_id": ["036000291452"],
            "external_product_id_type": ["UPC"],
            ADDITIONAL: [extra],
        }
    )
    assert set(gtin14s(items)["gtin14"]) == {"00036000291452", "04006381333931"}
