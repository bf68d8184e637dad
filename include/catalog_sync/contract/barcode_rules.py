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
_ADDED = ("bare", "cell", "cleaned", "code", "kind", "given")

#: Spreadsheet numbers: ``4011.0`` (digits, repaired); a fraction, or the exponent form with its sign (rejected).
INTEGRAL = r"^([0-9]+)\.0+$"
LOST = r"^[0-9]+\.[0-9]*[1-9][0-9]*$|^[0-9](\.[0-9]+)?[eE][+-][0-9]+$"


def judge(
    barcodes: pl.DataFrame, *, ambiguous: Literal["EAN8", "UPC"] = "EAN8", pad: bool = True, cells: bool = True
) -> pl.DataFrame:
    """Return the frame with its barcodes (``raw`` and ``raw_type``, texts that may be null) repaired, typed and judged.

    Added: ``code``; ``kind``, the type (what the length says, or a given one that disagrees; null where there is
    neither); per rule of ``JUDGED`` a boolean column named by its code, true where it is broken; ``bare``, ``cell`` and
    ``cleaned``: the text after each repair, for the account of repairs. ``code`` is null where nothing is left; that
    breaks none of these rules.

    :param ambiguous: the type of eight digits that pass both as EAN-8 and as UPC-E when none is given.
    :param pad: whether padded barcodes are repaired; otherwise they break the rule.
    :param cells: whether a spreadsheet's integral numbers are repaired; otherwise they break the rule.
    """
    judged = _typed(_unpadded(_cleaned(barcodes.select("raw", "raw_type"), cells), pad), ambiguous, pad)
    return barcodes.hstack(judged.select(*_ADDED, *JUDGED))


def repair_steps() -> tuple[tuple[Code, str, str], ...]:
    """Return each repair of ``judge`` as its code and the columns that hold the text before and after it."""
    return (
        (Code.BARCODE_FORMAT, "raw", "bare"),
        (Code.NUMERIC_CELL, "bare", "cell"),
        (Code.BARCODE_FORMAT, "cell", "cleaned"),
        (Code.BARCODE_PADDED, "cleaned", "code"),
    )


def _cleaned(frame: pl.DataFrame, cells: bool) -> pl.DataFrame:
    bare, code = pl.col("bare"), pl.col("cleaned")
    frame = frame.with_columns(
        bare=pl.col("raw").str.strip_chars(),
        given=pl.col("raw_type").str.strip_chars().str.to_uppercase().fill_null(""),
    )
    # A hyphen that is gone would make an exponent of 1.23E-5 another text: numbers are looked for first.
    number_lost = bare.str.contains(LOST) if cells else bare.str.contains(LOST) | bare.str.contains(INTEGRAL)
    frame = frame.with_columns(
        cell=bare.str.replace(INTEGRAL, "${1}") if cells else bare, number_lost=number_lost
    ).with_columns(cleaned=pl.col("cell").str.replace_all(r"[\s-]+", ""))
    frame = frame.with_columns(cleaned=pl.when(code != "").then(code))
    frame = frame.with_columns(size=code.str.len_bytes(), digits=code.str.contains(r"^[0-9]+$|^[0-9]{9}X$"))
    return frame.with_columns(value=number(code)).with_columns(gs1=gs1_ok(pl.col("value")))


def _unpadded(frame: pl.DataFrame, pad: bool) -> pl.DataFrame:
    """Add ``hidden`` (zeros hide a shorter number), ``padded`` (the padding can be taken off) and ``code``."""
    code, size, gs1 = pl.col("cleaned"), pl.col("size"), pl.col("gs1")
    hidden = gs1 & (((size == 13) & code.str.starts_with("00000")) | ((size == 14) & code.str.starts_with("000000")))
    freed = (
        pl.when(~gs1 | hidden).then(None)
        .when((size == 13) & code.str.starts_with("0")).then(code.str.slice(1))
        .when((size == 14) & code.str.starts_with("00")).then(code.str.slice(2))
        .when((size == 14) & code.str.starts_with("0")).then(code.str.slice(1))
        # A zero in front changes nothing in the sum of the digits.
        .when(size == 11).then("0" + code)
    )  # fmt: skip
    frame = frame.with_columns(hidden=hidden, padded=freed.is_not_null(), freed=freed)
    return frame.with_columns(code=pl.coalesce("freed", "cleaned") if pad else pl.col("cleaned"))


def _typed(frame: pl.DataFrame, ambiguous: str, pad: bool) -> pl.DataFrame:
    code, given, size = pl.col("code"), pl.col("given"), pl.col("code").str.len_bytes()
    # Removing zeros in front leaves the number, and so its check digit, as they were.
    frame = frame.with_columns(
        ean8=(size == 8) & pl.col("gs1"), upca=upca_of_upce(pl.col("value")), eight=size == 8
    ).with_columns(upce=pl.col("eight") & gs1_ok(pl.col("upca")))
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
    stranger = code.is_not_null() & ~given.is_in([*TYPES, ""])
    return frame.with_columns(
        pl.col("number_lost").fill_null(False).alias(Code.NUMERIC_CELL),
        (~pl.col("digits")).fill_null(False).alias(Code.BARCODE_FORMAT),
        (digits & (pl.col("hidden") | (pl.col("padded") & (not pad)))).fill_null(False).alias(Code.BARCODE_PADDED),
        (digits & kind.is_null()).fill_null(False).alias(Code.BARCODE_LENGTH),
        (stranger | (known & ~fits)).fill_null(False).alias(Code.BARCODE_TYPE),
        (known & ~passes).fill_null(False).alias(Code.BARCODE_CHECK_DIGIT),
    ).with_columns(kind=pl.when(Code.BARCODE_TYPE).then(given).otherwise(kind))
