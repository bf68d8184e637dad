"""Which rows are in doubt: their last attempt may still be applied by Amazon, or may have been, without our knowing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.attempts import Attempt, Attempts
from catalog_sync.fields import KEY
from catalog_sync.scope import Covered

if TYPE_CHECKING:
    from catalog_sync.run import Run

_EMPTY = pl.DataFrame(schema={"store_id": pl.String, "item_sku": pl.String, "sent_at": pl.Float64})


def attempts_of(run: Run) -> Attempts:
    """Return the attempts of the run's retailer."""
    return Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())


def doubtful_rows(run: Run, stores: Collection[str] | None = None) -> pl.DataFrame:
    """Return ``store_id``, ``item_sku`` and ``sent_at`` (the latest) of the rows in doubt, of all stores or some."""
    return _rows(run, (attempt for attempt in attempts_of(run).open() if attempt.in_doubt), stores)


def planned_between(run: Run, number: int) -> list[str]:
    """Return the other runs that have made plans since the run began to read and before its own plan ``number``."""
    others = []
    for between in range(int(run.manifest["plan_number_before"]) + 1, number):
        made = run.ledger.get(f"PLANS#{run.settings.retailer}", f"{between:012d}")
        if made and made["run_id"] != run.run_id and run.lake.exists(run.of(str(made["run_id"])).key("plan.json")):
            others.append(str(made["run_id"]))
    return others


def newer_readings(run: Run, number: int) -> dict[str, pl.Expr]:
    """Return the runs that read after this one did and have planned before it, each with what it was about.

    What such a run was about it has decided on newer rows, also where it found nothing to send: a task that is cleared
    days later must not send what was read then.
    """
    read_at = max(
        (run.lake.get_json(run.key(f"extract/{source.name}.json"))["read_at"] for source in run.settings.sources),
        default=0.0,
    )
    found = {}
    for other in planned_between(run, number):
        manifest = run.of(other).manifest
        if manifest["started_at"] >= read_at:
            stores, rows = manifest["options"]["stores"], Covered(run.of(other)).rows
            in_stores = pl.col("store_id").is_in(stores) if stores else pl.lit(True)
            found[other] = in_stores if rows is None else _key().is_in(rows.select(_key()).to_series().implode())
    return found


def planned_rows(run: Run, run_id: str) -> pl.DataFrame:
    """Return ``store_id`` and ``item_sku`` of every row that the plan of the run ``run_id`` holds."""
    batches = run.of(run_id).plan["batch_list"]
    frames = (run.lake.get_frame(batch["rows_key"], list(KEY)) for batch in batches)
    return pl.concat([_EMPTY.select(KEY), *frames])


def _key() -> pl.Expr:
    return pl.concat_str(KEY, separator="\t")


def _rows(run: Run, attempts: Iterable[Attempt], stores: Collection[str] | None) -> pl.DataFrame:
    frames = [_EMPTY]
    plans: dict[str, list[dict[str, object]]] = {}
    for attempt in attempts:
        run_id = attempt.key.run_id
        if run_id not in plans:
            plans[run_id] = run.of(run_id).plan["batch_list"]
        batch = plans[run_id][attempt.key.batch - 1]
        ranges: list[dict[str, object]] = batch["ranges"]  # type: ignore[assignment]
        if stores is not None and not any(piece["store"] in stores for piece in ranges):
            continue
        keys = run.lake.get_frame(str(batch["rows_key"]), list(KEY)).slice(attempt.start, attempt.rows)
        frames.append(keys.with_columns(sent_at=pl.lit(attempt.sent_at)))
    rows = pl.concat(frames)
    if stores is not None:
        rows = rows.filter(pl.col("store_id").is_in(list(stores)))
    return rows.group_by(KEY).agg(pl.col("sent_at").max())
