"""Settling: what Amazon's reports say becomes the acknowledged catalog.

Order: rows replaced, store by store → refusals → held rows → events → the attempt SETTLED in the ledger. Each step is a
pure function of what stands and of the outcomes, so that replaying any prefix changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import catalog_rows, held, journal
from catalog_sync.abandoned import booked_at
from catalog_sync.attempts import ENDED, Attempt, State
from catalog_sync.clock import utc
from catalog_sync.doubt import attempts_of
from catalog_sync.keyed import within, without
from catalog_sync.lease import Lease
from catalog_sync.measures import stage
from catalog_sync.outcomes import archive_lines, archive_words, outcomes_of
from catalog_sync.parallel import in_threads
from catalog_sync.run_metrics import announce, count_late
from catalog_sync.tables import Tables, unsent_part

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Automatic fresh runs after FATAL or CANCELLED.
MAX_FOLLOW_UPS = 2
#: So many attempts are settled at once: with 10,000 rows each it bounds memory.
CHUNK = 50
#: So many rows, standing and new, are replaced in one commit; it bounds memory, too.
PACK = 250_000


@stage("settle")
def settle(run: Run) -> dict[str, Any]:
    """Settle every attempt of the retailer whose end is known, late ones of earlier runs included.

    :returns: ``settled`` and ``booked_unknown`` (attempts), ``late`` (attempts of other runs), ``outcomes`` (rows by
        outcome), and ``follow_up``: whether a run from a fresh extract should follow, because an upload of this run
        ended FATAL or CANCELLED and the limit of two is not reached. A release has none: its approval is used up, and
        the next night holds anew what is left.
    """
    announce(run)
    now = run.clock.time()
    attempts = attempts_of(run)
    _record_unsent(run)
    # What a run settled of others whose books are not made again would stand nowhere.
    closed = bool(journal.closed_books(run))
    found = (attempt for attempt in attempts.open() if not closed or attempt.key.run_id == run.run_id)
    due = [(attempt, what) for attempt in found if (what := _due(run, attempt, now))]
    due.sort(key=lambda pair: (pair[0].plan_number, pair[0].key.batch, pair[0].key.number))
    next_plan = Lease.of(run).read().token + 1  # read after the ends were: what has this number was sent after them
    booked: dict[str, float] = {}
    totals: Counter[str] = Counter()
    late = 0
    for first in range(0, len(due), CHUNK):
        chunk = due[first : first + CHUNK]
        ends = list(in_threads(lambda pair: outcomes_of(run, pair[0], next_plan), chunk))
        # Rows of one chunk are moved many times faster.
        told = pl.concat(ends, how="diagonal_relaxed", rechunk=True)
        _apply(run, pl.concat([told, *_broken_since(run, told, next_plan)], how="diagonal_relaxed"), now)
        named = {
            f"{attempt.key.pointer}/{what}": _events(rows) for (attempt, what), rows in zip(chunk, ends, strict=True)
        }
        Tables(run.lake).append_once("events", named)
        for (attempt, what), mine in zip(chunk, ends, strict=True):
            totals += Counter(dict(archive_lines(mine).group_by("outcome").len().iter_rows()))
            if what == "book":
                attempts.booked(attempt, run.run_id)
                continue
            counted = None
            if _is_late(run, attempt, now, booked):
                counted = _by_store(_news(run, attempt, mine, next_plan)) or None
            if attempts.settle(attempt, run.run_id, now, counted) and counted is not None:
                late += 1
                count_late(counted)
    own = attempts.of_run(run.run_id)
    broken = [a.key.name for a in own if a.end in (State.FATAL, State.CANCELLED)]
    return {
        "settled": sum(what == "settle" for _, what in due),
        "booked_unknown": sum(what == "book" for _, what in due),
        "late": late,
        "outcomes": dict(totals),
        "broken": broken,
        "follow_up": bool(broken) and not run.options.release and run.options.follow_up < MAX_FOLLOW_UPS,
    }


def packs(added: dict[str, int], standing: dict[str, int]) -> Iterator[list[str]]:
    """Yield the stores, as many together as ``PACK`` rows allow, one at least."""
    pack: list[str] = []
    room = PACK
    for store in sorted(added):
        rows = added[store] + standing.get(store, 0)
        if pack and rows > room:
            yield pack
            pack, room = [], PACK
        pack.append(store)
        room -= rows
    if pack:
        yield pack


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
    added = dict(outcomes.group_by("store_id").len().iter_rows())
    refusing, holding = tables.sizes("refusals").keys(), tables.sizes("held").keys()
    for stores in packs(added, tables.sizes("acknowledged")):
        rows = outcomes.filter(pl.col("store_id").is_in(stores))
        standing = tables.replace("acknowledged", stores, partial(catalog_rows.replaced, outcomes=rows, now=now))
        if "refused" in rows["outcome"] or refusing & set(stores):
            tables.replace("refusals", stores, partial(catalog_rows.refused, outcomes=rows, acknowledged=standing))
        if holds := holding & set(stores):
            tables.replace("held", holds, partial(held.settled, outcomes=rows))


def _broken_since(run: Run, told: pl.DataFrame, next_plan: int) -> list[pl.DataFrame]:
    """Return what newer attempts, settled before, have left unproven of the rows that ``told`` speaks of.

    A row that nothing was acknowledged of could not be made dirty then. Now that an older attempt acknowledges it, it
    must be; for a row that stood, saying it again changes nothing.
    """
    oldest = told["plan_number"].min() if len(told) else next_plan
    found = []
    for number in range(int(str(oldest)) + 1, next_plan):
        made = run.ledger.get(f"PLANS#{run.settings.retailer}", f"{number:012d}")
        for attempt in attempts_of(run).of_run(str(made["run_id"])) if made else ():
            if attempt.plan_number != number:  # it has several: a number for each slice
                continue
            if attempt.state is State.SETTLED and attempt.end not in (State.REJECTED, State.REFUSED):
                rows = outcomes_of(run, attempt, next_plan).filter(pl.col("outcome").is_in(["failed", "unknown"]))
                found.append(within(rows, told))
    return [rows for rows in found if len(rows)]


def _events(outcomes: pl.DataFrame) -> pl.DataFrame:
    listed = outcomes.filter("listed") if "listed" in outcomes.columns else outcomes
    return archive_words(listed).select(
        "run_id", "store_id", "item_sku", "code", "message", "ingestion_id", what="outcome", at="resolved_at"
    )


def _is_late(run: Run, attempt: Attempt, now: float, booked: dict[str, float]) -> bool:
    """Tell whether the books of the attempt's own run are closed, so that its outcomes belong into this run's.

    Another run that is under way (a backfill beside the night, or one that was cleared) books its own rows, whoever
    settles them. Its last upload may be hours younger than its first, so only what is beyond the horizon tells that a
    run has died.

    :param booked: when runs made their books, as far as was asked; it is asked again until they have made them.
    """
    other = attempt.key.run_id
    if other == run.run_id:
        return False
    if now - attempt.sent_at > run.settings.results.horizon.total_seconds():
        return True
    if attempt.sent_at > booked.get(other, 0.0):
        booked[other] = booked_at(run, other) or 0.0
    return attempt.sent_at <= booked[other]


def _news(run: Run, attempt: Attempt, outcomes: pl.DataFrame, next_plan: int) -> pl.DataFrame:
    """Return the rows that no other attempt of the attempt's run has brought to an end: a row is booked once."""
    others = [
        other for other in attempts_of(run).of_batch(attempt.key.run_id, attempt.key.batch) if other.key != attempt.key
    ]
    for other in others:
        if other.report_key or other.end is State.REFUSED:
            told = outcomes_of(run, other, next_plan)
            outcomes = without(outcomes, told.filter(pl.col("outcome").is_in(["acknowledged", "refused"])))
    return outcomes


def _by_store(outcomes: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many rows of each store came to which end; of an archive, how many SKUs in all stores."""
    counts: dict[str, dict[str, int]] = {}
    for store, outcome, rows in archive_lines(outcomes).group_by("store_id", "outcome").len().iter_rows():
        counts.setdefault(store, {})[outcome] = rows
    return counts


def _record_unsent(run: Run) -> None:
    """Add the events of what the run did not send: rejected, suspended, in doubt and held rows."""
    if not run.lake.exists(run.key("plan.json")):
        return
    manifests = [run.plan]
    for shard in run.lake.get_json(run.key("shards.json"))["shards"]:
        manifests.append(run.lake.get_json(run.key(f"prepare/{shard['name']}.json")))
    frames = [run.lake.get_frame(key) for manifest in manifests for key in manifest["events"]]
    if frames:
        at = utc(float(run.manifest["started_at"]))
        rows = pl.concat(frames).with_columns(run_id=pl.lit(run.run_id), ingestion_id=pl.lit(""), at=pl.lit(at))
        Tables(run.lake).append_once("events", {unsent_part(run.run_id): rows})
