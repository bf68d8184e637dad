"""The barcode rules: one barcode and its given type are repaired, typed and judged, wherever it stands in an item."""

from __future__ import annotations

from typing import Literal

import polars as pl

from catalog_sync.barcodes import TYPES, gs1_ok, isbn10_ok, number, upca_of_upce
from catalog_sync.contract.codes import Code

_LENGTH_TYPE = {3: "PLU", 4: "PLU", 5: "PLU", 6: "PLU", 10: "ISBN", 12: "UPC", 13: "EAN", 14: "GTIN"}

#: The rules that judge a barcode, in the order in which their messages are shown.
JUDGED = (
    Code.NUMERIC_CELL,
    Code.BARCODE_FORMAT,
    Code.BARCODE_PADDED,
    Code.BARCODE_LENGTH,
    Code.BARCODE_TYPE,
    Code.BARCODE_CHECK_DIGIT,
)

MESSAGES = {
    Code.NUMERIC_CELL: "a spreadsheet turned it into a number and lost digits; format the column as text",
    Code.BARCODE_FORMAT: "must be digits only (X may end an ISBN-10)",
    Code.BARCODE_PADDED: "zeros in front stand for another number; give the barcode exactly as it is scanned",
    Code.BARCODE_LENGTH: "no barcode type has this many digits: 3–6 PLU, 8, 10 ISBN, 12 UPC, 13 EAN, 14 GTIN",
    Code.BARCODE_TYPE: "the given type is not one of Amazon's, or does not fit this many digits",
    Code.BARCODE_CHECK_DIGIT: "its last digit is not the check digit of the others",
}

#: The texts after each repair, the type, and the given type.
_ADDED = ("cell", "cleaned", "code", "kind", "given")

#: Spreadsheet numbers: ``4011.0`` (digits, repaired); a fraction, or the exponent form with its sign (rejected).
INTEGRAL = r"^([0-9]+)\.0+$"
LOST = r"^[0-9]+\.[0-9]*[1-9][0-9]*$|^[0-9](\.[0-9]+)?[eE][+-][0-9]+$"


def judge(barcodes: pl.DataFrame, *, ambiguous: Literal["EAN8", "UPC"] = "EAN8", pad: bool = True) -> pl.DataFrame:
    """Return the frame with its barcodes (``raw`` and ``raw_type``, texts that may be null) repaired, typed and judged.

    Added: ``code``, ``kind``, and per rule of ``JUDGED`` a boolean column named by its code, true where it is broken;
    ``cell`` and ``cleaned``, the text after each repair, for the account of repairs. Only distinct barcodes are worked
    on: a chain's stores share theirs.

    :param ambiguous: the type of eight digits that pass both as EAN-8 and as UPC-E when none is given.
    :param pad: whether padded barcodes are repaired; otherwise they are rejected.
    """
    distinct = barcodes.select("raw", "raw_type").unique()
    judged = _typed(_unpadded(_cleaned(distinct), pad), ambiguous, pad).select("raw", "raw_type", *_ADDED, *JUDGED)
    return barcodes.join(judged, on=["raw", "raw_type"], how="left", nulls_equal=True, maintain_order="left")


def _cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    code = pl.col("cleaned")
    frame = frame.with_columns(
        cell=pl.col("raw").str.replace(INTEGRAL, "${1}"),
        given=pl.col("raw_type").str.strip_chars().str.to_uppercase().fill_null(""),
    ).with_columns(cleaned=pl.col("cell").str.replace_all(r"[\s-]+", "").str.replace(r"^([0-9]{9})x$", "${1}X"))
    frame = frame.with_columns(size=code.str.len_bytes(), digits=code.str.contains(r"^[0-9]+$|^[0-9]{9}X$"))
    return frame.with_columns(value=number(code)).with_columns(gs1=gs1_ok(pl.col("value")))


def _unpadded(frame: pl.DataFrame, pad: bool) -> pl.DataFrame:
    """Add ``hidden`` (zeros hide a shorter number), ``padded`` (the padding can be taken off) and ``code``."""
    code, size, gs1 = pl.col("cleaned"), pl.col("size"), pl.col("gs1")
    hidden = gs1 & (((size == 13) & code.str.starts_with("00000")) | ((size == 14) & code.str.starts_with("000000")))
    bare = (
        pl.when(~gs1 | hidden).then(None)
        .when((size == 13) & code.str.starts_with("0")).then(code.str.slice(1))
        .when((size == 14) & code.str.starts_with("00")).then(code.str.slice(2))
        .when((size == 14) & code.str.starts_with("0")).then(code.str.slice(1))
        # A zero in front changes nothing in the sum of the digits.
        .when(size == 11).then("0" + code)
    )  # fmt: skip
    frame = frame.with_columns(hidden=hidden, bare=bare)
    return frame.with_columns(
        code=pl.coalesce("bare", "cleaned") if pad else pl.col("cleaned"), padded=pl.col("bare").is_not_null()
    )


def _typed(frame: pl.DataFrame, ambiguous: str, pad: bool) -> pl.DataFrame:
    code, given, size = pl.col("code"), pl.col("given"), pl.col("code").str.len_bytes()
    # Removing zeros in front leaves the number, and so its check digit, as they were.
    frame = frame.with_columns(
        ean8=(size == 8) & pl.col("gs1"), upce=(size == 8) & gs1_ok(upca_of_upce(pl.col("value"))), eight=size == 8
    )
    by_length = size.replace_strict(_LENGTH_TYPE, default=None, return_dtype=pl.String)
    of_eight = (
        pl.when(given.is_in(["EAN8", "UPC"])).then(given)
        .when(pl.col("ean8") & pl.col("upce")).then(pl.lit(ambiguous))
        .when(pl.col("upce")).then(pl.lit("UPC"))
        .otherwise(pl.lit("EAN8"))
    )  # fmt: skip
    frame = frame.with_columns(kind=pl.when(pl.col("eight")).then(of_eight).otherwise(by_length))
    kind, digits = pl.col("kind"), pl.col("digits").fill_null(False)
    # A barcode that lost its padding may have come with the type of either form.
    before = pl.col("size").replace_strict(_LENGTH_TYPE, default=None, return_dtype=pl.String)
    fits = (given == "") | (given == kind) | (pl.col("padded") & pad & (given == before.fill_null(kind)))
    isbn = frame.filter(kind == "ISBN")["code"].unique().to_frame().filter(isbn10_ok(code))["code"]
    passes = (
        pl.when(kind == "PLU").then(True)
        .when(kind == "ISBN").then(code.is_in(isbn.to_list()))
        .when(pl.col("eight") & (kind == "UPC")).then(pl.col("upce"))
        .otherwise(pl.col("gs1"))
    )  # fmt: skip
    known = digits & kind.is_not_null()
    lost = pl.col("raw").str.contains(LOST)
    return frame.with_columns(
        lost.fill_null(False).alias(Code.NUMERIC_CELL),
        (~digits & ~lost).fill_null(False).alias(Code.BARCODE_FORMAT),
        (digits & (pl.col("hidden") | (pl.col("padded") & (not pad)))).fill_null(False).alias(Code.BARCODE_PADDED),
        (digits & kind.is_null()).fill_null(False).alias(Code.BARCODE_LENGTH),
        (known & (~given.is_in([*TYPES, ""]) | ~fits)).fill_null(False).alias(Code.BARCODE_TYPE),
        (known & ~passes).fill_null(False).alias(Code.BARCODE_CHECK_DIGIT),
    )
