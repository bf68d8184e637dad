"""Additional barcodes: parsed from their text, repaired and judged by the same rules as the main one."""

from __future__ import annotations

import polars as pl

from catalog_sync.barcodes import with_gtin14
from catalog_sync.contract.barcode_rules import JUDGED, MESSAGES, judge, repair_steps
from catalog_sync.contract.book import Book
from catalog_sync.contract.codes import Code
from catalog_sync.contract.steps import internal
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT

#: Amazon takes at most this many further barcodes of one SKU (``upload_catalog``).
MOST = 50
_LINE = ("store_id", "item_sku", "source", "source_row")
_LIST = pl.List(pl.Struct({"external_product_id": pl.String, "external_product_id_type": pl.String}))


def extras(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Return the frame with the additional barcodes as a list of structs, and book what breaks ``BARCODE_EXTRA``.

    The text holds barcodes separated by ``|``, each ``CODE`` or ``TYPE:CODE``; empty entries are passed over.
    """
    given = frame.filter(pl.col(ADDITIONAL_TEXT).str.contains(r"[^|\s]"))
    if given.is_empty():
        return frame.with_columns(pl.lit([], dtype=_LIST).alias(ADDITIONAL))
    policy = book.policy
    judged = judge(
        _entries(given),
        ambiguous=policy.ambiguous,
        pad=policy.repairs(Code.BARCODE_PADDED),
        cells=policy.repairs(Code.NUMERIC_CELL),
    )
    message = "an entry has a type but no barcode"
    book.broken(judged, pl.col("code").is_null(), Code.BARCODE_EXTRA, ADDITIONAL, "entry", message)
    for code in JUDGED:
        # What only warns of a main barcode only warns here.
        booked = code if policy.warns(code) else Code.BARCODE_EXTRA
        book.broken(judged, pl.col(code), booked, ADDITIONAL, "entry", f"{code}: {MESSAGES[code]}")
    for code, before, after in repair_steps():
        book.repaired(judged, code, ADDITIONAL, before, after)
    internal(judged, book, ADDITIONAL, "entry")
    _once(judged, given, book)
    _few(judged, book)
    lists = judged.group_by("row_id", maintain_order=True).agg(
        pl.struct(
            external_product_id=pl.col("code").fill_null(""), external_product_id_type=pl.col("kind").fill_null("")
        ).alias(ADDITIONAL)
    )
    joined = frame.join(lists, on="row_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(ADDITIONAL).fill_null(pl.lit([], dtype=_LIST)).cast(_LIST))


def _entries(given: pl.DataFrame) -> pl.DataFrame:
    """Return a line per entry, with its text (``entry``), its barcode (``raw``) and its type (``raw_type``)."""
    entries = (
        given.select(
            "row_id", "store_id", "item_sku", "source", "source_row", entry=pl.col(ADDITIONAL_TEXT).str.split("|")
        )
        .explode("entry")
        .with_columns(pl.col("entry").str.strip_chars())
        .filter(pl.col("entry") != "")
    )
    return entries.with_columns(
        raw=pl.col("entry").str.replace(r"^[^:]*:", ""), raw_type=pl.col("entry").str.extract(r"^([^:]*):", 1)
    )


def _once(judged: pl.DataFrame, given: pl.DataFrame, book: Book) -> None:
    """Book barcodes that stand twice, or are the main one again, compared as GTIN-14."""
    main = given.select("row_id", code="external_product_id", kind="external_product_id_type")
    main = with_gtin14(main).select("row_id", main="gtin14")
    sound = with_gtin14(judged.filter(pl.col("code").is_not_null()))
    sound = sound.join(main, on="row_id", how="left", maintain_order="left")
    again = (pl.col("gtin14") == pl.col("main")).fill_null(False) | pl.struct("row_id", "gtin14").is_duplicated()
    book.broken(sound, again, Code.BARCODE_EXTRA, ADDITIONAL, "entry", "stands twice, or is the main barcode")


def _few(judged: pl.DataFrame, book: Book) -> None:
    limit = min(book.policy.limit(Code.BARCODE_EXTRA, MOST), MOST)
    many = judged.group_by("row_id", maintain_order=True).agg(
        pl.len().alias("n"), *(pl.col(name).first() for name in _LINE)
    )
    many = many.with_columns(pl.col("n").cast(pl.String).alias("shown"))
    message = f"more than {limit} further barcodes"
    book.broken(many, pl.col("n") > limit, Code.BARCODE_EXTRA, ADDITIONAL, "shown", message)
