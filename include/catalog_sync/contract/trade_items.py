"""What a chain's stores share: the trade item, which is judged once, however many stores sell it.

A row says what an item is (GS1: the trade item), in which store it is sold, and at what price. Most rows of a chain
repeat what other stores' rows say, so rows are taken apart and only distinct trade items are worked on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from catalog_sync.barcodes import barcodes_of, with_gtin14
from catalog_sync.fields import BARCODE_FIELDS, ITEM_FIELDS, KEY, PROVENANCE, STORE_FIELDS, TARGETS

#: The columns of a mapped row that describe the trade item.
DESCRIPTION = tuple(field for field in TARGETS if field not in STORE_FIELDS)


@dataclass(frozen=True)
class Items:
    """Items in two frames.

    ``rows``: a line per item and store: ``row_id``, ``store_id``, ``item_sku``, ``standard_price``, ``source``,
    ``source_row`` and ``trade_item``, a place in the other frame. ``trade_items``: the other fields of an item, and
    ``item_sku`` again. Trade items to which no row leads mean nothing.
    """

    rows: pl.DataFrame
    trade_items: pl.DataFrame

    def filter(self, mask: pl.Expr | pl.Series) -> Items:
        """Return the items whose row the mask chooses."""
        return replace(self, rows=self.rows.filter(mask))

    def within(self, rows: pl.DataFrame) -> Items:
        """Return the items with these rows, some of ``rows``."""
        return replace(self, rows=rows)

    def whole(self) -> pl.DataFrame:
        """Return the item frame: a line per row, with every field of an item, ``source`` and ``source_row``."""
        described = self.trade_items[self.rows["trade_item"]].drop("item_sku")
        return self.rows.hstack(described).select(*ITEM_FIELDS, *PROVENANCE)

    def samples(self) -> pl.DataFrame:
        """Return whole items in which every value stands that any field of any item has."""
        first = pl.any_horizontal(pl.col(part).is_first_distinct() for part in ("trade_item", *STORE_FIELDS))
        return self.filter(first).whole()

    def barcodes(self) -> pl.DataFrame:
        """Return ``trade_item`` and ``gtin14`` of each barcode of each trade item to which a row leads, once."""
        used = self.rows.select(pl.col("trade_item").unique())
        described = self.trade_items.select(BARCODE_FIELDS)[used["trade_item"]].hstack(used)
        return with_gtin14(barcodes_of(described, "trade_item")).select("trade_item", "gtin14").unique()

    def claims(self, barcodes: pl.DataFrame) -> pl.DataFrame:
        """Return ``store_id``, ``item_sku`` and ``gtin14`` of each of the ``barcodes``, in each store that sells it."""
        return self.rows.select(*KEY, "trade_item").join(barcodes, on="trade_item").drop("trade_item").unique()


def split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return mapped rows without their description but with its place (``trade_item``), and the distinct descriptions.

    :param frame: mapped rows with ``row_id``.
    """
    distinct = frame.select(DESCRIPTION).unique(maintain_order=True).with_row_index("row_id")
    places = distinct.rename({"row_id": "trade_item"})
    rows = frame.join(places, on=DESCRIPTION, how="left", nulls_equal=True, maintain_order="left")
    return rows.select("row_id", *STORE_FIELDS, *PROVENANCE, "trade_item"), distinct
