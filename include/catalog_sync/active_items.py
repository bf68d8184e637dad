"""A store's active items at Amazon before and after a run, and what explains the difference (invariant I6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.abandoned import last_sent
from catalog_sync.attempts import State
from catalog_sync.booking import booked_elsewhere, late_attempts
from catalog_sync.doubt import attempts_of, planned_between
from catalog_sync.fields import KEY
from catalog_sync.lease import Lease
from catalog_sync.tables import ARCHIVE, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

_OUTCOME = [*KEY, "outcome", "content_hash"]


def active_items(run: Run, plan: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the active items before and after of each store whose rows were settled, and what explains the difference.

    Before is the table as the plan saw it; what explains it is read from the outcomes that were settled since.
    """
    settled = [run.lake.get_frame(key, _OUTCOME) for key in settled_outcomes(run) if run.lake.exists(key)]
    outcomes = pl.concat([pl.DataFrame(schema=dict.fromkeys(_OUTCOME, pl.String)), *settled]).filter(
        pl.col("outcome") == "acknowledged"
    )
    stores = sorted(outcomes["store_id"].unique())
    if not stores:
        return {}
    tables, columns = Tables(run.lake), [*KEY, "state"]
    version = plan["acknowledged_version"]
    before = tables.read("acknowledged", stores if version is not None else [], columns, version)
    after = tables.read("acknowledged", stores, columns)
    archive = pl.col("content_hash") == ARCHIVE
    ours = outcomes.select(*KEY, state=pl.when(archive).then(pl.lit("ARCHIVED")).otherwise(pl.lit("ACTIVE"))).unique()
    # What only another run settled, meanwhile or since, is in the books of that run. For ours it stands as it stood.
    others = after.join(before, on=columns, how="anti").join(ours, on=columns, how="anti")
    stood = before.join(others, on=list(KEY), how="semi")
    after = pl.concat([after.join(others, on=list(KEY), how="anti"), stood])
    active = before.filter(pl.col("state") == "ACTIVE")
    standing = after.filter(pl.col("state") == "ACTIVE")
    gained = outcomes.filter(~archive).select(KEY).unique().join(before, on=list(KEY), how="left")
    gained = gained.join(standing, on=list(KEY), how="semi")
    lost = outcomes.filter(archive).select(KEY).unique().join(active, on=list(KEY), how="semi")
    lost = lost.join(standing, on=list(KEY), how="anti")
    lines = {
        store: {"active_before": 0, "new": 0, "reactivated": 0, "archived": 0, "active_after": 0} for store in stores
    }
    for frame, column in (
        (active, "active_before"),
        (standing, "active_after"),
        (lost, "archived"),
        (gained.filter(pl.col("state").is_null()), "new"),
        (gained.filter(pl.col("state") == "ARCHIVED"), "reactivated"),
    ):
        for store, rows in frame.group_by("store_id").len().iter_rows():
            lines[store][column] = rows
    return lines


def version_after(run: Run, plan: dict[str, Any], before: dict[str, Any]) -> int | None:
    """Return the version of the acknowledged rows that stood after the run, to which a rollback goes back.

    It is the version of now, unless another run has made a plan since: then that of the books that the run has made
    before, if they have all that was settled of it, else that which the first run found that began after it gave up
    waiting.

    :param before: the books that the run has made before; may be empty.
    """
    number = max(plan.get("numbers", {}).values(), default=0) or int(run.manifest["plan_number_before"])
    last = Lease.of(run).read().token
    settled = max((float(one.item.get("settled_at", 0)) for one in attempts_of(run).of_run(run.run_id)), default=0.0)
    if before and last > number and settled <= float(before["accounted_at"]):
        known = before.get("acknowledged_after")
        return None if known is None else int(known)
    sent = last_sent(run, run.run_id) or float(run.manifest["started_at"])
    gave_up = sent + run.settings.results.give_up_after.total_seconds()
    others = map(run.of, planned_between(run, number, last + 1))
    found = (one.plan["acknowledged_version"] for one in others if float(one.manifest["started_at"]) > gave_up)
    return next(found, Tables(run.lake).version("acknowledged"))


def settled_outcomes(run: Run) -> list[str]:
    """Return the keys of what became of the attempts that the run has settled, late ones of other runs included."""
    mine = [attempt for attempt in attempts_of(run).of_run(run.run_id) if attempt.state is State.SETTLED]
    booked = set(booked_elsewhere(run))
    names = [(run.run_id, attempt.key.name) for attempt in mine if attempt.key.name not in booked]
    return [f"runs/{run_id}/outcomes/{name}.parquet" for run_id, name in [*names, *late_attempts(run)]]
