"""Which rows are in doubt: their last attempt may still be applied by Amazon, or may have been, without our knowing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.attempts import Attempt, Attempts
from catalog_sync.fields import KEY

if TYPE_CHECKING:
    from catalog_sync.run import Run

_EMPTY = pl.DataFrame(schema={"store_id": pl.String, "item_sku": pl.String, "sent_at": pl.Float64})


def attempts_of(run: Run) -> Attempts:
    """Return the attempts of the run's retailer."""
    return Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())


def doubtful_rows(run: Run, stores: Collection[str] | None = None) -> pl.DataFrame:
    """Return ``store_id``, ``item_sku`` and ``sent_at`` (the latest) of the rows in doubt, of all stores or some."""
    return _rows(run, (attempt for attempt in attempts_of(run).open() if attempt.in_doubt), stores)


def planned_rows(run: Run, run_ids: Iterable[str]) -> pl.DataFrame:
    """Return ``store_id`` and ``item_sku`` of every row that the plans of the given runs hold."""
    frames = [_EMPTY.select(KEY)]
    for run_id in run_ids:
        other = run.of(run_id)
        if run.lake.exists(other.key("plan.json")):
            frames += [run.lake.get_frame(batch["rows_key"], list(KEY)) for batch in other.plan["batch_list"]]
    return pl.concat(frames).unique()


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
