"""Additional barcodes: parsed from their text, repaired and judged by the same rules as the main one."""

from __future__ import annotations

from typing import Any

import polars as pl

from catalog_sync.barcodes import with_gtin14
from catalog_sync.contract.barcode_rules import JUDGED, MESSAGES, judge
from catalog_sync.contract.codes import Code
from catalog_sync.contract.policy import Policy
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT

#: Amazon takes at most this many further barcodes of one SKU (``upload_catalog``).
MOST = 50
_LIST = pl.List(pl.Struct({"external_product_id": pl.String, "external_product_id_type": pl.String}))


def extras(frame: pl.DataFrame, book: Any, policy: Policy) -> pl.DataFrame:
    """Return the frame with the additional barcodes as a list of structs, and book what breaks ``BARCODE_EXTRA``.

    The text holds barcodes separated by ``|``, each ``CODE`` or ``TYPE:CODE``; empty entries are passed over.
    """
    given = frame.filter(pl.col(ADDITIONAL_TEXT).str.contains(r"[^|\s]").fill_null(False))
    if given.is_empty():
        return frame.with_columns(pl.lit([], dtype=_LIST).alias(ADDITIONAL))
    entries = (
        given.select(
            "row_id", "store_id", "item_sku", "source", "source_row", ADDITIONAL_TEXT, "external_product_id",
            "external_product_id_type", entry=pl.col(ADDITIONAL_TEXT).str.split("|"),
        )
        .explode("entry")
        .with_columns(pl.col("entry").str.strip_chars())
        .filter(pl.col("entry") != "")
    )  # fmt: skip
    entries = entries.with_columns(
        raw=pl.col("entry").str.replace(r"^[A-Za-z0-9]+:", "").str.strip_chars(),
        raw_type=pl.col("entry").str.extract(r"^([A-Za-z0-9]+):", 1),
    )
    judged = judge(entries, ambiguous=policy.ambiguous, pad=policy.repairs(Code.BARCODE_PADDED))
    judged = with_gtin14(judged)
    for code in JUDGED:
        book.broken(judged, pl.col(code), Code.BARCODE_EXTRA, ADDITIONAL, "entry", f"{code}: {MESSAGES[code]}")
    sound = judged.filter(~pl.any_horizontal(*JUDGED))
    main = given.select("row_id", code="external_product_id", kind="external_product_id_type")
    main = with_gtin14(main).select("row_id", main="gtin14")
    sound = sound.join(main, on="row_id", how="left", maintain_order="left")
    again = (pl.col("gtin14") == pl.col("main")) | pl.struct("row_id", "gtin14").is_duplicated()
    book.broken(sound, again, Code.BARCODE_EXTRA, ADDITIONAL, "entry", "stands twice, or is the main barcode")
    many = judged.group_by("row_id", maintain_order=True).agg(pl.len().alias("n"), pl.all().first())
    limit = policy.limit(Code.BARCODE_EXTRA, MOST)
    book.broken(
        many,
        pl.col("n") > limit,
        Code.BARCODE_EXTRA,
        ADDITIONAL,
        ADDITIONAL_TEXT,
        f"more than {limit} further barcodes",
    )
    for code, before, after in (
        (Code.NUMERIC_CELL, "raw", "cell"),
        (Code.BARCODE_FORMAT, "cell", "cleaned"),
        (Code.BARCODE_PADDED, "cleaned", "code"),
    ):
        book.repaired(judged, code, ADDITIONAL, before, after)
    lists = judged.group_by("row_id", maintain_order=True).agg(
        pl.struct(external_product_id=pl.col("code"), external_product_id_type=pl.col("kind")).alias(ADDITIONAL)
    )
    joined = frame.join(lists, on="row_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(ADDITIONAL).fill_null(pl.lit([], dtype=_LIST)).cast(_LIST))
