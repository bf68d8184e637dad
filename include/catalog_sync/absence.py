"""Counting how long a SKU is absent: in how many complete runs no source had it (design §9). Pure functions of frames.

- A SKU that was read anywhere, in any row, is present, and is not counted any more.
- A run counts once, however often it is tried or cleared, and not when another run has read later.
- A row whose SKU cannot be told might be any SKU. So an absence counts only in a run that has no more of such rows than
  the last run that still had the SKU.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from catalog_sync.clock import utc
from catalog_sync.tables import ABSENT

_SKU = pl.col("item_sku")
#: Stands for the runs themselves (see ``tables.ABSENT``).
RUNS = ""


@dataclass(frozen=True)
class Reading:
    """What one run has read: from when until when (Unix seconds), and which SKUs.

    ``complete``: whether it may count; ``untellable``: rows whose SKU cannot be told; ``present``: the SKUs that it has
    read; ``gone``: those that Amazon has and that it has not read.
    """

    retailer: str
    run_id: str
    began: float
    ended: float
    complete: bool
    untellable: int
    present: pl.Series
    gone: pl.Series


def counted(before: pl.DataFrame, reading: Reading, apart: timedelta) -> pl.DataFrame:
    """Return the lines of the table ``absent`` after the run's reading; the same lines when it says nothing new.

    :param before: the retailer's lines.
    :param apart: how long after the last run that counted another one may count.
    """
    runs = _runs(before)
    if runs and (runs["first_run"] == reading.run_id or runs["first_missed_at"] >= utc(reading.began)):
        return before
    counts = reading.complete and (
        runs is None or runs["last_missed_at"] is None or utc(reading.began) - runs["last_missed_at"] >= apart
    )
    known = int(runs["untellable_before"]) if runs else 0
    lines = before.filter((_SKU != RUNS) & ~_SKU.is_in(reading.present.implode()))
    if counts:
        lines = _missed_again(lines, reading, known)
    mark: dict[str, Any] = {
        "retailer": reading.retailer, "item_sku": RUNS, "first_run": reading.run_id,
        "first_missed_at": utc(reading.ended), "runs_missed": 0,
        "last_run": reading.run_id if counts else (runs or {}).get("last_run", ""),
        "last_missed_at": utc(reading.began) if counts else (runs or {}).get("last_missed_at"),
        # A run that is not complete may lack such rows, too: it makes nobody bolder.
        "untellable_before": reading.untellable if counts else min(known, reading.untellable),
    }  # fmt: skip
    return pl.concat([lines.select(list(ABSENT)), pl.DataFrame([mark], schema=ABSENT)]).sort("item_sku")


def due(lines: pl.DataFrame, run_id: str, after: int) -> pl.Series:
    """Return the SKUs that were absent from ``after`` complete runs, of which the run ``run_id`` is the last."""
    runs = _runs(lines)
    if runs is None or runs["last_run"] != run_id:
        return pl.Series("item_sku", [], pl.String)
    return lines.filter((_SKU != RUNS) & (pl.col("runs_missed") >= after) & (pl.col("last_run") == run_id))["item_sku"]


def why_not_counted(lines: pl.DataFrame, reading: Reading) -> str:
    """Return why a complete reading did not count after all; empty when it did."""
    runs = _runs(lines) or {}
    if runs.get("last_run") == reading.run_id:
        return ""
    if runs.get("first_run") != reading.run_id:
        return f"run {runs.get('first_run')} has read the sources since"
    return f"run {runs['last_run']} counted a short time before (archive.apart)"


def _missed_again(lines: pl.DataFrame, reading: Reading, known: int) -> pl.DataFrame:
    """Return a line for each SKU that is gone; one that Amazon no longer has needs none."""
    new = reading.gone.filter(~reading.gone.is_in(lines["item_sku"].implode()))
    began = pl.lit(utc(reading.began)).cast(ABSENT["first_missed_at"])
    fresh = pl.DataFrame({"item_sku": new}, schema={"item_sku": pl.String}).select(
        retailer=pl.lit(reading.retailer),
        item_sku="item_sku",
        first_run=pl.lit(reading.run_id),
        first_missed_at=began,
        runs_missed=pl.lit(0, pl.Int64),
        last_run=pl.lit(""),
        last_missed_at=pl.lit(None, ABSENT["last_missed_at"]),
        untellable_before=pl.lit(known, pl.Int64),
    )
    sure = pl.lit(reading.untellable) <= pl.col("untellable_before")
    return pl.concat([lines.filter(_SKU.is_in(reading.gone.implode())).select(list(ABSENT)), fresh]).with_columns(
        runs_missed=pl.col("runs_missed") + sure.cast(pl.Int64),
        last_run=pl.when(sure).then(pl.lit(reading.run_id)).otherwise("last_run"),
        last_missed_at=pl.when(sure).then(began).otherwise("last_missed_at"),
    )


def _runs(lines: pl.DataFrame) -> dict[str, Any] | None:
    found = lines.filter(_SKU == RUNS).to_dicts()
    return found[0] if found else None
