"""The contract: repairs, then checks, then the rules that look at several rows; see ``docs/contract.md``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from catalog_sync.barcodes import gtin14s
from catalog_sync.contract import steps
from catalog_sync.contract.book import Book
from catalog_sync.contract.codes import Code
from catalog_sync.contract.extra import extras
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.schema import Promise, uphold
from catalog_sync.contract.shared import duplicates, shared_barcodes, waiting
from catalog_sync.fields import ITEM_FIELDS, KEY, TARGETS, TEXT_FIELDS
from catalog_sync.keyed import without
from catalog_sync.settings import Rule

_HOLDERS = {"store_id": pl.String, "item_sku": pl.String, "gtin14": pl.String}


@dataclass(frozen=True)
class ContractResult:
    """What the contract made of the rows. Every row is accepted, rejected or collapsed, and counts once.

    ``accepted``: items, ready to be sent; ``rejects``: a line per row and code; ``repairs``: a line each, of rows that
    were not rejected; ``warnings``: a line each; ``collapsed``: ``store_id`` and how many ``rows`` equalled another;
    ``waiting``: ``store_id`` and ``item_sku`` of accepted items whose barcode is given up by its holder only today;
    ``counts``: per ``store_id`` (as repaired; null where there is none) ``read``, ``collapsed``, ``rejected``,
    ``accepted`` and ``repaired`` rows, where ``read = collapsed + rejected + accepted``.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    repairs: pl.DataFrame
    warnings: pl.DataFrame
    collapsed: pl.DataFrame
    waiting: pl.DataFrame
    counts: pl.DataFrame


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
    :raises Misconfigured: a rule's pattern is no regular expression.
    :raises ContractBroken: an accepted item breaks the contract all the same: a defect of this package.
    """
    policy = Policy(rules)
    book = Book(policy)
    holders = pl.DataFrame(schema=_HOLDERS) if holders is None else holders
    frame = _repaired(rows, book, stores)
    # From here on of the rows as they came only the keys are needed; a shard's memory is what bounds a task's.
    single, lines, collapsed = duplicates(_survivors(frame, book))
    frame = frame.select("row_id", *KEY)
    book.rejected(lines)
    claims = gtin14s(single)
    shared = shared_barcodes(single, claims, holders)
    (book.warned if policy.warns(Code.BARCODE_SHARED) else book.rejected)(shared)
    single = without(single, book.lost(), ["row_id"])
    accepted = single.select(*ITEM_FIELDS, "source", "source_row")
    uphold(accepted, Promise.of(policy), stores)
    rejects, repairs = book.rejects(frame), book.repairs(frame, single)
    return ContractResult(
        accepted=accepted,
        rejects=rejects,
        repairs=repairs.drop("row_id"),
        warnings=book.warnings(frame),
        collapsed=collapsed,
        waiting=waiting(accepted, claims, holders),
        counts=_counts(frame, collapsed, rejects, accepted, repairs),
    )


def _repaired(rows: pl.DataFrame, book: Book, stores: Collection[str]) -> pl.DataFrame:
    """Return the rows after every repair, with ``row_id``; all that they break is booked."""
    # A column in which no row has a value may come without a type.
    frame = rows.with_columns(pl.col(field).cast(pl.String) for field in TARGETS).with_row_index("row_id")
    frame = steps.trim(frame, book)
    frame = steps.cells(frame, book)
    frame = steps.names(frame, book)
    frame = steps.barcodes(frame, book)
    frame = steps.prices(frame, book)
    steps.texts(frame, book, stores)
    return extras(frame, book)


def _survivors(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    kept = without(frame, book.lost(), ["row_id"])
    return kept.with_columns(pl.col(field).fill_null("") for field in TEXT_FIELDS)


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
