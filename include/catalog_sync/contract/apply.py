"""The contract: repairs, then checks, then the rules that look at several rows; see ``docs/contract.md``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from catalog_sync.contract import steps
from catalog_sync.contract.book import Book
from catalog_sync.contract.codes import Code
from catalog_sync.contract.extra import extras
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.schema import Promise, uphold
from catalog_sync.contract.shared import duplicates, shared_barcodes
from catalog_sync.contract.trade_items import Items, split
from catalog_sync.fields import BARCODE_FIELDS, KEY, PROVENANCE, TARGETS, TEXT_FIELDS
from catalog_sync.keyed import without
from catalog_sync.payload import ITEM
from catalog_sync.settings import Rule

#: Acknowledged rows of a catalog in which there are none.
NOBODY = pl.DataFrame(schema={field: ITEM[field] for field in (*KEY, *BARCODE_FIELDS)})


@dataclass(frozen=True)
class ContractResult:
    """What the contract made of the rows. Every row is accepted, rejected or collapsed, and counts once.

    ``items``: those accepted, ready to be sent; ``rejects``: a line per row and code; ``repairs``: a line each, of rows
    that were not rejected; ``warnings``: a line each; ``collapsed``: ``store_id`` and how many ``rows`` equalled
    another; ``counts``: per ``store_id`` (as repaired; null where there is none) ``read``, ``collapsed``, ``rejected``,
    ``accepted`` and ``repaired`` rows, where ``read = collapsed + rejected + accepted``.
    """

    items: Items
    rejects: pl.DataFrame
    repairs: pl.DataFrame
    warnings: pl.DataFrame
    collapsed: pl.DataFrame
    counts: pl.DataFrame

    @property
    def accepted(self) -> pl.DataFrame:
        """The accepted items as one frame, a line each."""
        return self.items.whole()


def apply_contract(
    rows: pl.DataFrame,
    *,
    rules: Mapping[str, Rule],
    stores: Collection[str],
    holders: pl.DataFrame = NOBODY,
) -> ContractResult:
    """Hold mapped source rows to the contract.

    :param rows: columns ``fields.TARGETS`` (text, may be null), ``source`` and ``source_row``.
    :param rules: the configured rules by code.
    :param stores: every store of the retailer.
    :param holders: what Amazon acknowledged as active in these stores: ``fields.KEY`` and ``fields.BARCODE_FIELDS``.
    :raises Misconfigured: a rule's pattern is no regular expression.
    :raises ContractBroken: an accepted item breaks the contract all the same: a defect of this package.
    """
    policy = Policy(rules)
    book = Book(policy)
    read = _judged(rows, book, stores)
    # Of the rows as they were read only the keys are needed from here on.
    keys = read.rows.select("row_id", *KEY, *PROVENANCE)
    items, lines, collapsed = duplicates(_survivors(read, book))
    book.add(lines, Code.DUPLICATE_KEY)
    book.add(shared_barcodes(items, holders), Code.BARCODE_SHARED)
    items = items.within(without(items.rows, book.lost(), ["row_id"]))
    uphold(items.samples(), Promise.of(policy), stores)
    rejects, repairs = book.rejects(keys), book.repairs(keys, items.rows)
    return ContractResult(
        items=items,
        rejects=rejects,
        repairs=repairs.drop("row_id"),
        warnings=book.warnings(keys),
        collapsed=collapsed,
        counts=_counts(keys, collapsed, rejects, items.rows, repairs),
    )


def _judged(rows: pl.DataFrame, book: Book, stores: Collection[str]) -> Items:
    """Return the rows after every repair; all that they break is booked."""
    # A column in which no row has a value may come without a type.
    frame = rows.with_columns(pl.col(field).cast(pl.String) for field in TARGETS).with_row_index("row_id")
    frame, trade_items = split(frame)
    found = Book(book.policy)
    trade_items = _described(trade_items, found)
    book.take(found, frame)
    frame = steps.trim(frame, book)
    frame = steps.cells(frame, book)
    frame = steps.prices(frame, book)
    steps.texts(frame, book)
    steps.stores(frame, book, stores)
    return Items(frame.with_columns(trade_items["item_sku"][frame["trade_item"]]), trade_items)


def _described(trade_items: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Return the trade items after every repair; all that they break is booked."""
    trade_items = steps.trim(trade_items, book)
    trade_items = steps.cells(trade_items, book)
    trade_items = steps.names(trade_items, book)
    trade_items = steps.barcodes(trade_items, book)
    steps.texts(trade_items, book)
    steps.skus(trade_items, book)
    return extras(trade_items, book).drop("row_id")


def _survivors(read: Items, book: Book) -> Items:
    kept = without(read.rows, book.lost(), ["row_id"]).with_columns(pl.col("standard_price").fill_null(""))
    texts = [field for field in TEXT_FIELDS if field in read.trade_items.columns]
    return Items(kept, read.trade_items.with_columns(pl.col(field).fill_null("") for field in texts))


def _counts(
    frame: pl.DataFrame, collapsed: pl.DataFrame, rejects: pl.DataFrame, accepted: pl.DataFrame, repairs: pl.DataFrame
) -> pl.DataFrame:
    def by_store(rows: pl.DataFrame, what: str) -> pl.DataFrame:
        return rows.group_by("store_id").agg(pl.len().cast(pl.Int64).alias(what))

    counts = by_store(frame, "read")
    for part in (
        collapsed.rename({"rows": "collapsed"}),
        by_store(rejects.unique("row_id"), "rejected"),
        by_store(accepted, "accepted"),
        by_store(repairs.unique("row_id"), "repaired"),
    ):
        counts = counts.join(part, on="store_id", how="left", nulls_equal=True)
    return counts.fill_null(0).sort("store_id") if len(counts) else counts
