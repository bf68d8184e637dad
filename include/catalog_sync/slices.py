"""Slices: a long plan is sent in parts, and between two of them whoever waits to send has its turn.

A plan that no night has made is cut into slices of ``SLICE`` batches. The first goes under the plan's own number. Each
later one is *opened*: it takes the lease anew, and with it a higher number, and leaves out the rows for which a plan
that was made meanwhile knows better. What is left out is booked as in doubt, like rows that a plan leaves to another.

A slice is opened once. It then is what a plan is: fenced by its number, and superseded for good when another run has
taken the lease before all of it was sent.

This module is used by the upload tasks, so that it imports a frame library only when there is something to leave out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from catalog_sync.run import Kind
from catalog_sync.turns import take_turn

if TYPE_CHECKING:
    import polars as pl

    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Batches of one slice: with the tickets' nine requests a second a night waits minutes at most.
SLICE = 50

Plan = dict[str, Any]


def batches_of_a_slice(run: Run) -> int:
    """Return how many batches of the run's plan are sent in one go; 0 for all of them."""
    return 0 if run.options.kind is Kind.NIGHT else SLICE


def slice_of(plan: Plan, batch: int) -> int:
    """Return the number of the slice, from 1, that the batch belongs to."""
    size = plan.get("slice", 0)
    return (batch - 1) // size + 1 if size else 1


def slices_of(plan: Plan) -> int:
    """Return how many slices the plan has."""
    return slice_of(plan, max(plan["batches"], 1))


def is_sent(plan: Plan, number: int, batches: int) -> bool:
    """Tell whether so many batches are all of the slice ``number``."""
    size = plan.get("slice", 0) or plan["batches"]
    return bool(batches >= min(size, plan["batches"] - (number - 1) * size))


def with_slices(run: Run, plan: Plan) -> Plan:
    """Return the plan as it stands: ``numbers`` are those of its opened slices, which may have left rows out."""
    numbers = {1: plan["plan_number"]}
    for number in range(2, slices_of(plan) + 1):
        if not run.lake.exists(_key(run, number)):
            continue
        opened = run.lake.get_json(_key(run, number))
        numbers[number] = opened["plan_number"]
        for batch, made in opened["batches"].items():
            plan["batch_list"][int(batch) - 1] = made
        if archives := opened.get("archives", 0):
            books = plan["leaving"]["books"]
            books |= {"planned": books["planned"] - archives, "in_doubt": books["in_doubt"] + archives}
        for store, rows in opened["left"].items():
            line = plan["counts"][store]
            line["planned"] -= rows
            line["in_doubt"] = line.get("in_doubt", 0) + rows
            plan["rows"] -= rows
        plan["events"] = [*plan["events"], *opened["events"]]
    return {**plan, "numbers": numbers}


def open_slice(run: Run, number: int) -> Plan:
    """Open the slice, unless it was opened before, and return the plan as it stands then.

    :raises RetryLater: another run is sending and did not stop in time.
    """
    run.lake.once(_key(run, number), lambda: _open(run, number))
    return run.plan


def _key(run: Run, number: int) -> str:
    return run.key(f"slices/{number:04d}.json")


def _open(run: Run, number: int) -> dict[str, Any]:
    plan = run.plan
    plan_number = take_turn(run, _key(run, number), number)
    if plan_number is None:
        return dict(run.lake.get_json(_key(run, number)))
    made: dict[str, Any] = {"slice": number, "plan_number": plan_number, "opened_at": run.clock.time()}
    made |= {"batches": {}, "left": {}, "events": []}
    from catalog_sync.doubt import planned_between

    others = planned_between(run, plan["plan_number"], plan_number)
    if others:
        log.info("Slice %s: %s made plans since the last one", number, ", ".join(others))
        made |= _left_out(
            run, [batch for batch in plan["batch_list"] if slice_of(plan, batch["number"]) == number], others
        )
    return made


def _left_out(run: Run, batches: list[dict[str, Any]], others: list[str]) -> dict[str, Any]:
    """Return the batches without the rows that are left to the ``others``, and what was left out."""
    import polars as pl

    from catalog_sync.archives import is_archive, without_skus
    from catalog_sync.doubt import better_known
    from catalog_sync.fields import KEY

    known, made, archives = better_known(run, others), {}, 0
    left: list[pl.DataFrame] = []
    read: list[pl.DataFrame] = []
    for batch in batches:
        rows = run.lake.get_frame(batch["rows_key"])
        why = known.of(rows)
        if why.null_count() == len(rows):
            continue
        if is_archive(batch):
            events, made[str(batch["number"])] = without_skus(run, batch, rows, why)
            archives += events["item_sku"].n_unique()
            left.append(events)
            continue
        read.append(rows.filter(why.is_not_null()).select("store_id"))
        left.append(rows.filter(why.is_not_null()).select(*KEY, what=pl.lit("in_doubt"), code=pl.lit(""))
                    .with_columns(message=why.drop_nulls()))  # fmt: skip
        made[str(batch["number"])] = _without(run, batch, rows, why.is_null())
    if not left:
        return {}
    events = pl.concat(left)
    key = run.key(f"events/slice-{run.token()}.parquet")
    run.lake.put_frame(key, events)
    for why, count in Counter(events["message"]).items():
        log.warning("%s rows are in doubt and not sent now: %s", count, why)
    stores = pl.concat([events.select("store_id").head(0), *read]).group_by("store_id").len()
    return {"batches": made, "left": dict(stores.iter_rows()), "archives": archives, "events": [key]}


def _without(run: Run, batch: dict[str, Any], rows: pl.DataFrame, kept: pl.Series) -> dict[str, Any]:
    """Return the batch of the rows that are kept, written under names of its own."""
    items = json.loads(run.lake.get_compressed(batch["key"]))["catalogItems"]
    stay = [item for item, keep in zip(items, kept, strict=True) if keep]
    payload = json.dumps({"catalogItems": stay}, ensure_ascii=False, separators=(",", ":")).encode()
    rows = rows.filter(kept).drop("position").with_row_index("position")
    key = f"{batch['key'].removesuffix('.json.zst')}-{run.token()}"
    run.lake.put_compressed(f"{key}.json.zst", payload)
    run.lake.put_frame(f"{key}.rows.parquet", rows)
    from catalog_sync.payload import ranges

    return {
        **batch, "key": f"{key}.json.zst", "rows_key": f"{key}.rows.parquet", "items": len(rows), "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(), "ranges": ranges(rows),
    }  # fmt: skip
