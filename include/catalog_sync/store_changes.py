"""What changed in each store's catalog through the rows that stand in a run's books.

The truth is the acknowledged catalog, before (as the plan saw it) and after (as it stood when the notice was first
made), and the outcomes that were settled; so the answer is the same however often it is asked for. A row that was sent
again as it was, or that a newer plan has replaced since, is no change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.attempts import Attempt, State
from catalog_sync.booking import booked_elsewhere, late_attempts
from catalog_sync.changes import CHANGES, changes
from catalog_sync.doubt import attempts_of
from catalog_sync.fields import ADDITIONAL, KEY
from catalog_sync.keyed import within, without
from catalog_sync.payload import HEAD, ITEM, items_of
from catalog_sync.refusal_advice import refusal_advice
from catalog_sync.settle import packs
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

ACKNOWLEDGED, REFUSED = "acknowledged", "refused"
#: What a line of a notice tells; an item that changes has a line for each field.
ADDED, CHANGED, ARCHIVED = "added", "changed", "archived"
WHATS = (ADDED, CHANGED, ARCHIVED, REFUSED)
_SHOWN = ["item_name", "external_product_id", "standard_price"]
_TIME = pl.Datetime("us", "UTC")
LINES = {
    "store_id": pl.String(), "item_sku": pl.String(), "what": pl.String(), **dict.fromkeys(_SHOWN, pl.String()),
    "field": pl.String(), "before": pl.String(), "after": pl.String(), "code": pl.String(), "message": pl.String(),
    "what_to_do": pl.String(), "resolved_at": _TIME, "run_id": pl.String(),
}  # fmt: skip
_END = ["store_id", "item_sku", "outcome", "code", "message", "plan_number", "resolved_at", "run_id", "attempt"]
_STANDING = [*ITEM, "state", "plan_number"]
_ON = list(KEY)


def told_by(run: Run) -> list[list[str]]:
    """Return the attempts whose rows stand in this run's books, as ``[run, name]``: its own, and late ones."""
    elsewhere = booked_elsewhere(run)
    own = [a for a in attempts_of(run).of_run(run.run_id) if a.state is State.SETTLED and a.key.name not in elsewhere]
    return [[run.run_id, attempt.key.name] for attempt in own] + [[*found] for found in late_attempts(run)]


@dataclass
class StoreChanges:
    """The changes that some attempts made.

    :param told: as ``told_by`` returns them.
    :param version: of the table ``acknowledged``, with these attempts settled.
    """

    run: Run
    told: list[list[str]]
    version: int | None

    def __post_init__(self) -> None:
        """Know each attempt that is told of, and keep the frames that several stores need."""
        runs = dict.fromkeys(run_id for run_id, _ in self.told)
        every = [attempt for run_id in runs for attempt in attempts_of(self.run).of_run(run_id)]
        known = {(attempt.key.run_id, attempt.key.name): attempt for attempt in every}
        self._attempts = [known[run_id, name] for run_id, name in self.told if (run_id, name) in known]
        self._batches: dict[tuple[str, int], list[Attempt]] = {}
        for attempt in every:
            self._batches.setdefault((attempt.key.run_id, attempt.key.batch), []).append(attempt)
        self._plans = {run_id: self.run.of(run_id).plan for run_id in runs}
        self._frame = lru_cache(maxsize=16)(self._read)

    def by_store(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield each store in which something changed, with its lines (``LINES``), sorted by what and SKU."""
        where: dict[str, list[Attempt]] = {}
        rows: dict[str, int] = {}
        for attempt in self._attempts:
            key = self._key(attempt)
            if self.run.lake.exists(key):
                for store, count in self.run.lake.get_frame(key, ["store_id"]).group_by("store_id").len().iter_rows():
                    where.setdefault(store, []).append(attempt)
                    rows[store] = rows.get(store, 0) + count
        tables = Tables(self.run.lake)
        for stores in packs(rows, tables.sizes("acknowledged")):
            mine = {attempt.key.pointer: attempt for store in stores for attempt in where[store]}
            lines = self._lines(tables, stores, list(mine.values()))
            for (store,), part in lines.partition_by("store_id", as_dict=True).items():
                yield str(store), part.sort("what", "item_sku", "field")

    def _key(self, attempt: Attempt) -> str:
        return f"runs/{attempt.key.run_id}/outcomes/{attempt.key.name}.parquet"

    def _read(self, key: str) -> pl.DataFrame:
        frame = self.run.lake.get_frame(key)
        if "listed" in frame.columns:  # an archive also names stores that never had the SKU
            frame = frame.filter("listed")
        return frame.select(_END)

    def _lines(self, tables: Tables, stores: list[str], attempts: list[Attempt]) -> pl.DataFrame:
        ends = pl.concat([self._ends(attempt, stores) for attempt in attempts])
        last = ends.sort("plan_number", "attempt", descending=True).unique(
            [*_ON, "outcome"], keep="first", maintain_order=True
        )
        yes, no = last.filter(outcome=ACKNOWLEDGED), last.filter(outcome=REFUSED)
        newer = yes.select(*_ON, _plan="plan_number")
        no = no.join(newer, on=_ON, how="left").filter(
            pl.col("_plan").is_null() | (pl.col("_plan") < pl.col("plan_number"))
        )
        after = self._standing(tables, last, self.version)
        applied = [
            self._applied(tables, mine, after, str(run_id))
            for (run_id,), mine in yes.partition_by("run_id", as_dict=True).items()
        ]
        refused = self._refused(no, after, attempts)
        return pl.concat([pl.DataFrame(schema=LINES), *applied, refused], how="diagonal_relaxed").select(list(LINES))

    def _ends(self, attempt: Attempt, stores: list[str]) -> pl.DataFrame:
        """Return the attempt's ends that somebody must be told of, and was not told of after an earlier attempt."""
        ended = pl.col("outcome").is_in([ACKNOWLEDGED, REFUSED])
        frame = self._frame(self._key(attempt)).filter(pl.col("store_id").is_in(stores) & ended)
        mine = {one.key.pointer for one in self._attempts}
        for other in self._batches[attempt.key.run_id, attempt.key.batch]:
            if other.key.pointer in mine or _settled(other) >= _settled(attempt):
                continue
            if self.run.lake.exists(self._key(other)):
                frame = without(frame, self._frame(self._key(other)).filter(ended))
        return frame

    def _standing(self, tables: Tables, keys: pl.DataFrame, version: int | None) -> pl.DataFrame:
        if version is None:
            return tables.read("acknowledged", [], _STANDING)
        rows = tables.read("acknowledged", keys["store_id"].unique(), _STANDING, version, keys["item_sku"].unique())
        return within(rows, keys)

    def _applied(self, tables: Tables, yes: pl.DataFrame, after: pl.DataFrame, run_id: str) -> pl.DataFrame:
        """Return the lines of the acknowledged rows of one run."""
        before = self._standing(tables, yes, self._plans[run_id].get("acknowledged_version"))
        mine = after.join(yes.select(*_ON, "resolved_at", "run_id", _plan="plan_number"), on=_ON)
        mine = mine.filter(pl.col("plan_number") <= pl.col("_plan"))
        was = before.filter(state="ACTIVE")
        now, gone = mine.filter(state="ACTIVE"), mine.filter(state="ARCHIVED")
        about = [*_ON, *_SHOWN, "resolved_at", "run_id"]
        fields = changes(within(now, was), within(was, now)) if len(now) else pl.DataFrame(schema=CHANGES)
        return pl.concat(
            [
                without(now, was).select(about).with_columns(what=pl.lit(ADDED)),
                now.select(about).join(fields, on=_ON).with_columns(what=pl.lit(CHANGED)),
                within(gone, was).select(about).with_columns(what=pl.lit(ARCHIVED)),
            ],
            how="diagonal_relaxed",
        )

    def _refused(self, no: pl.DataFrame, after: pl.DataFrame, attempts: list[Attempt]) -> pl.DataFrame:
        """Return the lines of the refused rows, as they were sent."""
        sent = [
            self._sent(attempt, no.filter(run_id=attempt.key.run_id, attempt=attempt.key.name)) for attempt in attempts
        ]
        shown = pl.concat([*sent, after.select(*_ON, *_SHOWN)]).unique(_ON, keep="first", maintain_order=True)
        why = no.select("code", "message").unique()
        advice = [refusal_advice(code or "", message or "") for code, message in why.iter_rows()]
        why = why.with_columns(what_to_do=pl.Series(advice, dtype=pl.String))
        return (
            no.select(*_ON, "code", "message", "resolved_at", "run_id")
            .join(shown, on=_ON, how="left")
            .join(why, on=["code", "message"], how="left", nulls_equal=True)
            .with_columns(what=pl.lit(REFUSED))
        )

    def _sent(self, attempt: Attempt, rows: pl.DataFrame) -> pl.DataFrame:
        """Return what was sent of these rows in the attempt; nothing where it was no upload."""
        nothing = pl.DataFrame(schema=dict.fromkeys([*_ON, *_SHOWN], pl.String))
        if rows.is_empty():
            return nothing
        batch = self._plans[attempt.key.run_id]["batch_list"][attempt.key.batch - 1]
        payload = self.run.lake.get_compressed(batch["key"])
        if not payload.startswith(HEAD.encode()):
            return nothing
        return within(items_of(payload).drop(ADDITIONAL), rows).select(*_ON, *_SHOWN)


def _settled(attempt: Attempt) -> tuple[float, str]:
    """Return what orders attempts by when they were settled; those that are not come last."""
    return float(attempt.item.get("settled_at", float("inf"))), attempt.key.name


def counts(lines: pl.DataFrame) -> dict[str, int]:
    """Return how many items of a store were added, changed, archived and refused."""
    found = dict(lines.group_by("what").agg(pl.col("item_sku").n_unique()).iter_rows())
    return {what: int(found.get(what, 0)) for what in WHATS}
