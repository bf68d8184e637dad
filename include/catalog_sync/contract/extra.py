"""Additional barcodes: parsed from their text, repaired and judged by the same rules as the main one."""

from __future__ import annotations

import polars as pl

from catalog_sync.barcodes import with_gtin14
from catalog_sync.contract.barcode_rules import JUDGED, MESSAGES, judge, repair_steps
from catalog_sync.contract.book import Book
from catalog_sync.contract.codes import Code
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.steps import internal, is_internal
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT

#: Amazon takes at most this many further barcodes of one SKU (``upload_catalog``).
MOST = 50
_LIST = pl.List(pl.Struct({"external_product_id": pl.String, "external_product_id_type": pl.String}))


def extras(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Return the frame with the additional barcodes as a list of structs, and book what breaks ``BARCODE_EXTRA``.

    The text holds barcodes separated by ``|``, each ``CODE`` or ``TYPE:CODE``; empty entries are passed over.
    """
    given = frame.filter(pl.col(ADDITIONAL_TEXT).str.contains(r"[^|\s]"))
    if given.is_empty():
        return frame.with_columns(pl.lit([], dtype=_LIST).alias(ADDITIONAL))
    judged = _judged(given, book.policy)
    _book(judged, book)
    lists = judged.group_by("row_id", maintain_order=True).agg(
        pl.struct(
            external_product_id=pl.col("code").fill_null(""), external_product_id_type=pl.col("kind").fill_null("")
        ).alias(ADDITIONAL)
    )
    joined = frame.join(lists, on="row_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(ADDITIONAL).fill_null(pl.lit([], dtype=_LIST)).cast(_LIST))


def _judged(given: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Return a line per entry of each row, judged; ``again``: it stands twice; ``n``: the row's entries."""
    judged = judge(
        _entries(given),
        ambiguous=policy.ambiguous,
        pad=policy.repairs(Code.BARCODE_PADDED),
        cells=policy.repairs(Code.NUMERIC_CELL),
    )
    main = with_gtin14(given.select("row_id", code="external_product_id", kind="external_product_id_type"))
    sound = with_gtin14(judged.with_row_index("entry_id").filter(pl.col("code").is_not_null()))
    sound = sound.join(main.select("row_id", main="gtin14"), on="row_id", how="left", maintain_order="left")
    again = (pl.col("gtin14") == pl.col("main")).fill_null(False) | pl.struct("row_id", "gtin14").is_duplicated()
    twice = sound.filter(again)["entry_id"]
    return judged.with_columns(
        again=pl.int_range(pl.len(), dtype=pl.UInt32).is_in(twice.implode()), n=pl.len().over("row_id")
    )


def _entries(given: pl.DataFrame) -> pl.DataFrame:
    """Return a line per entry, with its text (``entry``), its barcode (``raw``) and its type (``raw_type``)."""
    entries = (
        given.select("row_id", entry=pl.col(ADDITIONAL_TEXT).str.split("|"))
        .explode("entry")
        .with_columns(pl.col("entry").str.strip_chars())
        .filter(pl.col("entry") != "")
    )
    return entries.with_columns(
        raw=pl.col("entry").str.replace(r"^[^:]*:", ""), raw_type=pl.col("entry").str.extract(r"^([^:]*):", 1)
    )


def _book(judged: pl.DataFrame, book: Book) -> None:
    """Book what was found in the entries."""
    policy = book.policy
    limit = min(policy.limit(Code.BARCODE_EXTRA, MOST), MOST)
    sound = pl.col("raw").eq_missing(pl.col("code")) & ~pl.any_horizontal(*JUDGED, "again") & (pl.col("n") <= limit)
    lines = judged.filter(pl.col("code").is_null() | ~sound | is_internal())
    if lines.is_empty():
        return

    def broken(where: pl.Expr, message: str, code: Code = Code.BARCODE_EXTRA) -> None:
        book.broken(lines, where, code, ADDITIONAL, "entry", message)

    broken(pl.col("code").is_null(), "an entry has a type but no barcode")
    for code in JUDGED:
        # What only warns of a main barcode only warns here.
        broken(pl.col(code), f"{code}: {MESSAGES[code]}", code if policy.warns(code) else Code.BARCODE_EXTRA)
    for code, before, after in repair_steps():
        book.repaired(lines, code, ADDITIONAL, before, after)
    internal(lines, book, ADDITIONAL, "entry")
    broken(pl.col("again"), "stands twice, or is the main barcode")
    many = lines.filter(pl.col("n") > limit).unique("row_id", maintain_order=True)
    many = many.with_columns(shown=pl.col("n").cast(pl.String))
    message = f"more than {limit} further barcodes"
    book.broken(many, pl.lit(True), Code.BARCODE_EXTRA, ADDITIONAL, "shown", message)
