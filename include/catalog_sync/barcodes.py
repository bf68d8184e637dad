"""Barcode arithmetic, vectorised: check digits, UPC-E expansion, and the GTIN-14 under which two barcodes are compared.

Rules: GS1 General Specifications (check digit, UPC-E), ISO 2108 (ISBN-10). The tests hold every function against a kept
library. All take and return Polars expressions over text of digits.
"""

from __future__ import annotations

import polars as pl

from catalog_sync.fields import ADDITIONAL, KEY

#: Amazon's types (``catalog_data_overview``, ``upload_catalog``) by the number of digits that fits them.
TYPES = ("UPC", "ISBN", "EAN", "EAN8", "GTIN", "PLU")


def number(code: pl.Expr) -> pl.Expr:
    """Return the code as an integer; null where it is not digits only, or has more than 18 of them."""
    return pl.when(code.str.contains(r"^[0-9]{1,18}$")).then(code).cast(pl.Int64, strict=False)


def gs1_ok(value: pl.Expr) -> pl.Expr:
    """Tell whether the last digit of the number is the GS1 check digit of the others (8, 12, 13 or 14 digits alike).

    :param value: see ``number``. Work it out once, in a column of its own: here it is used many times.
    """
    return (_gs1_sum(value, range(14)) % 10 == 0).fill_null(False)


def _gs1_sum(value: pl.Expr, positions: range) -> pl.Expr:
    """Return the weighted sum of the digits, weights 1 and 3 in turn from the right."""
    total: pl.Expr = pl.lit(0, dtype=pl.Int64)
    for position in positions:
        total = total + value // 10**position % 10 * (3 if position % 2 else 1)
    return total


def isbn10_ok(code: pl.Expr) -> pl.Expr:
    """Tell whether ten characters, the last perhaps X, are a valid ISBN-10 (weights 10 to 1, modulo 11)."""
    total = pl.when(code.str.slice(9, 1) == "X").then(10).otherwise(number(code.str.slice(9, 1)))
    for position in range(9):
        total = total + number(code.str.slice(position, 1)) * (10 - position)
    return (code.str.contains(r"^[0-9]{9}[0-9X]$") & (total % 11 == 0)).fill_null(False)


def upca_of_upce(value: pl.Expr) -> pl.Expr:
    """Return the 12-digit UPC-A number that an 8-digit UPC-E number stands for; null when it stands for none.

    UPC-E is number system 0 or 1, six digits, and the check digit of the UPC-A (GS1 General Specifications 5.2.2.4).
    """
    d = {n: value // 10 ** (7 - n) % 10 for n in range(8)}  # d[0]: number system, d[7]: check digit
    last = d[6]

    def digits(*places: pl.Expr | int) -> pl.Expr:
        total: pl.Expr = pl.lit(0, dtype=pl.Int64)
        for power, place in enumerate(reversed(places)):
            total = total + place * 10**power
        return total

    expanded = (
        pl.when(last <= 2).then(digits(d[0], d[1], d[2], last, 0, 0, 0, 0, d[3], d[4], d[5], d[7]))
        .when(last == 3).then(digits(d[0], d[1], d[2], d[3], 0, 0, 0, 0, 0, d[4], d[5], d[7]))
        .when(last == 4).then(digits(d[0], d[1], d[2], d[3], d[4], 0, 0, 0, 0, 0, d[5], d[7]))
        .otherwise(digits(d[0], d[1], d[2], d[3], d[4], d[5], 0, 0, 0, 0, last, d[7]))
    )  # fmt: skip
    return pl.when(value < 20_000_000).then(expanded)


def with_gtin14(barcodes: pl.DataFrame) -> pl.DataFrame:
    """Return the frame of valid barcodes (``code`` and Amazon's type ``kind``) with ``gtin14`` added.

    UPC-E is expanded, an ISBN-10 becomes its 978 number, shorter numbers get zeros in front. A PLU is no GTIN; it is
    given as ``PLU`` with its digits, so that it never equals one. Rare kinds are worked on by themselves.
    """
    code, kind = pl.col("code"), pl.col("kind")
    size = code.str.len_bytes()
    whole = pl.when((kind == "PLU") & (size <= 6)).then("PLU" + code).otherwise(code.str.zfill(14))
    frame = barcodes.with_columns(gtin14=whole)
    rare = ((kind == "ISBN") & (size == 10)) | ((kind == "UPC") & (size == 8))
    few = frame.filter(rare).select("code", "kind").unique()
    if few.is_empty():
        return frame
    few = few.with_columns(
        _value=number(pl.when(kind == "ISBN").then("978" + code.str.head(9) + "0").otherwise(code))
    ).with_columns(_check=(10 - _gs1_sum(pl.col("_value"), range(1, 13)) % 10) % 10)
    isbn, upca = pl.col("_value") + pl.col("_check"), upca_of_upce(pl.col("_value"))
    rare_whole = pl.when(kind == "ISBN").then(isbn).otherwise(upca).cast(pl.String)
    few = few.select("code", "kind", _whole=rare_whole)
    joined = frame.join(few, on=["code", "kind"], how="left", maintain_order="left")
    return joined.with_columns(gtin14=pl.coalesce(pl.col("_whole").str.zfill(14), "gtin14")).drop("_whole")


def gtin14s(items: pl.DataFrame) -> pl.DataFrame:
    """Return ``store_id``, ``item_sku`` and ``gtin14`` of each barcode of the items, main and additional.

    A barcode that an item has twice is given twice.
    """
    return with_gtin14(barcodes_of(items, *KEY)).select(*KEY, "gtin14")


def barcodes_of(items: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Return the columns ``keys`` with ``code`` and ``kind`` of each barcode of the items, the main ones first."""
    main = items.select(*keys, code="external_product_id", kind="external_product_id_type")
    more = (
        items.filter(pl.col(ADDITIONAL).list.len() > 0)
        .select(*keys, ADDITIONAL)
        .explode(ADDITIONAL)
        .select(
            *keys,
            code=pl.col(ADDITIONAL).struct.field("external_product_id"),
            kind=pl.col(ADDITIONAL).struct.field("external_product_id_type"),
        )
    )
    return pl.concat([main, more]) if len(more) else main
