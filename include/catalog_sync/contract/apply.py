"""The contract: repairs, then checks, then the rules over several rows. Its codes: ``docs/contract.md``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from catalog_sync.contract import text_rules as text
from catalog_sync.contract.barcode_rules import JUDGED, MESSAGES, judge
from catalog_sync.contract.codes import Code
from catalog_sync.contract.extra import extras
from catalog_sync.contract.frames import REJECTS, REPAIRS, rejects, repairs
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.schema import uphold
from catalog_sync.contract.shared import duplicates, shared_barcodes, waiting
from catalog_sync.fields import ITEM_FIELDS, REQUIRED, TEXT_FIELDS
from catalog_sync.settings import OnViolation, Rule

#: Fields in which a spreadsheet's number is recognised (names and categories may well be numbers).
_CELLS = ("item_sku", "store_id")
#: Texts that are only held to length and to no control characters.
_FREE = ("brand_name", "product_tax_code", "product_category", "product_subcategory")
_HOLDERS = {"store_id": pl.String, "item_sku": pl.String, "gtin14": pl.String}


@dataclass(frozen=True)
class ContractResult:
    """What the contract made of the rows. Every row is accepted, rejected or collapsed, and counts once.

    ``accepted``: items, ready to be sent; ``rejects``: a line per row and code; ``repairs`` and ``warnings``: a line
    each; ``collapsed``: ``store_id`` and how many ``rows`` were equal to another; ``waiting``: keys of accepted items
    whose barcode is given up by its holder only today.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    repairs: pl.DataFrame
    warnings: pl.DataFrame
    collapsed: pl.DataFrame
    waiting: pl.DataFrame


def apply_contract(
    rows: pl.DataFrame,
    *,
    rules: Mapping[str, Rule],
    stores: Collection[str],
    holders: pl.DataFrame | None = None,
) -> ContractResult:
    """Hold mapped source rows to the contract.

    :param rows: columns ``fields.TARGETS`` (text, may be null), ``source`` and ``source_row``.
    :param rules: the configured rules by code.
    :param stores: every store of the retailer.
    :param holders: ``store_id``, ``item_sku``, ``gtin14`` of what Amazon acknowledged as active in these stores.
    """
    policy = Policy(rules)
    book = _Book(policy)
    holders = holders if holders is not None else pl.DataFrame(schema=_HOLDERS)
    frame = _trim(rows.with_row_index("row_id"), book)
    frame = _cells(frame, book)
    frame = _names(frame, book)
    frame = _barcodes(frame, book)
    frame = _prices(frame, book)
    _texts(frame, book, set(stores))
    frame = extras(frame, book, policy)
    survivors = _survivors(frame, book)
    survivors, lines, collapsed = duplicates(survivors)
    book.rejected(lines)
    shared = shared_barcodes(survivors, holders)
    if policy.action(Code.BARCODE_SHARED) is OnViolation.WARN:
        book.warned(shared)
    else:
        book.rejected(shared)
        survivors = survivors.join(shared, on="row_id", how="anti", maintain_order="left")
    accepted = survivors.select(*ITEM_FIELDS, "source", "source_row")
    uphold(
        accepted,
        policy.limit(Code.NAME_LENGTH, text.NAME_MAX),
        policy.pattern(Code.SKU_FORMAT, text.SKU_PATTERN),
        stores,
    )
    return ContractResult(
        accepted=accepted,
        rejects=book.all_rejects(),
        repairs=book.all_repairs(),
        warnings=book.all_warnings(),
        collapsed=collapsed,
        waiting=waiting(survivors, holders),
    )


class _Book:
    """Gathers what the rules find."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._rejects: list[pl.DataFrame] = []
        self._warnings: list[pl.DataFrame] = []
        self._repairs: list[pl.DataFrame] = []

    def broken(self, rows: pl.DataFrame, where: pl.Expr, code: Code, field: str, value: str, message: str) -> None:
        """Reject (or only warn of) the rows where the rule is broken."""
        lines = rejects(rows, where, code, field, pl.col(value), message)
        if self.policy.action(code) is OnViolation.WARN:
            self.warned(lines)
        else:
            self.rejected(lines)

    def repaired(self, rows: pl.DataFrame, code: Code, field: str, before: str, after: str) -> None:
        """Book a repair for each row where the columns differ."""
        self._repairs.append(repairs(rows, code, field, before, after))

    def rejected(self, lines: pl.DataFrame) -> None:
        """Book reject lines."""
        self._rejects.append(lines)

    def warned(self, lines: pl.DataFrame) -> None:
        """Book warnings."""
        self._warnings.append(lines)

    def all_rejects(self) -> pl.DataFrame:
        """Return every reject line, once per row and code, by row."""
        return self._all(self._rejects, REJECTS).unique(["row_id", "code"], keep="first").sort("row_id", "code")

    def all_warnings(self) -> pl.DataFrame:
        """Return every warning, by row."""
        return self._all(self._warnings, REJECTS).sort("row_id", "code")

    def all_repairs(self) -> pl.DataFrame:
        """Return every repair line."""
        return self._all(self._repairs, REPAIRS)

    @staticmethod
    def _all(frames: list[pl.DataFrame], schema: dict[str, Any]) -> pl.DataFrame:
        columns = [pl.col(name).cast(kind) for name, kind in schema.items()]
        return pl.concat([pl.DataFrame(schema=schema), *(frame.select(columns) for frame in frames if len(frame))])


def _trim(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    """Trim the ends of every text but the name, which has rules of its own; empty texts become null."""
    fields = [field for field in TEXT_FIELDS if field != "item_name"]
    spaced = [field for field in fields if frame[field].str.contains(r"^\s|\s$").any()]
    if spaced:
        frame = frame.with_columns(pl.col(field).alias(f"_raw_{field}") for field in spaced)
        frame = frame.with_columns(pl.col(field).str.strip_chars() for field in spaced)
        for field in spaced:
            book.repaired(frame, Code.NAME_TRIM, field, f"_raw_{field}", field)
        frame = frame.drop(f"_raw_{field}" for field in spaced)
    return frame.with_columns(pl.when(pl.col(field) != "").then(pl.col(field)).alias(field) for field in fields)


def _cells(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    from catalog_sync.contract.barcode_rules import INTEGRAL, LOST

    for field in _CELLS:
        book.broken(
            frame, pl.col(field).str.contains(LOST), Code.NUMERIC_CELL, field, field, MESSAGES[Code.NUMERIC_CELL]
        )  # fmt: skip
        integral = pl.col(field).str.contains(INTEGRAL)
        if not book.policy.repairs(Code.NUMERIC_CELL):
            book.broken(frame, integral, Code.NUMERIC_CELL, field, field, "is a spreadsheet's number, not a text")
            continue
        if frame.select(integral.any()).item():
            frame = frame.with_columns(pl.col(field).alias("_raw"), pl.col(field).str.replace(INTEGRAL, "${1}"))
            book.repaired(frame, Code.NUMERIC_CELL, field, "_raw", field)
            frame = frame.drop("_raw")
    return frame


def _names(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    limit = book.policy.limit(Code.NAME_LENGTH, text.NAME_MAX)
    made = text.names(frame["item_name"], limit)
    frame = frame.join(made, left_on="item_name", right_on="raw", how="left", maintain_order="left")
    at = "item_name"
    for code, after, message in (
        (Code.NAME_TRIM, "trim", "has white space at its ends or runs of it"),
        (Code.NAME_ASCII, "ascii", "must be printable ASCII"),
        (Code.NAME_LENGTH, "cut", f"is longer than {limit} characters"),
    ):
        if book.policy.repairs(code):
            book.repaired(frame, code, "item_name", at, after)
        else:
            book.broken(frame, pl.col(at) != pl.col(after), code, "item_name", "item_name", message)
        at = after
    nothing = (pl.col("trim") != "") & ~pl.col("ascii").str.contains(r"[A-Za-z0-9]")
    book.broken(frame, nothing, Code.NAME_ASCII, "item_name", "item_name", "has no letter or digit that can be written")
    frame = frame.with_columns(item_name=pl.when(pl.col("trim") != "").then(pl.col("cut")), _name=pl.col("item_name"))
    return frame.drop("trim", "ascii", "cut")


def _barcodes(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    policy = book.policy
    pad = policy.repairs(Code.BARCODE_PADDED)
    judged = judge(
        frame.select(raw="external_product_id", raw_type="external_product_id_type"),
        ambiguous=policy.ambiguous,
        pad=pad,
    )
    frame = frame.hstack(judged.select("raw", "raw_type", "cell", "cleaned", "code", "kind", "given", *JUDGED))
    field = "external_product_id"
    present = pl.col("raw").is_not_null()
    for code in JUDGED:
        shown = "raw_type" if code is Code.BARCODE_TYPE else "raw"
        named = "external_product_id_type" if code is Code.BARCODE_TYPE else field
        book.broken(frame, present & pl.col(code), code, named, shown, MESSAGES[code])
    book.repaired(frame, Code.NUMERIC_CELL, field, "raw", "cell")
    book.repaired(frame, Code.BARCODE_FORMAT, field, "cell", "cleaned")
    book.repaired(frame, Code.BARCODE_PADDED, field, "cleaned", "code")
    internal = (
        (pl.col("kind").is_in(["EAN", "EAN8"]) | ((pl.col("kind") == "UPC") & (pl.col("code").str.len_bytes() == 12)))
        & pl.col("code").str.starts_with("2")
    ) | ((pl.col("kind") == "GTIN") & pl.col("code").str.contains(r"^.2"))
    lines = rejects(
        frame,
        present & internal,
        Code.BARCODE_INTERNAL,
        field,
        pl.col("raw"),
        "is an in-store or variable-weight number (prefix 2): other stores may use it for something else",
    )
    (book.rejected if policy.action(Code.BARCODE_INTERNAL) is OnViolation.REJECT else book.warned)(lines)
    frame = frame.with_columns(external_product_id=pl.col("code"), external_product_id_type=pl.col("kind"))
    return frame.drop("raw", "raw_type", "cell", "cleaned", "code", "kind", "given", *JUDGED)


def _prices(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    field = "standard_price"
    frame = frame.with_columns(_price=text.price(pl.col(field)))
    given = pl.col(field).is_not_null()
    message = "must be a non-negative number with a dot and at most two decimals"
    book.broken(frame, given & pl.col("_price").is_null(), Code.PRICE_FORMAT, field, field, message)
    if book.policy.repairs(Code.PRICE_FORMAT):
        book.repaired(frame, Code.PRICE_FORMAT, field, field, "_price")
        return frame.with_columns(standard_price=pl.col("_price")).drop("_price")
    book.broken(frame, given & (pl.col(field) != pl.col("_price")), Code.PRICE_FORMAT, field, field, message)
    return frame.drop("_price")


def _texts(frame: pl.DataFrame, book: _Book, stores: set[str]) -> None:
    for field in REQUIRED:
        # A barcode or name that a rule above could not use is there, and has its own code.
        missing = pl.col(field).is_null()
        if field == "item_name":
            missing = pl.col("_name").is_null() | (pl.col("_name").str.strip_chars() == "")
        elif field == "external_product_id":
            missing = pl.col(field).is_null()
        book.broken(frame, missing, Code.REQUIRED, field, field, "must not be empty")
    pattern = book.policy.pattern(Code.SKU_FORMAT, text.SKU_PATTERN)
    wrong = ~pl.col("item_sku").str.contains(f"^(?:{pattern})$") | (pl.col("item_sku").str.len_chars() > text.TEXT_MAX)
    message = f"must match {pattern}, at most {text.TEXT_MAX} characters"
    book.broken(frame, wrong, Code.SKU_FORMAT, "item_sku", "item_sku", message)
    unknown = pl.col("store_id").is_not_null() & ~pl.col("store_id").is_in(sorted(stores))
    book.broken(frame, unknown, Code.STORE_UNKNOWN, "store_id", "store_id", "is not one of the configured stores")
    limit = book.policy.limit(Code.TEXT_LENGTH, text.TEXT_MAX)
    for field in _FREE:
        bad = (pl.col(field).str.len_chars() > limit) | pl.col(field).str.contains(text.CONTROL)
        message = f"must have at most {limit} characters and no control characters"
        book.broken(frame, bad, Code.TEXT_LENGTH, field, field, message)


def _survivors(frame: pl.DataFrame, book: _Book) -> pl.DataFrame:
    lost = book.all_rejects().select("row_id").unique()
    kept = frame.join(lost, on="row_id", how="anti", maintain_order="left")
    return kept.with_columns(pl.col(field).fill_null("") for field in TEXT_FIELDS)
