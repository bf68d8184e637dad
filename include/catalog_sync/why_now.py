"""What the tables of the present have of a SKU, and what that makes of it in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.tables import ARCHIVE, Tables
from catalog_sync.verdicts import Verdict

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: What is told of the row that Amazon acknowledged.
_STANDING = (
    "store_id", "item_name", "external_product_id", "external_product_id_type", "standard_price", "brand_name",
    "state", "content_hash", "plan_number", "ingestion_id", "sent_at", "acknowledged_at", "dirty_until",
)  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Now:
    """What the tables of the present have of a SKU, in some stores."""

    acknowledged: list[Row]
    refusals: list[Row]
    held: list[Row]
    #: Since when no source has it, in any store (see ``_absent``); ``None`` when one has.
    absent: Row | None

    @classmethod
    def read(cls, run: Run, tables: Tables, sku: str, stores: list[str] | None) -> Now:
        """Read it.

        :param stores: only these; ``None`` for every store of the tables.
        """
        skus = pl.Series([sku])

        def rows(name: str, columns: list[str] | None = None) -> list[Row]:
            found = tables.read(name, stores or tables.sizes(name), columns, skus=skus)
            return [plain(row) for row in found.to_dicts()]

        absent = _absent(run, tables, skus)
        return cls(rows("acknowledged", list(_STANDING)), rows("refusals"), rows("held"), absent)

    @property
    def stores(self) -> set[str]:
        """The stores of which they have anything."""
        return {row["store_id"] for rows in (self.acknowledged, self.refusals, self.held) for row in rows}

    def of(self, store: str) -> Now:
        """Return what they have of it in one store."""
        acknowledged, refusals, held = (
            [row for row in rows if row["store_id"] == store] for rows in (self.acknowledged, self.refusals, self.held)
        )
        return Now(acknowledged, refusals, held, self.absent)

    def told(self) -> Row:
        """Return as JSON what they have of it in one store."""
        first = {"acknowledged": self.acknowledged, "held": self.held}
        return {**{name: rows[0] if rows else None for name, rows in first.items()}, "refusals": self.refusals}

    def standing(self) -> Verdict:
        """Return the verdict of the item in one store, as it stands."""
        if self.held:
            return Verdict.HELD
        states = {row["state"] for row in self.acknowledged}
        if "ACTIVE" in states:
            return self._leaving() if self.absent else Verdict.IN_STEP
        if "ARCHIVED" in states:
            return Verdict.ARCHIVED
        return Verdict.REFUSED if self.refusals else Verdict.ABSENT

    def gone(self) -> Verdict:
        """Return the verdict of the item in one store in which no source has it."""
        states = {row["state"] for row in self.acknowledged}
        if "ACTIVE" in states:
            return self._leaving() if self.absent else Verdict.LEFT
        return Verdict.ARCHIVED if states else Verdict.ABSENT

    def _leaving(self) -> Verdict:
        """Return the verdict of an item that no source has in any store, and that Amazon has."""
        refused = any(row["content_hash"] == ARCHIVE for row in self.refusals)
        return Verdict.ARCHIVE_REFUSED if refused else Verdict.LEAVING


def plain(row: Mapping[str, Any]) -> Row:
    """Return the row with times as Unix seconds, fit for JSON."""
    return {name: value.timestamp() if hasattr(value, "timestamp") else value for name, value in row.items()}


def _absent(run: Run, tables: Tables, skus: pl.Series) -> Row | None:
    """Return since when no source has the SKU, in any store, and when it is archived; ``None`` when one has it.

    :returns: ``since`` (Unix seconds) and ``first_run``; ``runs_missed``, complete runs that missed it, the last of
        them ``last_run``; ``after``, how many a SKU must miss to be archived; and ``left``, how many are left until
        then.
    """
    for row in tables.read("absent", [run.settings.retailer], skus=skus).to_dicts():
        missed, after = int(row["runs_missed"]), run.settings.archive.after
        return {
            "since": row["first_missed_at"].timestamp(),
            "first_run": row["first_run"],
            "last_run": row["last_run"],
            "runs_missed": missed,
            "after": after,
            "left": max(0, after - missed),
        }
    return None
