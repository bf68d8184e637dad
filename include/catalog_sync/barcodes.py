"""Barcode arithmetic, vectorised: check digits, UPC-E expansion, and the GTIN-14 under which two barcodes are compared.

Rules: GS1 General Specifications (check digit, UPC-E), ISO 2108 (ISBN-10). The tests hold every function against a kept
library. All take and return Polars expressions over text of digits.
"""

from __future__ import annotations

import polars as pl

from catalog_sync.fields import ADDITIONAL

#: Amazon's types (``catalog_data_overview``, ``upload_catalog``) by the number of digits that fits them.
TYPES = ("UPC", "ISBN", "EAN", "EAN8", "GTIN", "PLU")


def number(code: pl.Expr) -> pl.Expr:
    """Return the code as an integer; null where it is not digits only, or has more than 18 of them."""
    return pl.when(code.str.contains(r"^[0-9]{1,18}$")).then(code).cast(pl.Int64, strict=False)


def gs1_ok(code: pl.Expr) -> pl.Expr:
    """Tell whether the last digit is the GS1 check digit of the others (8, 12, 13 or 14 digits alike)."""
    value = number(code)
    total = pl.lit(0)
    for position in range(14):
        digit = value // 10**position % 10
        total = total + digit * (3 if position % 2 else 1)
    return (total % 10 == 0).fill_null(False)


def isbn10_ok(code: pl.Expr) -> pl.Expr:
    """Tell whether ten characters, the last perhaps X, are a valid ISBN-10 (weights 10 to 1, modulo 11)."""
    body = number(code.str.head(9))
    last = pl.when(code.str.slice(9, 1) == "X").then(10).otherwise(number(code.str.slice(9, 1)))
    total = last
    for position in range(9):
        total = total + body // 10 ** (8 - position) % 10 * (10 - position)
    return (code.str.contains(r"^[0-9]{9}[0-9X]$") & (total % 11 == 0)).fill_null(False)


def upca_of_upce(code: pl.Expr) -> pl.Expr:
    """Return the 12-digit UPC-A number (an integer) that an 8-digit UPC-E stands for; null when it stands for none.

    UPC-E is number system 0 or 1, six digits, and the check digit of the UPC-A (GS1 General Specifications 5.2.2.4).
    """
    value = number(code)
    d = {n: value // 10 ** (7 - n) % 10 for n in range(8)}  # d[0] is the number system, d[7] the check digit
    last = d[6]

    def digits(*places: pl.Expr | int) -> pl.Expr:
        total = pl.lit(0, dtype=pl.Int64)
        for place in places:
            total = total * 10 + place
        return total

    expanded = (
        pl.when(last <= 2).then(digits(d[0], d[1], d[2], last, 0, 0, 0, 0, d[3], d[4], d[5], d[7]))
        .when(last == 3).then(digits(d[0], d[1], d[2], d[3], 0, 0, 0, 0, 0, d[4], d[5], d[7]))
        .when(last == 4).then(digits(d[0], d[1], d[2], d[3], d[4], 0, 0, 0, 0, 0, d[5], d[7]))
        .otherwise(digits(d[0], d[1], d[2], d[3], d[4], d[5], 0, 0, 0, 0, last, d[7]))
    )  # fmt: skip
    return pl.when((code.str.len_bytes() == 8) & (d[0] <= 1)).then(expanded)


def upce_ok(code: pl.Expr) -> pl.Expr:
    """Tell whether eight digits are a valid UPC-E: the check digit is that of the UPC-A that it stands for."""
    return gs1_ok(upca_of_upce(code).cast(pl.String)).fill_null(False)


def gtin14(code: pl.Expr, kind: pl.Expr) -> pl.Expr:
    """Return the GTIN-14 of valid barcodes of Amazon's types.

    UPC-E is expanded, an ISBN-10 becomes its 978 number, shorter numbers get zeros in front. A PLU is no GTIN; it is
    returned as ``PLU`` with its digits, so that it never equals one.
    """
    upce = upca_of_upce(code).cast(pl.String)
    isbn = pl.lit("978") + code.str.head(9)
    value = number(isbn + "0")
    total = pl.lit(0)
    for position in range(1, 13):
        total = total + value // 10**position % 10 * (3 if position % 2 else 1)
    isbn13 = isbn + ((10 - total % 10) % 10).cast(pl.String)
    whole = (
        pl.when((kind == "UPC") & (code.str.len_bytes() == 8)).then(upce).when(kind == "ISBN").then(isbn13).otherwise(code)
    )
    return pl.when(kind == "PLU").then(pl.lit("PLU") + code).otherwise(whole.str.zfill(14))


def gtin14s(items: pl.DataFrame) -> pl.DataFrame:
    """Return ``store_id``, ``item_sku`` and ``gtin14`` of every barcode of the items, main and additional, each once."""
    main = items.select("store_id", "item_sku", code="external_product_id", kind="external_product_id_type")
    more = (
        items.filter(pl.col(ADDITIONAL).list.len() > 0)
        .select("store_id", "item_sku", ADDITIONAL)
        .explode(ADDITIONAL)
        .select(
            "store_id",
            "item_sku",
            code=pl.col(ADDITIONAL).struct.field("external_product_id"),
            kind=pl.col(ADDITIONAL).struct.field("external_product_id_type"),
        )
    )
    both = pl.concat([main, more]) if len(more) else main
    found = both.select("store_id", "item_sku", gtin14=gtin14(pl.col("code"), pl.col("kind")))
    return found.unique(maintain_order=True) if len(more) else found
