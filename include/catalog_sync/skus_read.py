"""Which SKUs a source has, as it was read: before any rule of the contract, so that a rejected row is there, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.contract.barcode_rules import LOST
from catalog_sync.contract.codes import Code
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.contract.text_rules import SKU_PATTERN, TEXT_MAX

if TYPE_CHECKING:
    from catalog_sync.run import Run
    from catalog_sync.settings import Rule

#: So many distinct SKUs are collected before they are brought together; it bounds memory.
_PACK = 500_000


class SkusRead:
    """Collects the distinct SKUs of a source's rows, repaired as keys are, whatever their store.

    A row whose SKU is empty, is none by its form, or was made a number by a spreadsheet might be any other SKU, too.
    Such rows are counted as ``untellable``.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._pattern = Policy(rules).pattern(Code.SKU_FORMAT, SKU_PATTERN)
        self._parts: list[pl.DataFrame] = []
        self.untellable = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take the rows."""
        self._parts.append(rows.group_by("item_sku").len())
        if sum(len(part) for part in self._parts) > _PACK:
            self._parts = [self._together()]

    def write(self, run: Run, source: str) -> str:
        """Write the SKUs (``item_sku``) to the lake and return the key; ``untellable`` is complete then."""
        every = self._together()
        sku = pl.col("item_sku")
        known = sku.str.contains(f"^(?:{self._pattern})$") & ~sku.str.contains(LOST) & (sku.str.len_chars() <= TEXT_MAX)
        self.untellable = int(every.filter(~known.fill_null(False))["len"].sum())
        key = run.key(f"extract/{source}-{run.token()}-skus.parquet")
        # Each is there whatever may become of its rows: a rule that is changed makes no SKU leave.
        run.lake.put_frame(key, every.filter(sku.fill_null("") != "").select("item_sku").sort("item_sku"))
        return key

    def _together(self) -> pl.DataFrame:
        parts = [pl.DataFrame(schema={"item_sku": pl.String, "len": pl.UInt32}), *self._parts]
        repaired = pl.concat(parts).with_columns(as_repaired(pl.col("item_sku")))
        return repaired.group_by("item_sku").agg(pl.col("len").sum())
