"""Guarding one plan: the counts are judged, the candidates marked, and what is held is remembered with its age."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import held
from catalog_sync.baseline import adopted_stores
from catalog_sync.diff import Action
from catalog_sync.fields import NO_STORE
from catalog_sync.guards import EVERYWHERE, Guard, Trip, judge
from catalog_sync.keyed import without
from catalog_sync.release import require_approval
from catalog_sync.run import Kind
from catalog_sync.scope import Covered
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

Counts = dict[str, Counter[str]]


@dataclass
class Guarding:
    """The guards of one plan.

    :param trips: what has tripped.
    :param told: the same as JSON, the judgements of the sources first.
    :param stores: the stores that were prepared.
    :param releases: the rows that the run was started to release; ``None`` for every other run.
    :param covered: the rows that the run is about.
    """

    run: Run
    trips: list[Trip]
    told: list[dict[str, Any]]
    stores: list[str]
    adopted: set[str]
    releases: Releases | None
    covered: Covered
    #: Whether a row is one that another run has read later: what is held of it that run has told.
    elsewhere: pl.Expr
    _parts: list[dict[str, Any]] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)
    _by_code: Counter[str] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)
    _since: float | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        shards: dict[str, Any],
        prepared: list[dict[str, Any]],
        counts: Counts,
        told: list[dict[str, Any]],
        leaving: Mapping[str, Mapping[str, int]],
        releases: Releases | None,
        newer: Mapping[str, pl.Expr],
    ) -> Guarding:
        """Judge what the stages before have counted.

        :param shards: the manifest of ``shards``, with what it judged of the sources.
        :param prepared: the manifests of ``prepare``.
        :param counts: what both counted for the books, by store.
        :param told: what ``judged_before`` has found.
        :param leaving: what would be archived, by store.
        :param newer: other runs that have read later, each with what it was about.
        """
        adopted = adopted_stores(run)
        judged: dict[str, dict[str, int]] = {}
        for manifest in prepared:
            for store, actions in manifest["actions"].items():
                judged[store] = {"active": actions.get("active", 0), **actions.get("judged", {})}
        closed = adopted - set(run.stores)
        for store, line in counts.items():
            if store in closed:  # whoever took it out of the configuration means that its rows are rejected
                continue
            judged.setdefault(store, {}).update({what: line.get(what, 0) for what in ("read", "rejected")})
        for store, rows in leaving.items():
            judged.setdefault(store, {}).update(rows)
        trips = judge(judged, adopted, run.settings.guards)
        told = [*told, *_closed_stores(counts, closed), *(trip.as_dict() for trip in trips)]
        for one in told:
            log.warning("Guard %s: %s", one["code"], one["message"])
        inside = {store for shard in shards["shards"] for store in shard["stores"]}
        stores = sorted(store for store in inside if store in run.stores)
        elsewhere = pl.any_horizontal(pl.lit(False), *newer.values())
        return cls(run, trips, told, stores, adopted, releases, Covered(run), elsewhere)

    def apply(self, candidates: pl.DataFrame, counts: Counts) -> pl.DataFrame:
        """Return the candidates of some whole stores as the guards leave them: held ones have a code in ``hold``.

        What is held is kept at once, with its age. A run that releases rows is about these only; all others are counted
        as out of its scope.
        """
        stores = sorted(candidates["store_id"].unique())
        made = held.hold(candidates, self.trips, self.adopted)
        if self.releases is not None:
            approved = self.releases.of(stores)
            released = held.release(made, approved)
            _count_left_out(made, released, counts)
            if not self.run.options.dry_run:  # what is released stays held until it is settled
                mine = approved.filter(~self.elsewhere)
                held.forget(self.run, without(mine, released, held.IDENTITY), stores)
            made = released
        self._keep(held.guarded(made.filter(~self.elsewhere)), stores)
        return made

    def without_first_loads(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows without the new ones of stores that are not adopted: there, every row is new."""
        return rows.filter((pl.col("action") != Action.NEW) | pl.col("store_id").is_in(list(self.adopted)))

    def finish(self) -> dict[str, Any]:
        """Return what names everything that is held.

        :returns: ``rows``, ``hash`` (what a person approves), ``parts`` (``key`` and ``stores`` of the lines of the
            table ``held``), ``by_code`` (rows) and ``since`` (Unix seconds since when the oldest is held, or ``None``).
        """
        self._keep(pl.DataFrame(schema=held.GUARDED), [store for store in self.stores if store not in self._seen])
        return {
            "rows": sum(self._by_code.values()),
            "hash": held.digest_of(self._digests),
            "parts": self._parts,
            "by_code": dict(sorted(self._by_code.items())),
            "since": self._since,
        }

    def _keep(self, rows: pl.DataFrame, stores: list[str]) -> None:
        self._seen.update(stores)
        lines = held.since(self.run, rows, stores)
        if self.releases is None and not self.run.options.dry_run:
            held.remember(self.run, lines, stores, self.covered.rows, self.elsewhere)
        if lines.is_empty():
            return
        key = self.run.key(f"held/{self.run.token()}.parquet")
        self.run.lake.put_frame(key, lines)
        self._parts.append({"key": key, "stores": sorted(lines["store_id"].unique())})
        self._digests.update(held.digests(rows))
        self._by_code.update(dict(lines.group_by("code").len().iter_rows()))
        oldest: Any = lines["first_held_at"].min()
        self._since = min(self._since or oldest.timestamp(), oldest.timestamp())


@dataclass(frozen=True)
class Releases:
    """The rows that a run was started to release."""

    run: Run
    parts: list[dict[str, Any]]

    @classmethod
    def of_run(cls, run: Run) -> Releases | None:
        """Return what the run was started to release, ``None`` when it was not started for that.

        :raises BadInput: nobody has approved it.
        """
        if not run.options.release:
            return None
        other = run.of(run.options.release)
        require_approval(other, run.run_id)
        return cls(run, other.plan["held"]["parts"])

    def of(self, stores: list[str]) -> pl.DataFrame:
        """Return ``IDENTITY`` of the approved rows of these stores."""
        keys = [part["key"] for part in self.parts if set(part["stores"]) & set(stores)]
        frames = [pl.DataFrame(schema=held.GUARDED).select(held.IDENTITY)]
        frames += [self.run.lake.get_frame(key, held.IDENTITY) for key in keys]
        return pl.concat(frames).filter(pl.col("store_id").is_in(stores))

    def archives(self) -> pl.DataFrame:
        """Return ``IDENTITY`` of the approved rows that are to be archived."""
        archived = pl.col("action") == Action.ARCHIVED
        frames = [pl.DataFrame(schema=held.GUARDED).select(held.IDENTITY)]
        frames += [self.run.lake.get_frame(part["key"], held.IDENTITY).filter(archived) for part in self.parts]
        return pl.concat(frames)


def judged_before(run: Run, shards: dict[str, Any], counts: Counts) -> list[dict[str, Any]]:
    """Return what is wrong with what was read: the sources as ``shards`` has judged them, and stores without rows."""
    if run.options.kind is Kind.ROLLBACK:  # what Amazon had is what it had
        return []
    return [
        *({**one, "store": EVERYWHERE} for one in shards["sources"]),
        *_empty_stores(run, counts),
    ]


def _empty_stores(run: Run, counts: Counts) -> list[dict[str, Any]]:
    """Tell which stores that were loaded before have no row in any source; nothing of them is removed for that.

    A store was loaded when a run was complete for it, or when Amazon has rows of it, though no run ever was.
    """
    asked = set(run.options.stores or run.stores) & set(run.stores)
    unread = {store for store in asked if not counts.get(store, Counter())["read"]}
    if not unread:
        return []
    loaded, tables = adopted_stores(run), Tables(run.lake)
    if unsure := sorted((unread - loaded) & tables.sizes("acknowledged").keys()):
        loaded |= set(tables.read("acknowledged", unsure, ["store_id", "state"]).filter(state="ACTIVE")["store_id"])
    return [
        {
            "code": Guard.STORE_EMPTY.value,
            "store": store,
            "message": f"{store}: no source has a row of this store, which was loaded before; what Amazon has stays",
        }
        for store in sorted(unread & loaded)
    ]


def _closed_stores(counts: Counts, closed: Collection[str]) -> list[dict[str, Any]]:
    """Tell which stores that were loaded before are not configured any more: nothing of them is sent or removed."""
    return [
        {
            "code": Guard.STORE_CLOSED.value,
            "store": store,
            "message": f"{store}: was loaded before and is not configured any more; {counts[store]['read']:,} rows of "
            "it were read and rejected, and what Amazon has of it stays",
        }
        for store in sorted(closed)
        if store in counts
    ]


def _count_left_out(candidates: pl.DataFrame, kept: pl.DataFrame, counts: Mapping[str, Counter[str]]) -> None:
    read = pl.col("action") != Action.ARCHIVED
    inside = dict(kept.filter(read).group_by("store_id").len().iter_rows())
    for store, rows in candidates.filter(read).group_by("store_id").len().iter_rows():
        counts[store or NO_STORE]["out_of_scope"] += rows - inside.get(store, 0)
