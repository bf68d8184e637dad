"""The plan: which rows are sent, in batches ready to send, under a number that fences off older plans."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.archives import write_archives
from catalog_sync.changes import CHANGES
from catalog_sync.diff import Action
from catalog_sync.doubt import doubtful_rows, newer_readings, planned_between, planned_rows
from catalog_sync.errors import RetryLater
from catalog_sync.fields import KEY
from catalog_sync.guarding import Guarding, Releases, judged_before
from catalog_sync.lease import LEASE_SECONDS, Lease
from catalog_sync.leaving import Leaving
from catalog_sync.measures import stage
from catalog_sync.parallel import in_threads
from catalog_sync.payload import body, overhead, ranges
from catalog_sync.plan_summary import as_markdown, changes_csv, summarize
from catalog_sync.scope import Covered, described
from catalog_sync.shards import extracts
from catalog_sync.slices import batches_of_a_slice
from catalog_sync.tables import Tables
from catalog_sync.turns import take_turn

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

Counts = dict[str, Counter[str]]
PLAN = "plan.json"
#: Whether a row is sent as an item, and not archived.
_UPLOADED = pl.col("action") != Action.ARCHIVED


@stage("plan")
def plan(run: Run, max_groups: int = sys.maxsize) -> dict[str, Any]:
    """Make the run's plan, or return the one that stands; it is ``plan.json``, and for people ``plan.md``.

    :param max_groups: most upload tasks that the scheduler can have, if that is less than ``api.max_upload_tasks``.
    :returns: ``plan_number`` (0 for a dry run), ``plan_hash``, ``rows``, ``batches``, ``groups`` (the batch numbers
        that each upload task carries; empty for a dry run), ``held`` (rows that guards hold) and ``dry_run``.
    :raises RetryLater: another run is sending and did not stop in time, or has taken over while this one was planning.
    """
    made = run.lake.once(run.key(PLAN), lambda: _make(run))
    run.lake.create(run.key("plan.md"), as_markdown(made).encode())
    counts = {key: made[key] for key in ("plan_number", "plan_hash", "rows", "batches", "dry_run")}
    counts["held"] = made["held"]["rows"]
    tasks = min(run.settings.api.max_upload_tasks, max_groups)
    size = made.get("slice") or made["batches"]
    # Slices are sent one after the other, each by one task; within the only slice every batch may have its own.
    together = size if made["batches"] > size else 1
    return {**counts, "groups": [] if made["dry_run"] else _groups(made["batches"], tasks, together)}


def cut(sizes: pl.Series, max_items: int, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of neighbouring items that make a batch of at most ``max_items`` and ``max_bytes``.

    :param sizes: bytes of each item's JSON. An item that alone is larger makes a batch of its own: Amazon then judges
        it.
    """
    ends = sizes.cast(pl.Int64).cum_sum()
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = min(start + max_items, len(sizes))
        # A body also has a separator per item and its frame around them.
        room = before + max_bytes - overhead(stop - start)
        stop = max(start + 1, min(stop, int(ends.search_sorted(room, side="right"))))
        yield start, stop
        start = stop


def _make(run: Run) -> dict[str, Any]:
    run.require_same_sources()
    shards = run.lake.get_json(run.key("shards.json"))
    prepared = [run.lake.get_json(run.key(f"prepare/{shard['name']}.json")) for shard in shards["shards"]]
    counts = _counts(shards, prepared)
    dry_run = run.options.dry_run
    number = 0 if dry_run else take_turn(run, run.key(PLAN))
    if number is None:
        return dict(run.lake.get_json(run.key(PLAN)))
    version = Tables(run.lake).version("acknowledged")
    keep = _Keeper(run, number, run.clock.time())
    others = planned_between(run, int(run.manifest["plan_number_before"]), number)
    blocked, newer = _blocked(run, others), newer_readings(run, others)
    releases = Releases.of_run(run)
    told = judged_before(run, shards, counts)
    approved = releases.archives() if releases else None
    leaving = Leaving.of(run, shards, prepared, told, blocked.filter(~pl.col("_only_new")), newer, approved)
    guarding = Guarding.of(run, shards, prepared, counts, told, leaving.judged, releases, newer)
    leaving.hold(() if releases else guarding.trips)
    writer = _BatchWriter(run, number)
    left: list[pl.DataFrame] = []
    archived: list[pl.DataFrame] = []
    lists: list[str] = []
    for manifest in [*prepared, *leaving.unread]:
        listed: list[pl.DataFrame] = []
        for candidates in leaving.joined(manifest):
            keep.lease()  # what guards hold is written at once
            marked = _marked(guarding.apply(candidates, counts), blocked, newer)
            due, kept = _due(marked, counts)
            keep.lease()
            if len(uploads := due.filter(_UPLOADED)):
                writer.add(uploads, keep)
            archived.append(due.filter(~_UPLOADED).select(*KEY, "content_hash", "action"))
            left.append(kept)
            listed.append(guarding.without_first_loads(marked))
        lists += _put_list(run, manifest, listed)
    writer.flush()
    keep.lease()
    held = guarding.finish()
    keep.lease()
    batches = writer.batches + _archive_batches(run, number, len(writer.batches) + 1, archived)
    digest = hashlib.sha256("\n".join(batch["sha256"] for batch in batches).encode()).hexdigest()
    if not dry_run and not batches:
        Lease.of(run).release(number, run.run_id)
    if not dry_run:
        run.ledger.update(
            f"RUN#{run.run_id}",
            "RUN",
            {"plan_number": number, "plan_hash": digest, "batches": len(batches), "expires_at": run.expires_at},
        )
    _log_left(left)
    rows = sum(batch["items"] for batch in writer.batches)
    log.info("Planned %s rows in %s batches, plan %s", rows, len(batches), number)
    return {
        "plan_number": number,
        "plan_hash": f"sha256:{digest}",
        "rows": rows,
        "leaving": leaving.told(),
        "rollback": extracts(run)[0].get("target", {}),
        "batches": len(batches),
        "slice": batches_of_a_slice(run),
        "dry_run": dry_run,
        "made_at": run.clock.time(),
        "acknowledged_version": version,
        "counts": {store: dict(count) for store, count in counts.items()},
        "events": _put_events(run, left),
        "guards": guarding.told,
        "held": held,
        "lists": lists,
        "summary": summarize(run, prepared, counts, len(batches)),
        "asked": described(run.options),
        "missing": Covered(run).missing({name for manifest in prepared for name in manifest["departments"]}),
        "batch_list": batches,
    }


def _archive_batches(run: Run, number: int, first: int, archived: list[pl.DataFrame]) -> list[dict[str, Any]]:
    """Return the batches that archive these rows; they stand after those that upload."""
    rows = pl.concat(archived) if archived else pl.DataFrame()
    return write_archives(run, number, first, rows) if len(rows) else []


def _counts(shards: dict[str, Any], prepared: list[dict[str, Any]]) -> Counts:
    counts: Counts = {}
    for part in [shards["counts"], *(manifest["counts"] for manifest in prepared)]:
        for store, values in part.items():
            counts.setdefault(store, Counter()).update(values)
    return counts


def _blocked(run: Run, others: Iterable[str]) -> pl.DataFrame:
    """Return the keys that must not be sent now, and why (``_blocked``), or not if they are new (``_only_new``).

    They are in doubt for less than ``give_up_after``, or one of the ``others`` has planned them since this run began to
    read its sources: what we read is then older than what was sent.
    """
    since = run.clock.time() - run.settings.results.give_up_after.total_seconds()
    doubtful = doubtful_rows(run)
    young = doubtful.filter(pl.col("sent_at") > since).select(KEY, _blocked=pl.lit("sent a short time ago"))
    frames = [young]
    # An archive that comes late would take a new row along without anybody's knowing, so it waits for the end of that.
    waits = pl.lit("an archive of this SKU has no result yet")
    archives = doubtful.filter((pl.col("sent_at") <= since) & pl.col("archive")).select(KEY, _blocked=waits)
    for other in others:
        frames.append(planned_rows(run, other).with_columns(_blocked=pl.lit(f"run {other} has planned them since")))
    made = [pl.concat(frames).with_columns(_only_new=pl.lit(False)), archives.with_columns(_only_new=pl.lit(True))]
    return pl.concat(made).unique(KEY, keep="first", maintain_order=True)


def _put_list(run: Run, manifest: dict[str, Any], listed: list[pl.DataFrame]) -> list[str]:
    """Write the shard's list of changes for people, and return the keys of what was written."""
    if not any(len(rows) for rows in listed):
        return []
    changed = [run.lake.get_frame(key) for key in manifest["changes"]]
    key = run.key(f"changes/{manifest['name']}-{run.token()}.csv")
    run.lake.put(
        key, changes_csv(pl.concat(listed, how="diagonal"), pl.concat([pl.DataFrame(schema=CHANGES), *changed]))
    )
    return [key]


def _put_events(run: Run, left: list[pl.DataFrame]) -> list[str]:
    """Keep which rows were due and are not sent now, with the reason, for the table of events."""
    if not any(len(rows) for rows in left):
        return []
    key = run.key(f"events/plan-{run.token()}.parquet")
    run.lake.put_frame(key, pl.concat(left))
    return [key]


def _marked(candidates: pl.DataFrame, blocked: pl.DataFrame, newer: dict[str, pl.Expr]) -> pl.DataFrame:
    """Return the candidates with the column of the books in which each is ``booked``."""
    marked = candidates.join(blocked, on=list(KEY), how="left", maintain_order="left")
    spared = pl.col("_only_new") & (pl.col("action") != Action.NEW)
    marked = marked.with_columns(_blocked=pl.when(~spared.fill_null(False)).then("_blocked")).drop("_only_new")
    for other, inside in newer.items():
        why = pl.when(inside).then(pl.lit(f"run {other} has read them later")).otherwise("_blocked")
        marked = marked.with_columns(_blocked=why)
    return marked.with_columns(
        booked=pl.when(pl.col("_blocked").is_not_null())
        .then(pl.lit("in_doubt"))
        .when(pl.col("hold") != "")
        .then(pl.lit("held"))
        .otherwise(pl.lit("planned"))
    )


def _due(marked: pl.DataFrame, counts: Counts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows to send, and the events of those that are in doubt or held; count both."""
    # What would be archived was not read: it has books of its own.
    for store, booked, rows in marked.filter(_UPLOADED).group_by("store_id", "booked").len().iter_rows():
        counts.setdefault(store, Counter())[booked] += rows
    planned = pl.col("booked") == "planned"
    left = marked.filter(~planned).select(*KEY, what="booked", code="hold", message=pl.col("_blocked").fill_null(""))
    return marked.filter(planned).drop("_blocked", "booked", "hold", "price_moved"), left


def _log_left(left: list[pl.DataFrame]) -> None:
    """Say why rows that were due are not sent now."""
    for why, rows in pl.concat(left).filter(what="in_doubt").group_by("message").len().iter_rows() if left else ():
        log.warning("%s rows are in doubt and not sent now: %s", rows, why)


@dataclass
class _Keeper:
    """Keeps the lease while planning goes on: that may take longer than the lease lasts."""

    run: Run
    number: int
    renewed_at: float

    def lease(self) -> None:
        """Renew the lease when a third of its time is over.

        :raises RetryLater: another run has taken it: this plan could never be sent, so it is made anew.
        """
        now = self.run.clock.time()
        if self.number == 0 or now - self.renewed_at < LEASE_SECONDS / 3:
            return
        lease = Lease.of(self.run)
        if not lease.renew(self.number, self.run.run_id, now):
            holder = lease.read()
            raise RetryLater(
                f"run {holder.owner} has made plan {holder.token} while run {self.run.run_id} was planning: what is "
                "still due is planned anew",
                after=10.0,
            )
        self.renewed_at = now


def _groups(batches: int, tasks: int, together: int) -> list[list[int]]:
    """Return the batch numbers of each upload task: ``together`` each, or several times as many beyond ``tasks``."""
    parts = -(-batches // together)
    size = together * max(1, -(-parts // tasks))
    return [list(range(first, min(first + size, batches + 1))) for first in range(1, batches + 1, size)]


@dataclass
class _BatchWriter:
    """Cuts the sorted rows of one shard after the other into batches and writes them to the lake."""

    run: Run
    number: int
    batches: list[dict[str, Any]] = field(default_factory=list)
    rest: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame, keep: _Keeper) -> None:
        """Write every full batch; what may yet grow stays for the next shard."""
        if self.rest is not None and not self.rest.is_empty():
            rows = pl.concat([self.rest, rows])
        api = self.run.settings.api
        pieces = list(cut(rows["item_bytes"], api.max_items, api.max_bytes))
        numbered = enumerate((rows[start:stop] for start, stop in pieces[:-1]), len(self.batches) + 1)
        for batch in in_threads(self._write, numbered):
            self.batches.append(batch)
            keep.lease()
        self.rest = rows[pieces[-1][0] :] if pieces else rows

    def flush(self) -> None:
        """Write the last, partly filled batch."""
        if self.rest is not None and not self.rest.is_empty():
            self.batches.append(self._write((len(self.batches) + 1, self.rest)))
        self.rest = None

    def _write(self, batch: tuple[int, pl.DataFrame]) -> dict[str, Any]:
        number, rows = batch
        # A plan number of its own keeps a process thought dead from writing over what a later try has planned.
        folder = self.run.key(f"batches/{self.number:06d}")
        if self.number == 0:
            folder = self.run.key(f"batches/dry-{self.run.token()}")
        payload = body(rows["item_json"])
        key, rows_key = f"{folder}/{number:05d}.json.zst", f"{folder}/{number:05d}.rows.parquet"
        self.run.lake.put_compressed(key, payload)
        self.run.lake.put_frame(rows_key, rows.drop("item_json", "item_bytes").with_row_index("position"))
        return {
            "number": number,
            "key": key,
            "rows_key": rows_key,
            "sha256": hashlib.sha256(payload).hexdigest(),
            "items": len(rows),
            "bytes": len(payload),
            "ranges": ranges(rows),
        }
