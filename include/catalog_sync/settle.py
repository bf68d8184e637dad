"""Settling: what Amazon's reports say becomes the acknowledged catalog.

Order: rows replaced, store by store → refusals → events → the attempt SETTLED in the ledger. Each step is a pure
function of what stands and of the outcomes, so that replaying any prefix changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import catalog_rows
from catalog_sync.attempts import ENDED, Attempt, State
from catalog_sync.clock import utc
from catalog_sync.doubt import attempts_of
from catalog_sync.fields import KEY
from catalog_sync.outcomes import outcomes_of
from catalog_sync.tables import EVENTS, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Automatic fresh runs after FATAL or CANCELLED.
MAX_FOLLOW_UPS = 2
#: So many attempts are settled at once: with 10,000 rows each it bounds memory.
CHUNK = 50


def settle(run: Run) -> dict[str, Any]:
    """Settle every attempt of the retailer whose end is known, late ones of earlier runs included.

    :returns: ``settled`` and ``booked_unknown`` (attempts), ``late`` (attempts of other runs), ``outcomes`` (rows by
        outcome), and ``follow_up``: whether a run from a fresh extract should follow, because an upload of this run
        ended FATAL or CANCELLED and the limit of two is not reached.
    """
    now = run.clock.time()
    attempts = attempts_of(run)
    _record_unsent(run)
    due = [(attempt, what) for attempt in attempts.open() if (what := _due(run, attempt, now))]
    due.sort(key=lambda pair: (pair[0].plan_number, pair[0].key.batch, pair[0].key.number))
    totals: Counter[str] = Counter()
    late = 0
    for first in range(0, len(due), CHUNK):
        chunk = due[first : first + CHUNK]
        frame = pl.concat([outcomes_of(run, attempt) for attempt, _ in chunk])
        _apply(run, frame, now)
        for attempt, what in chunk:
            mine = frame.filter((pl.col("run_id") == attempt.key.run_id) & (pl.col("attempt") == attempt.key.name))
            counts = Counter(dict(mine.group_by("outcome").len().iter_rows()))
            totals += counts
            if what == "book":
                attempts.booked(attempt, run.run_id)
                continue
            counted = _by_store(_news(run, attempt, mine)) or None if _is_late(run, attempt, now) else None
            late += attempts.settle(attempt, run.run_id, now, counted) and counted is not None
    own = attempts.of_run(run.run_id)
    broken = [a.key.name for a in own if a.end in (State.FATAL, State.CANCELLED)]
    return {
        "settled": sum(what == "settle" for _, what in due),
        "booked_unknown": sum(what == "book" for _, what in due),
        "late": late,
        "outcomes": dict(totals),
        "broken": broken,
        "follow_up": bool(broken) and run.options.follow_up < MAX_FOLLOW_UPS,
    }


def _due(run: Run, attempt: Attempt, now: float) -> str:
    """Return ``settle`` when the attempt's end is known, ``book`` when it is unknown for now, else nothing."""
    results = run.settings.results
    if attempt.state in (State.REJECTED, State.REFUSED, State.FAILED, State.CANCELLED, State.FATAL):
        return "settle"
    if attempt.state is State.DONE and attempt.report_key:
        return "settle"
    if now - attempt.sent_at > results.horizon.total_seconds():
        return "settle"
    given_up = attempt.state is State.UNKNOWN or (
        attempt.state not in ENDED and now - attempt.sent_at > results.give_up_after.total_seconds()
    )
    return "book" if given_up and "booked_in" not in attempt.item else ""


def _apply(run: Run, outcomes: pl.DataFrame, now: float) -> None:
    tables = Tables(run.lake)
    for (store,), rows in outcomes.group_by("store_id", maintain_order=True):
        name = str(store)
        tables.replace("acknowledged", name, partial(catalog_rows.replaced, outcomes=rows, now=now))
        if "refused" in rows["outcome"] or not tables.read("refusals", [name]).is_empty():
            standing = tables.read("acknowledged", [name])
            tables.replace("refusals", name, partial(catalog_rows.refused, outcomes=rows, acknowledged=standing))
    add_events(
        tables,
        outcomes.select(
            "run_id",
            "store_id",
            "item_sku",
            "code",
            "message",
            "ingestion_id",
            what="outcome",
            at="resolved_at",
        ),
    )


def add_events(tables: Tables, events: pl.DataFrame) -> None:
    """Add events to the table, each once however often it is added."""
    for (run_id,), mine in events.group_by("run_id"):
        tables.replace("events", str(run_id), partial(_with_events, added=mine))


def _with_events(before: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    whole = pl.concat([before, added.select(pl.col(name).cast(kind) for name, kind in EVENTS.items())]).unique()
    return whole.sort("item_sku", "store_id", "at", "what", "code", "ingestion_id")


def _is_late(run: Run, attempt: Attempt, now: float) -> bool:
    """Tell whether the books of the attempt's own run are closed, so that its outcomes belong into this run's.

    Another run that is under way (a backfill beside the night) books its own rows, whoever settles them. Its last
    upload may be hours younger than its first, so only what is beyond the horizon tells that a run has died.
    """
    other = attempt.key.run_id
    if other == run.run_id:
        return False
    if now - attempt.sent_at > run.settings.results.horizon.total_seconds():
        return True
    return any(run.lake.exists(f"runs/{other}/{name}.json") for name in ("books", "books-incomplete"))


def _news(run: Run, attempt: Attempt, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that no other attempt of the attempt's run has brought to an end: a row is booked once."""
    others = [
        other for other in attempts_of(run).of_batch(attempt.key.run_id, attempt.key.batch) if other.key != attempt.key
    ]
    for other in others:
        if other.report_key or other.end is State.REFUSED:
            told = outcomes_of(run, other).filter(pl.col("outcome").is_in(["acknowledged", "refused"]))
            outcomes = outcomes.join(told, on=list(KEY), how="anti")
    return outcomes


def _by_store(outcomes: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many rows of each store came to which end."""
    counts: dict[str, dict[str, int]] = {}
    for store, outcome, rows in outcomes.group_by("store_id", "outcome").len().iter_rows():
        counts.setdefault(store, {})[outcome] = rows
    return counts


def _record_unsent(run: Run) -> None:
    """Add the events of what the run did not send: rejected, suspended, in doubt and held rows."""
    if not run.lake.exists(run.key("plan.json")):
        return
    manifests = [run.plan]
    for shard in run.lake.get_json(run.key("shards.json"))["shards"]:
        manifests.append(run.lake.get_json(run.key(f"prepare/{shard['name']}.json")))
    frames = [run.lake.get_frame(manifest["events_key"]) for manifest in manifests if manifest["events_key"]]
    if frames:
        at = utc(float(run.manifest["started_at"]))
        rows = pl.concat(frames).with_columns(run_id=pl.lit(run.run_id), ingestion_id=pl.lit(""), at=pl.lit(at))
        add_events(Tables(run.lake), rows)
