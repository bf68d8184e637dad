"""SKUs that leave: what Amazon has and no source had, and which of it is archived, all of a SKU or nothing (design §9).

``prepare`` keeps, by shard, the rows that Amazon has and that the store's sources did not have. Here they are told
apart: a SKU that other stores still have is a *partial leaver*, reported and never archived; one that no store has is
*absent*, counted by complete runs (``absence``), and at last due.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import absence
from catalog_sync.books import DUE_INTO
from catalog_sync.contract.report import people_csv
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.diff import Action, rests
from catalog_sync.fields import KEY
from catalog_sync.guards import EVERYWHERE, Guard, Trip
from catalog_sync.keyed import without
from catalog_sync.run import Kind
from catalog_sync.shards import extracts
from catalog_sync.store_list import StoreList
from catalog_sync.tables import ARCHIVE, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: A row that Amazon has, or may have. ``state`` is that of the table ``acknowledged``.
LEFT = ["store_id", "item_sku", "content_hash", "state"]
_SKU = pl.col("item_sku")
_COUNTING = (Kind.NIGHT, Kind.COMMAND)
#: A guard that trips on one of these holds every SKU that is active in the store.
_HOLDING = (Guard.ARCHIVED.value, Guard.REJECTED.value)


def left_of(acknowledged: pl.DataFrame, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the rows (``LEFT``) of some stores that Amazon has, or may have, and that no source had in that store.

    :param acknowledged: the stores' acknowledged rows.
    :param frames: the rows as extracted, by source; a row counts whatever the contract says of it.
    """
    standing = acknowledged.filter((pl.col("state") == "ACTIVE") | pl.col("dirty_until").is_not_null()).select(LEFT)
    for frame in frames.values():
        standing = without(standing, frame)
    if standing.is_empty():
        return standing
    for frame in frames.values():
        standing = without(standing, frame.select(as_repaired(pl.col(part)).alias(part) for part in KEY))
    return standing


@dataclass
class Leaving:
    """What leaves in one plan.

    :param why_not: why nothing is archived in this run; empty when archives are decided.
    :param unread: stand-ins for the manifests of shards, for configured stores that no source had rows of.
    :param due: SKUs to archive, with ``booked`` (one of ``DUE_INTO``) and ``hold``, the code of a guard.
    :param partial: rows of partial leavers by store; ``closed``: active rows of stores that are not configured.
    :param judged: by store, for the guards: rows that would be ``archived``.
    """

    run: Run
    why_not: str
    unread: list[dict[str, Any]]
    due: pl.DataFrame
    present: pl.Series
    lines: pl.DataFrame
    partial: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    lists: list[str] = field(default_factory=list)
    judged: dict[str, dict[str, int]] = field(default_factory=dict)
    elsewhere: int = 0
    _manifests: Sequence[Mapping[str, Any]] = ()
    #: Whether a person is asked about every archive, as in a rollback.
    _asks: bool = False

    @classmethod
    def of(
        cls,
        run: Run,
        shards: Mapping[str, Any],
        prepared: Sequence[Mapping[str, Any]],
        told: Sequence[Mapping[str, Any]],
        blocked: pl.DataFrame,
        newer: Collection[str],
        approved: pl.DataFrame | None,
    ) -> Leaving:
        """Count the run's absences, and decide which SKUs are due.

        :param told: what the guards of sources and stores have found.
        :param blocked: keys that are in doubt.
        :param newer: other runs that have read later.
        :param approved: in a run that releases held rows, these.
        """
        manifests = extracts(run)
        present = _present(run, manifests)
        unread = _unread(run, shards)
        why_not = _incomplete(run, manifests, told, newer)
        gone = _gone(run, [*prepared, *unread], present)
        lines = pl.DataFrame()
        elsewhere = _elsewhere(run, gone)
        if approved is not None:
            skus = _released(run, [*prepared, *unread], gone, approved)
        elif run.options.kind is Kind.ROLLBACK:
            skus = gone.filter(~gone.is_in(elsewhere.implode()))
        else:
            why_not = why_not or _out_of_turn(run)
            lines, why_not = _count(run, manifests, present, gone, why_not)
            skus = absence.due(lines, run.run_id, run.settings.archive.after)
        made = cls(run, why_not, unread, _booked(run, skus.head(0) if why_not else skus, blocked), present, lines)
        made._asks = run.options.kind is Kind.ROLLBACK and approved is None
        made.elsewhere = len(elsewhere)
        made._report([*prepared, *unread])
        return made

    def hold(self, trips: Sequence[Trip]) -> None:
        """Hold the SKUs that a guard stops in any store: Amazon archives in all of them or none."""
        if self._asks:
            self.due = self.due.with_columns(hold=pl.lit(Guard.ROLLBACK.value))
        for trip in (one for one in trips if one.code in _HOLDING):
            here = pl.lit(True)
            if trip.store != EVERYWHERE:
                here = _SKU.is_in(self._active_in(trip.store).implode())
            code = pl.when((pl.col("hold") == "") & here).then(pl.lit(trip.code)).otherwise("hold")
            self.due = self.due.with_columns(hold=code)
        booked = pl.when((pl.col("booked") == "planned") & (pl.col("hold") != "")).then(pl.lit("held"))
        self.due = self.due.with_columns(booked=booked.otherwise("booked"))

    def joined(self, manifest: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """Yield the candidates of some whole stores of the shard after the other, with the rows that would be archived.

        :param manifest: of ``prepare``.
        """
        mine = self._rows(manifest)
        for key in manifest["rows"]:
            candidates = self.run.lake.get_frame(key)
            here = pl.col("store_id").is_in(candidates["store_id"].unique().implode())
            yield pl.concat([candidates, mine.filter(here)], how="diagonal") if len(mine) else candidates
            mine = mine.filter(~here)
        if len(mine):
            yield mine

    # --- what was found

    def told(self) -> dict[str, Any]:
        """Return as JSON what leaves: for the plan, its readers and the books.

        :returns: ``books`` (SKUs by ``DUE_INTO``, and ``due``), ``waiting`` (absent SKUs by runs missed), ``partial``
            and ``closed`` (rows by store), ``why_not``, ``after`` (runs that a SKU must miss) and ``lists``.
        """
        books = dict.fromkeys(DUE_INTO, 0) | dict(self.due.group_by("booked").len().iter_rows())
        skus = self.due["item_sku"].implode()
        absent = self.lines.filter((_SKU != absence.RUNS) & ~_SKU.is_in(skus)) if len(self.lines) else self.lines
        waiting = absent.group_by("runs_missed").len().sort("runs_missed").iter_rows() if len(absent) else ()
        return {
            "books": {"due": len(self.due), **books},
            "waiting": {str(runs): skus for runs, skus in waiting},
            "partial": dict(sorted(self.partial.items())),
            "closed": dict(sorted(self.closed.items())),
            "elsewhere": self.elsewhere,
            "why_not": self.why_not,
            "after": self.run.settings.archive.after,
            "lists": self.lists,
        }

    def _rows(self, manifest: Mapping[str, Any]) -> pl.DataFrame:
        """Return the shard's rows of SKUs that are due and wait for nothing but guards, as candidates."""
        guarded = (pl.col("booked") == "held") & (pl.col("hold") != "")
        free = self.due.filter((pl.col("booked") == "planned") | guarded).select("item_sku", "hold")
        left = pl.concat(list(_left(self.run, [manifest])))
        return left.join(free, on="item_sku").select(
            *KEY, "content_hash", "hold", action=pl.lit(Action.ARCHIVED.value), price_moved=pl.lit(False)
        )

    def _active_in(self, store: str) -> pl.Series:
        found = [left.filter(store_id=store)["item_sku"] for left in _left(self.run, self._manifests)]
        return pl.concat([pl.Series("item_sku", [], pl.String), *found]).unique()

    def _report(self, manifests: list[Mapping[str, Any]]) -> None:
        """Count what leaves by store, and list it for people."""
        self._manifests = manifests
        free = self.due.filter(booked="planned")["item_sku"].implode()
        for manifest in manifests:
            left = pl.concat(list(_left(self.run, [manifest])))
            for store, rows in left.filter(_SKU.is_in(free)).group_by("store_id").len().iter_rows():
                self.judged[store] = {"archived": rows}
            if manifest.get("unread"):
                for store, rows in left.filter(state="ACTIVE").group_by("store_id").len().iter_rows():
                    self.judged.setdefault(store, {})["active"] = rows
            partial_leavers = left.filter(_SKU.is_in(self.present.implode()) & (pl.col("state") == "ACTIVE"))
            if self.run.options.kind is not Kind.ROLLBACK and (self.why_not or manifest.get("unread")):
                partial_leavers = partial_leavers.head(0)  # a half read source would make a list of everything
            self.partial.update(dict(partial_leavers.group_by("store_id").len().iter_rows()))
            self._list(manifest["name"], left, partial_leavers)
        self._closed_stores()

    def _list(self, name: str, left: pl.DataFrame, partial_leavers: pl.DataFrame) -> None:
        absent = left.filter(~_SKU.is_in(self.present.implode()))
        if self.why_not or not len(partial_leavers) + len(absent):
            return
        if len(self.lines):
            absent = absent.join(self.lines.select("item_sku", "runs_missed", "first_missed_at"), on="item_sku")
        due = _SKU.is_in(self.due["item_sku"].implode())
        why = pl.when(due).then(pl.lit("to archive")).otherwise(pl.lit("waiting for archive"))
        rows = pl.concat(
            [partial_leavers.with_columns(why=pl.lit("left this store only")), absent.with_columns(why=why)],
            how="diagonal",
        )
        key = self.run.key(f"leaving/{name}-{self.run.token()}.csv")
        self.run.lake.put(key, people_csv(rows.drop("content_hash", "state").sort(KEY)))
        self.lists.append(key)

    def _closed_stores(self) -> None:
        """Count what Amazon has in stores that are not configured any more; nobody archives it."""
        tables = Tables(self.run.lake)
        for store in sorted(set(tables.sizes("acknowledged")) - set(self.run.stores)):
            if rows := len(tables.read("acknowledged", [store], ["state"]).filter(state="ACTIVE")):
                self.closed[store] = rows


def _present(run: Run, manifests: Sequence[Mapping[str, Any]]) -> pl.Series:
    found = [run.lake.get_frame(one["skus_key"])["item_sku"] for one in manifests if one.get("skus_key")]
    return pl.concat([pl.Series("item_sku", [], pl.String), *found]).unique()


def _unread(run: Run, shards: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the configured stores that no shard has, with what Amazon has of them."""
    inside = {store for shard in shards["shards"] for store in shard["stores"]}
    tables = Tables(run.lake)
    asked = set(run.options.stores or run.stores)
    stores = sorted((set(tables.sizes("acknowledged")) & asked) - inside)
    if not stores:
        return []
    rows = left_of(tables.read("acknowledged", stores, [*LEFT, "dirty_until"]), {})
    key = run.key(f"left/unread-{run.token()}.parquet")
    run.lake.put_frame(key, rows)
    return [{"name": "unread", "rows": [], "changes": [], "left": [key], "unread": True}]


def _left(run: Run, manifests: Sequence[Mapping[str, Any]]) -> Iterator[pl.DataFrame]:
    yield pl.DataFrame(schema=dict.fromkeys(LEFT, pl.String))
    for manifest in manifests:
        for key in manifest.get("left", ()):
            yield run.lake.get_frame(key)


def _gone(run: Run, manifests: Sequence[Mapping[str, Any]], present: pl.Series) -> pl.Series:
    """Return the SKUs that Amazon has, or may have, in a configured store and that no source had."""
    found = [left["item_sku"].unique() for left in _left(run, manifests)]
    skus = pl.concat(found).unique()
    return skus.filter(~skus.is_in(present.implode()))


def _incomplete(
    run: Run, manifests: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]], newer: Collection[str]
) -> str:
    """Return why what was read proves no absence; empty when it does (invariant I5)."""
    if told:
        return str(told[0]["message"])
    for manifest in manifests if run.options.kind is not Kind.ROLLBACK else ():
        if not manifest["read"]:
            return f"source {manifest['source']} has no rows"
        if "skus_key" not in manifest:
            return f"source {manifest['source']} was read by an earlier version"
    return f"run {next(iter(newer))} has read the sources since" if newer else ""


def _elsewhere(run: Run, skus: pl.Series) -> pl.Series:
    """Return which of the SKUs a rollback of some stores must not archive: they are active in others, too."""
    others = sorted(set(run.stores) - set(run.options.stores)) if run.options.stores else []
    if run.options.kind is not Kind.ROLLBACK or not others or skus.is_empty():
        return skus.head(0)
    rows = Tables(run.lake).read("acknowledged", others, ["item_sku", "state"], skus=skus)
    return rows.filter(state="ACTIVE")["item_sku"].unique()


def _out_of_turn(run: Run) -> str:
    options = run.options
    if options.kind not in _COUNTING or options.stores or options.narrowed:
        return "only a run over everything counts who is absent"
    return ""


def _count(
    run: Run, manifests: Sequence[Mapping[str, Any]], present: pl.Series, gone: pl.Series, why_not: str
) -> tuple[pl.DataFrame, str]:
    """Let the run's reading count; return the lines of ``absent`` after it, and why it did not count, if so."""
    read_at = [float(one["read_at"]) for one in manifests]
    untellable = sum(int(one.get("untellable", 0)) for one in manifests)
    retailer = run.settings.retailer
    began, ended = min(read_at), max(read_at)
    reading = absence.Reading(retailer, run.run_id, began, ended, not why_not, untellable, present, gone)
    change = partial(absence.counted, reading=reading, apart=run.settings.archive.apart)
    tables = Tables(run.lake)
    if run.options.dry_run:
        lines = change(tables.read("absent", [retailer]))
    else:
        lines = tables.replace("absent", [retailer], change)
    return lines, why_not or absence.why_not_counted(lines, reading)


def _released(run: Run, manifests: Sequence[Mapping[str, Any]], gone: pl.Series, approved: pl.DataFrame) -> pl.Series:
    """Return the SKUs whose archive was approved: still gone, and all of their rows still as they were."""
    on = [*KEY, "content_hash"]
    skus = approved["item_sku"].unique()
    found = (left.filter(_SKU.is_in(skus.implode())) for left in _left(run, manifests))
    changed = pl.concat([left.join(approved, on=on, how="anti")["item_sku"] for left in found])
    return skus.filter(skus.is_in(gone.implode()) & ~skus.is_in(changed.implode()))


def _booked(run: Run, skus: pl.Series, blocked: pl.DataFrame) -> pl.DataFrame:
    """Return the SKUs that are due, each with where it is booked for now."""
    due = pl.DataFrame({"item_sku": skus}, schema={"item_sku": pl.String}).sort("item_sku")
    refusals = Tables(run.lake).read("refusals", run.stores if len(due) else [], skus=due["item_sku"])
    resting = refusals.filter((pl.col("content_hash") == ARCHIVE) & rests(run.clock.time()))["item_sku"].unique()
    waits = pl.lit(StoreList.of(run).refused(run.stores) is not None)
    return due.with_columns(
        hold=pl.lit(""),
        booked=pl.when(_SKU.is_in(blocked["item_sku"].implode()))
        .then(pl.lit("in_doubt"))
        .when(_SKU.is_in(resting.implode()))
        .then(pl.lit("suspended"))
        .when(waits)
        .then(pl.lit("held"))
        .otherwise(pl.lit("planned")),
    )
