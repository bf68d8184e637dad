"""Barcodes by type, as ``catalog_data_overview`` and ``upload_catalog`` document them."""

from __future__ import annotations

import pytest
from biip.upc import Upc
from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean

from catalog_sandbox.barcodes import BadBarcode, expand_upc_e, number_of


@pytest.mark.parametrize(
    ("code", "kind", "number"),
    [
        ("123456789012", "UPC", 123456789012),
        ("028400003001", "UPC", 28400003001),  # Amazon's example: valid only with its zero
        ("07838604", "UPC", 78000003864),  # Amazon's example of a UPC-E
        ("96385074", "EAN8", 96385074),
        ("4006381333931", "EAN", 4006381333931),
        ("0306406152", "ISBN", 9780306406157),
        ("080442957X", "ISBN", 9780804429573),
        ("10012345678902", "GTIN", 10012345678902),
        ("4011", "PLU", -4011),
        ("94011", "PLU", -94011),
        ("123456", "PLU", -123456),
        ("411", "PLU", -411),
    ],
)
def test_good_barcodes(code, kind, number):
    """Each type has its lengths, and its number as a GTIN-14; the type may be left out."""
    assert number_of(code, kind) == number
    assert number_of(code, "") == number


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        ("12345678901", "UPC", "BARCODE_LENGTH"),  # the check digit left off
        ("400638133393", "EAN", "BARCODE_LENGTH"),
        ("12345678901", "", "BARCODE_LENGTH"),
        ("12", "PLU", "BARCODE_LENGTH"),
        ("1234567", "PLU", "BARCODE_LENGTH"),
        ("123456789013", "UPC", "BARCODE_CHECK_DIGIT"),
        ("000007838604", "UPC", "BARCODE_CHECK_DIGIT"),  # Amazon's padded example
        ("078386040000", "UPC", "BARCODE_CHECK_DIGIT"),
        ("07838604", "EAN8", "BARCODE_CHECK_DIGIT"),
        ("96385074", "UPC", "BARCODE_CHECK_DIGIT"),
        ("0306406153", "ISBN", "BARCODE_CHECK_DIGIT"),
        ("4006381333932", "", "BARCODE_CHECK_DIGIT"),
        ("12345678901X", "UPC", "BARCODE_FORMAT"),
        ("40 1", "PLU", "BARCODE_FORMAT"),
        ("١٢٣٤", "PLU", "BARCODE_FORMAT"),
        ("123456789012", "CODE128", "BARCODE_TYPE"),
        ("123456789012", "upc", "BARCODE_TYPE"),
    ],
)
def test_bad_barcodes(code, kind, error):
    """V12: a length that fits no type, a wrong or missing check digit, other characters and unknown types fail."""
    with pytest.raises(BadBarcode) as caught:
        number_of(code, kind)
    assert caught.value.code == error


@given(st.integers(0, 10**13 - 1))
def test_exactly_one_check_digit_passes(number):
    """Of the ten possible last digits of a GTIN-14 exactly the GS1 check digit is accepted."""

    def passes(code):
        try:
            return number_of(code, "GTIN") == int(code)
        except BadBarcode:
            return False

    body = f"{number:013d}"
    assert [digit for digit in "0123456789" if passes(body + digit)] == [ean.calc_check_digit(body)]


@given(st.integers(0, 1), st.integers(0, 999_999))
def test_expansion_agrees_with_biip(system, digits):
    """UPC-E expansion is that of an independent library."""
    short = f"{system}{digits:06d}"
    upca = (expand_upc_e(short + "0") or "")[:-1]
    code = short + ean.calc_check_digit(upca)
    assert expand_upc_e(code) == Upc.parse(code).as_upc_a()
