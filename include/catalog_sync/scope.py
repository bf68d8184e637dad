"""The rows that a run is about, when it is not about all rows of its stores.

SKUs (typed or in a file) and departments choose rows by what the sources say. *Changed since* chooses by what Amazon
has acknowledged: every row that differs from it, and of the others those that were settled at that time or later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.clock import parsed
from catalog_sync.diff import Action
from catalog_sync.errors import BadInput, shorten
from catalog_sync.fields import KEY
from catalog_sync.keyed import within
from catalog_sync.sku_file import skus_of_file

if TYPE_CHECKING:
    from catalog_sync.contract.trade_items import Items
    from catalog_sync.run import Run

#: The field of an item that says its department.
DEPARTMENT = "product_category"
#: The columns of the rows that a narrowed run is about.
COVERED = dict.fromkeys([*KEY, DEPARTMENT], pl.String())
#: So many SKUs or departments that were asked for in vain are named.
_NAMED = 10


@dataclass(frozen=True)
class Scope:
    """What narrows a run.

    :param skus: the SKUs that are meant; ``None`` for all.
    :param departments: the departments that are meant, as they are compared (see ``_plain``); empty for all.
    :param since: the time of *changed since*.
    """

    skus: pl.Series | None
    departments: tuple[str, ...]
    since: datetime | None

    @classmethod
    def of(cls, run: Run) -> Scope:
        """Return what narrows the run. A file of SKUs is read once, by whoever asks first.

        :raises BadInput: the file is no list of SKUs; no source has departments; the time is none, lies in the future,
            or would choose among rows that are not sent.
        """
        asked = run.options
        if asked.departments and not any(
            DEPARTMENT in run.settings.mapping_of(one.name) for one in run.settings.sources
        ):
            raise BadInput(f"departments: no source is mapped to {DEPARTMENT}, so that no row has a department")
        skus = pl.Series("item_sku", asked.skus, dtype=pl.String) if asked.skus else None
        if asked.skus_file:
            listed = skus_of_file(run)
            skus = listed if skus is None else pl.concat([skus, listed]).unique(maintain_order=True)
        return cls(skus, tuple(_plain(name) for name in asked.departments), _time(run))

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.skus is not None or self.departments or self.since)

    def narrow(
        self, items: Items, rejects: pl.DataFrame, rows: pl.DataFrame
    ) -> tuple[Items, pl.DataFrame, pl.DataFrame]:
        """Return the items and rejects that are meant, and ``store_id`` of each row that is not.

        :param rows: the merged rows, which tell the department of a reject; one without is kept.
        """
        if self.skus is None and not self.departments:
            return items, rejects, items.rows.head(0).select("store_id")
        meant, refused = pl.lit(True), pl.lit(True)
        if self.skus is not None:
            meant = refused = pl.col("item_sku").is_in(self.skus.implode()).fill_null(False)
        described = items.rows.select("item_sku", items.trade_items[DEPARTMENT][items.rows["trade_item"]])
        if self.departments:
            here = _plain_column(pl.col(DEPARTMENT)).is_in(self.departments)
            meant, refused = meant & here, refused & here.fill_null(True)
            rejects = rejects.join(rows.with_row_index("row_id").select("row_id", DEPARTMENT), on="row_id", how="left")
        kept = described.select(meant.fill_null(False)).to_series()
        stay = rejects.select(refused).to_series()
        out = pl.concat(
            [items.filter(~kept).rows.select("store_id"), rejects.filter(~stay).unique("row_id").select("store_id")]
        )
        return items.filter(kept), rejects.filter(stay).drop(DEPARTMENT, strict=False), out

    def recent(self, compared: pl.DataFrame, acknowledged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the compared rows that *changed since* means, and those that it leaves out.

        :param compared: rows with ``action``, as if nothing were sent again that stands.
        :param acknowledged: ``KEY`` and ``acknowledged_at``.
        """
        if self.since is None:
            return compared, compared.head(0)
        settled = within(compared, acknowledged.filter(pl.col("acknowledged_at") >= self.since))
        old = pl.col("action") == Action.UNCHANGED
        fresh = within(compared.filter(old), settled).with_columns(action=pl.lit(Action.RESENT.value))
        left_out = compared.filter(old).join(fresh, on=list(KEY), how="anti")
        return pl.concat([compared.filter(~old), fresh]), left_out


@dataclass(frozen=True)
class Covered:
    """The rows that a run was about, once its shards are prepared."""

    run: Run

    @cached_property
    def rows(self) -> pl.DataFrame | None:
        """``COVERED`` of the rows; ``None`` when it was about all rows of its stores."""
        run = self.run
        if not run.options.narrowed:
            return None
        shards = run.lake.get_json(run.key("shards.json"))["shards"]
        manifests = (run.lake.get_json(run.key(f"prepare/{shard['name']}.json")) for shard in shards)
        keys = [key for manifest in manifests for key in manifest.get("covered", ())]
        return pl.concat([pl.DataFrame(schema=COVERED), *(run.lake.get_frame(key) for key in keys)])

    def missing(self, departments: Iterable[str]) -> list[str]:
        """Return what was asked for in vain, a sentence each: most often it is misspelt.

        :param departments: every department that the sources have.
        """
        asked, rows = Scope.of(self.run), self.rows
        if rows is None:
            return []
        told = []
        if asked.skus is not None:
            lacking = asked.skus.filter(~asked.skus.is_in(rows["item_sku"].implode()))
            what = f"{len(lacking):,} of {len(asked.skus):,} SKUs have no row {_where(self.run)}: {_some(lacking)}"
            told += [what] if len(lacking) else []
        known = {_plain(name): " ".join(name.split()) for name in departments}
        for wanted, name in zip(asked.departments, self.run.options.departments, strict=True):
            near = [known[one] for one in get_close_matches(wanted, known, 3)] or sorted(known.values())[:_NAMED]
            what = f"no row has the department {shorten(name)!r}; there are {shorten(', '.join(near), 300) or 'none'}"
            told += [what] if wanted not in known else []
        return told


def covered_rows(items: Items, rejects: pl.DataFrame) -> pl.DataFrame:
    """Return ``COVERED`` of what one part of a narrowed run is about."""
    accepted = items.rows.select(*KEY, items.trade_items[DEPARTMENT][items.rows["trade_item"]])
    refused = rejects.select(*KEY, pl.lit(None, pl.String).alias(DEPARTMENT)).drop_nulls(KEY).unique()
    return pl.concat([accepted, refused])


def described(options: Any) -> str:
    """Return in words what narrows a run, for people; empty when nothing does."""
    parts = [
        ("store", options.stores),
        ("SKU", options.skus),
        ("SKUs of", (options.skus_file,) if options.skus_file else ()),
        ("department", options.departments),
        ("changed since", (options.changed_since,) if options.changed_since else ()),
    ]
    return "; ".join(f"{what} {shorten(', '.join(values), 200)}" for what, values in parts if values)


def _time(run: Run) -> datetime | None:
    text = run.options.changed_since
    if not text:
        return None
    where = f"changed_since = {shorten(text)!r}"
    try:
        time = parsed(text, run.settings.schedule.timezone)  # without an offset it is the retailer's own time
    except ValueError:
        raise BadInput(f"{where}: is no time such as 2026-11-27T18:00 or 2026-11-27T18:00+01:00") from None
    if time.timestamp() > run.clock.time():
        raise BadInput(f"{where}: lies in the future")
    if not run.options.resend:
        raise BadInput(
            f"{where}: chooses among the rows that Amazon acknowledged, and they are only sent with 'resend'; what "
            "differs is sent without it, whenever it changed"
        )
    return time


def _plain(name: str) -> str:
    return " ".join(name.split()).lower()


def _plain_column(name: pl.Expr) -> pl.Expr:
    return name.str.strip_chars().str.replace_all(r"\s+", " ").str.to_lowercase()


def _some(values: pl.Series) -> str:
    more = ", …" if len(values) > _NAMED else ""
    return ", ".join(shorten(value, 40) for value in values.head(_NAMED)) + more


def _where(run: Run) -> str:
    given = (("stores", run.options.stores), ("departments", run.options.departments))
    where = [what for what, some in given if some]
    return f"in these {' and '.join(where)}" if where else "in any source"
