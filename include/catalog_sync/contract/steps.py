"""The rules that look at one row or trade item: each step repairs a kind of field and books what it finds."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from catalog_sync.contract import text_rules as text
from catalog_sync.contract.barcode_rules import INTEGRAL, JUDGED, LOST, MESSAGES, judge, repair_steps
from catalog_sync.contract.book import Book
from catalog_sync.contract.codes import Code
from catalog_sync.fields import REQUIRED

#: Fields whose ends are trimmed; names and barcodes have rules of their own for blanks.
_TRIMMED = (
    "item_sku",
    "store_id",
    "standard_price",
    "brand_name",
    "product_tax_code",
    "product_category",
    "product_subcategory",
)
#: Identifiers in which a spreadsheet's number is recognised; names, categories and tax codes may well be numbers.
_CELLS = ("item_sku", "store_id")
#: Texts that are held to length and to no control characters. Each identifier's own rule is stricter.
_FREE = ("standard_price", "brand_name", "product_tax_code", "product_category", "product_subcategory")


def store_as_repaired(store_id: pl.Expr) -> pl.Expr:
    """Return the store id as the rules will have repaired it, so that all rows of a store can be brought together."""
    return store_id.str.strip_chars().str.replace(INTEGRAL, "${1}")


def trim(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Trim the ends of every text but names and barcodes; empty texts become null."""
    fields = _of(frame, _TRIMMED)
    trimmed = frame.select((pl.col(field).str.strip_chars() != pl.col(field)).any() for field in fields)
    spaced = [field for field in fields if trimmed[field].item()]
    frame = frame.with_columns(pl.col(field).alias(f"_raw_{field}") for field in spaced)
    frame = frame.with_columns(pl.col(field).str.strip_chars() for field in spaced)
    for field in spaced:
        book.repaired(frame, Code.NAME_TRIM, field, f"_raw_{field}", field)
    frame = frame.drop(f"_raw_{field}" for field in spaced)
    return frame.with_columns(pl.when(pl.col(field) != "").then(pl.col(field)).alias(field) for field in fields)


def cells(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Give identifiers back the digits that a spreadsheet made a number of."""
    repairing = book.policy.repairs(Code.NUMERIC_CELL)
    for field in _of(frame, _CELLS):
        integral, lost = pl.col(field).str.contains(INTEGRAL), pl.col(field).str.contains(LOST)
        found = lost if repairing else lost | integral
        book.broken(frame, found, Code.NUMERIC_CELL, field, field, MESSAGES[Code.NUMERIC_CELL])
        if repairing and frame.select(integral.any()).item():
            frame = frame.with_columns(pl.col(field).alias("_raw"), pl.col(field).str.replace(INTEGRAL, "${1}"))
            book.repaired(frame, Code.NUMERIC_CELL, field, "_raw", field)
            frame = frame.drop("_raw")
    return frame


def names(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Trim, transliterate and cut the names."""
    policy, field = book.policy, "item_name"
    limit = min(policy.limit(Code.NAME_LENGTH, text.NAME_MAX), text.TEXT_MAX)
    messages = {
        Code.NAME_TRIM: "has white space at its ends or runs of it",
        Code.NAME_ASCII: "must be printable ASCII",
        Code.NAME_LENGTH: f"is longer than {limit} characters",
    }
    made = text.names(frame[field], limit, [rule for rule in text.NAME_RULES if policy.repairs(rule)])
    blank = pl.col(field).str.strip_chars().fill_null("") == ""
    written = pl.col(Code.NAME_ASCII).str.contains(r"[A-Za-z0-9]") & pl.col("name").str.contains(r"[\p{L}\p{N}]")
    lines = frame.select("row_id", field).hstack(made).with_columns(blank=blank, unwritten=~blank & ~written)
    for rule, message in messages.items():
        if policy.repairs(rule):
            book.repaired(lines, rule, field, f"before_{rule}", rule)
        else:
            changes = pl.col(f"before_{rule}") != pl.col(rule)
            book.broken(lines, changes & ~pl.col("blank"), rule, field, field, message)
    message = "has no letter or digit that can be written in ASCII"
    book.broken(lines, pl.col("unwritten"), Code.NAME_ASCII, field, field, message)
    book.broken(lines, pl.col("blank"), Code.REQUIRED, field, field, "must not be empty")
    return frame.with_columns(made["name"].alias(field))


def barcodes(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Repair, type and judge the main barcode."""
    policy, field, typed = book.policy, "external_product_id", "external_product_id_type"
    judged = judge(
        frame.select(raw=field, raw_type=typed),
        ambiguous=policy.ambiguous,
        pad=policy.repairs(Code.BARCODE_PADDED),
        cells=policy.repairs(Code.NUMERIC_CELL),
    )
    frame = frame.hstack(judged)
    for code in JUDGED:
        named, shown = (typed, "raw_type") if code is Code.BARCODE_TYPE else (field, "raw")
        book.broken(frame, pl.col(code), code, named, shown, MESSAGES[code])
    for code, before, after in repair_steps():
        book.repaired(frame, code, field, before, after)
    internal(frame, book, field, "raw")
    frame = frame.with_columns(external_product_id=pl.col("code"), external_product_id_type=pl.col("kind"))
    return frame.drop(judged.columns)


def is_internal() -> pl.Expr:
    """Tell whether the barcode ``code`` of type ``kind`` is an in-store or variable-weight number (GS1: prefix 2)."""
    code, kind = pl.col("code"), pl.col("kind")
    thirteen = kind.is_in(["EAN", "EAN8"]) | ((kind == "UPC") & (code.str.len_bytes() == 12))
    return (thirteen & code.str.starts_with("2")) | ((kind == "GTIN") & code.str.contains(r"^.(?:2|02)"))


def internal(frame: pl.DataFrame, book: Book, field: str, shown: str) -> None:
    """Book the in-store and variable-weight numbers among the barcodes."""
    message = "is an in-store or variable-weight number (prefix 2): other stores may use it for something else"
    lines = frame.filter(is_internal() & pl.col("raw").is_not_null())
    book.broken(lines, pl.lit(True), Code.BARCODE_INTERNAL, field, shown, message)


def prices(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Write prices canonically; an absent price stays absent."""
    field, code = "standard_price", Code.PRICE_FORMAT
    distinct = frame.select(field).unique().with_columns(_price=text.price(pl.col(field)))
    frame = frame.join(distinct, on=field, how="left", nulls_equal=True, maintain_order="left")
    message = "must be a non-negative number with a dot and at most two decimals"
    book.broken(frame, pl.col(field).is_not_null() & pl.col("_price").is_null(), code, field, field, message)
    if book.policy.repairs(code):
        book.repaired(frame, code, field, field, "_price")
        return frame.with_columns(pl.coalesce("_price", field).alias(field)).drop("_price")
    message = "must be written with two decimals and no zero too many"
    book.broken(frame, pl.col(field) != pl.col("_price"), code, field, field, message)
    return frame.drop("_price")


def texts(frame: pl.DataFrame, book: Book) -> None:
    """Check the presence and the length of texts that are not repaired; an empty name has been booked."""
    for field in _of(frame, REQUIRED):
        if field != "item_name":
            book.broken(frame, pl.col(field).is_null(), Code.REQUIRED, field, field, "must not be empty")
    limit = min(book.policy.limit(Code.TEXT_LENGTH, text.TEXT_MAX), text.TEXT_MAX)
    message = f"must have at most {limit} characters and no control characters"
    for field in _of(frame, _FREE):
        bad = (pl.col(field).str.len_chars() > limit) | pl.col(field).str.contains(text.CONTROL)
        book.broken(frame, bad, Code.TEXT_LENGTH, field, field, message)


def skus(frame: pl.DataFrame, book: Book) -> None:
    """Check the form of the SKUs."""
    pattern = book.policy.pattern(Code.SKU_FORMAT, text.SKU_PATTERN)
    wrong = ~pl.col("item_sku").str.contains(f"^(?:{pattern})$") | (pl.col("item_sku").str.len_chars() > text.TEXT_MAX)
    message = f"must match {pattern}, at most {text.TEXT_MAX} characters"
    book.broken(frame, wrong, Code.SKU_FORMAT, "item_sku", "item_sku", message)


def stores(frame: pl.DataFrame, book: Book, known: Collection[str]) -> None:
    """Check that each store is one of the retailer's."""
    unknown = ~pl.col("store_id").is_in(sorted(known))
    book.broken(frame, unknown, Code.STORE_UNKNOWN, "store_id", "store_id", "is not one of the configured stores")


def _of(frame: pl.DataFrame, fields: Iterable[str]) -> list[str]:
    """Return those of the fields that the frame has: a trade item has some, its rows have the others."""
    return [field for field in fields if field in frame.columns]
