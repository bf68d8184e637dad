"""The Delta tables: what Amazon acknowledged, what it refused, and the events of every row that is not unchanged.

``acknowledged`` and ``refusals`` are partitioned by store and replaced by whole stores, sorted by SKU (a MERGE would
rewrite every file). ``events`` is partitioned by run and only added to. A commit that meets another writer of the same
partition is read again and repeated.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from catalog_sync.errors import RetryLater, shorten
from catalog_sync.lake import Lake
from catalog_sync.payload import ITEM

TIME = pl.Datetime("us", "UTC")
#: How long the past of a table is kept; ``settings.Rollback`` promises no more.
HISTORY = timedelta(days=400)

#: The row as Amazon confirmed it. ``sent_at`` and ``resolved_at``: when the
#: request was sent and when Amazon ended the ingestion; ``acknowledged_at``: when we settled it. ``dirty_until``:
#: null, or the plan number from which on an acknowledgement proves the row again (before that it counts as different
#: from anything).
ACKNOWLEDGED = {
    **ITEM,
    "content_hash": pl.String(),
    "plan_number": pl.Int64(),
    "ingestion_id": pl.String(),
    "sent_at": TIME,
    "resolved_at": TIME,
    "acknowledged_at": TIME,
    "state": pl.String(),
    "dirty_until": pl.Int64(),
}
#: Which content Amazon refused, with the distinct ingestions that did; ``holder``: the SKU that held its barcode then.
REFUSALS = {
    "store_id": pl.String(),
    "item_sku": pl.String(),
    "content_hash": pl.String(),
    "code": pl.String(),
    "message": pl.String(),
    "ingestion_ids": pl.List(pl.String()),
    "first_seen": TIME,
    "last_seen": TIME,
    "holder": pl.String(),
}
#: What happened to a row in a run, for every row that was not simply unchanged.
EVENTS = {
    "run_id": pl.String(),
    "store_id": pl.String(),
    "item_sku": pl.String(),
    "what": pl.String(),
    "code": pl.String(),
    "message": pl.String(),
    "ingestion_id": pl.String(),
    "at": TIME,
}

#: Which rows guards hold now, with which content and for what, and since when and which run.
HELD = {
    "store_id": pl.String(),
    "item_sku": pl.String(),
    "content_hash": pl.String(),
    "action": pl.String(),
    "code": pl.String(),
    "first_held_at": TIME,
    "run_id": pl.String(),
}

#: Which SKUs no source had, though Amazon has them: since when, in how many complete runs, and how many rows whose SKU
#: cannot be told there were in the last run that still had it. The line of the SKU "" tells of the runs themselves:
#: ``first_run`` has read last, until ``first_missed_at``; ``last_run`` has counted last, and began to read at
#: ``last_missed_at``.
ABSENT = {
    "retailer": pl.String(),
    "item_sku": pl.String(),
    "first_run": pl.String(),
    "first_missed_at": TIME,
    "runs_missed": pl.Int64(),
    "last_run": pl.String(),
    "last_missed_at": TIME,
    "untellable_before": pl.Int64(),
}

#: Stands for the content of a row that is, or should be, archived: in outcomes, and in the table ``refusals``.
ARCHIVE = "archived"

#: How files are written. Whoever asks for one SKU reads, of each file, only the group of rows that may have it.
WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=20_000)

Schema = dict[str, Any]
_SCHEMAS: dict[str, tuple[Schema, str]] = {
    "acknowledged": (ACKNOWLEDGED, "store_id"),
    "refusals": (REFUSALS, "store_id"),
    "events": (EVENTS, "run_id"),
    "held": (HELD, "store_id"),
    "absent": (ABSENT, "retailer"),
}
_TRIES = 10


class Tables:
    """The Delta tables of one lake. Not to be shared between threads."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, DeltaTable] = {}

    def uri(self, name: str) -> str:
        """Return where the table lies."""
        return self._lake.url(f"tables/{name}")

    def _open(self, name: str) -> DeltaTable | None:
        """Return the table as it is now; reading its whole log anew for every store would take longer than the rows."""
        if name in self._known:
            self._known[name].update_incremental()
        else:
            try:
                self._known[name] = DeltaTable(self.uri(name), storage_options=self._lake.storage_options())
            except TableNotFoundError:
                return None
        return self._known[name]

    def _opened(self, name: str) -> DeltaTable:
        table = self._open(name)
        if table is None:
            schema, partition = _SCHEMAS[name]
            with suppress(CommitFailedError):  # another process made it at the same moment
                write_deltalake(
                    self.uri(name),
                    pl.DataFrame(schema=schema),
                    partition_by=[partition],
                    mode="ignore",
                    storage_options=self._lake.storage_options(),
                    # The log holds a table's least and greatest values for each file; only those of the SKU are asked.
                    configuration={
                        # Rollback reads the past; whoever vacuums the lake leaves it so long, too.
                        "delta.logRetentionDuration": f"interval {HISTORY.days} days",
                        "delta.deletedFileRetentionDuration": f"interval {HISTORY.days} days",
                        "delta.dataSkippingStatsColumns": "item_sku",
                    },
                )
        return table or self._opened(name)

    def version(self, name: str) -> int | None:
        """Return the table's version now, or ``None`` when it does not exist yet."""
        table = self._open(name)
        return None if table is None else table.version()

    def version_at(self, name: str, at: float) -> int | None:
        """Return the version that stood at the Unix time ``at``, or ``None`` when there was none yet.

        Some commits are read, not the whole log, which is as long as rollback is promised for.
        """
        table = self._open(name)
        versions = range(table.version() + 1 if table else 0)
        later = bisect_right(versions, at * 1000, key=lambda version: self._committed(name, version))
        return versions[later - 1] if later else None

    def _committed(self, name: str, version: int) -> float:
        """Return when a version was committed, in Unix milliseconds; long ago when the log does not say any more."""
        key = f"tables/{name}/_delta_log/{version:020d}.json"
        if self._lake.exists(key):
            for line in self._lake.get(key).splitlines():
                if b'"commitInfo"' in line and "timestamp" in (told := json.loads(line).get("commitInfo", {})):
                    return float(told["timestamp"])
        return 0.0

    def sizes(self, name: str, version: int | None = None) -> dict[str, int]:
        """Return the rows of each partition, now or in a version, read from the table's log alone."""
        table = self._open(name)
        if table is None:
            return {}
        if version is not None:
            table = DeltaTable(self.uri(name), version, storage_options=self._lake.storage_options())
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        if files.is_empty():
            return {}
        partition = f"partition.{_SCHEMAS[name][1]}"
        return dict(files.group_by(partition).agg(pl.col("num_records").sum()).iter_rows())

    def read(
        self,
        name: str,
        partitions: Iterable[str],
        columns: list[str] | None = None,
        version: int | None = None,
        skus: pl.Series | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Return the rows of the given partitions (stores, or for ``events`` runs), or only some columns of them.

        ``skus`` and ``where`` leave other rows out while reading; ``version`` reads the table as it was. A table that
        does not exist yet is empty.
        """
        schema, partition = _SCHEMAS[name]
        table = self._open(name)
        if table is None:
            return pl.DataFrame(schema=schema).select(columns or list(schema))
        if version is not None:
            table = DeltaTable(self.uri(name), version, storage_options=self._lake.storage_options())
        return (
            _scan(table, schema)
            .filter(pl.col(partition).is_in(list(partitions)))
            .filter(pl.lit(True) if skus is None else _one_of(skus))
            .filter(pl.lit(True) if where is None else where)
            .select(columns or list(schema))
            .collect()
            .rechunk()
        )

    def replace(
        self, name: str, partitions: Collection[str], change: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> pl.DataFrame:
        """Replace some partitions, in one commit, by what ``change`` makes of their rows; return the rows that stand.

        ``change`` must be a pure function of the rows: it is called again when another writer came first.

        :raises RetryLater: others kept changing the same partitions.
        """
        schema, partition = _SCHEMAS[name]
        for _ in range(_TRIES):
            table = self._opened(name)
            before = _scan(table, schema).filter(pl.col(partition).is_in(list(partitions))).collect().rechunk()
            after = change(before).select([pl.col(column).cast(kind) for column, kind in schema.items()])
            if after.equals(before):
                return before
            self._lake.require_room(int(after.estimated_size()))
            values = ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(partitions))
            try:
                write_deltalake(
                    table, after, mode="overwrite", predicate=f"{partition} IN ({values})", writer_properties=WRITER
                )
            except CommitFailedError:
                continue
            return after
        raise RetryLater(
            f"table {name}: others kept changing {partition} = {shorten(', '.join(sorted(partitions)))}; try again",
            after=30,
        )

    def append_once(self, name: str, parts: dict[str, pl.DataFrame]) -> None:
        """Add the rows of each part, unless a part of that name was added before.

        The names are kept in the table's log, in the commit that adds the rows (Delta's application transactions).

        :raises RetryLater: others kept adding the same parts.
        """
        schema, _ = _SCHEMAS[name]
        for _ in range(_TRIES):
            table = self._opened(name)
            new = [part for part in parts if table.transaction_version(part) is None]
            if not new:
                return
            rows = pl.concat(
                [parts[part].select([pl.col(column).cast(kind) for column, kind in schema.items()]) for part in new]
            )
            self._lake.require_room(int(rows.estimated_size()))
            marks = CommitProperties(app_transactions=[Transaction(part, 1) for part in new])
            try:
                write_deltalake(
                    table, rows.sort("item_sku"), mode="append", commit_properties=marks, writer_properties=WRITER
                )
            except CommitFailedError:
                continue
            return
        raise RetryLater(f"table {name}: others kept adding the same rows; try again", after=30)

    def has_part(self, name: str, part: str) -> bool:
        """Tell whether ``append_once`` has added the part."""
        table = self._open(name)
        return table is not None and table.transaction_version(part) is not None


def unsent_part(run_id: str) -> str:
    """Return the name of the part of ``events`` that tells what a run did not send."""
    return f"{run_id}/unsent"


def _one_of(skus: pl.Series) -> pl.Expr:
    """Tell whether a row's SKU is one of these. One alone is looked up in the statistics of row groups."""
    return pl.col("item_sku") == skus[0] if len(skus) == 1 else pl.col("item_sku").is_in(skus.implode())


def _scan(table: DeltaTable, schema: Schema) -> pl.LazyFrame:
    return pl.scan_delta(table).select([pl.col(column).cast(kind) for column, kind in schema.items()])
