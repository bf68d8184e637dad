"""The Delta tables: what Amazon acknowledged, what it refused, and the events of every row that is not unchanged.

``acknowledged`` and ``refusals`` are partitioned by store and replaced one store at a time, sorted by SKU (measured:
0.15 s a store at 0.5 GiB on 10 M rows, where a MERGE rewrote every file). ``events`` is partitioned by run. A commit
that meets another writer of the same partition is read again and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from catalog_sync.errors import RetryLater
from catalog_sync.lake import Lake
from catalog_sync.payload import ITEM

TIME = pl.Datetime("us", "UTC")

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

Schema = dict[str, Any]
_SCHEMAS: dict[str, tuple[Schema, str]] = {
    "acknowledged": (ACKNOWLEDGED, "store_id"),
    "refusals": (REFUSALS, "store_id"),
    "events": (EVENTS, "run_id"),
}
_TRIES = 10


class Tables:
    """The Delta tables of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def uri(self, name: str) -> str:
        """Return where the table lies."""
        return self._lake.url(f"tables/{name}")

    def _open(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(name), storage_options=self._lake.storage_options())
        except TableNotFoundError:
            return None

    def _opened(self, name: str) -> DeltaTable:
        table = self._open(name)
        if table is not None:
            return table
        schema, partition = _SCHEMAS[name]
        empty = pl.DataFrame(schema=schema)
        with suppress(CommitFailedError):  # another process made it at the same moment
            write_deltalake(
                self.uri(name),
                empty,
                partition_by=[partition],
                mode="ignore",
                storage_options=self._lake.storage_options(),
                configuration={"delta.logRetentionDuration": "interval 400 days"},
            )
        return DeltaTable(self.uri(name), storage_options=self._lake.storage_options())

    def version(self, name: str) -> int | None:
        """Return the table's version now, or ``None`` when it does not exist yet."""
        table = self._open(name)
        return None if table is None else table.version()

    def read(
        self, name: str, partitions: Iterable[str], columns: list[str] | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """Return the rows of the given partitions (stores, or for ``events`` runs), or only some columns of them.

        ``version`` reads the table as it was; a table that does not exist yet is empty.
        """
        schema, partition = _SCHEMAS[name]
        table = self._open(name)
        if table is None:
            return pl.DataFrame(schema=schema).select(columns or list(schema))
        if version is not None:
            table.load_as_version(version)
        return (
            _scan(table, schema)
            .filter(pl.col(partition).is_in(list(partitions)))
            .select(columns or list(schema))
            .collect()
        )

    def replace(self, name: str, partition_value: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> bool:
        """Replace one partition by what ``change`` makes of its rows; tell whether anything was written.

        ``change`` must be a pure function of the rows: it is called again when another writer came first.

        :raises RetryLater: others kept changing the same partition.
        """
        schema, partition = _SCHEMAS[name]
        for _ in range(_TRIES):
            table = self._opened(name)
            before = _scan(table, schema).filter(pl.col(partition) == partition_value).collect()
            after = change(before).select([pl.col(column).cast(kind) for column, kind in schema.items()])
            if after.equals(before):
                return False
            literal = partition_value.replace("'", "''")
            try:
                write_deltalake(table, after, mode="overwrite", predicate=f"{partition} = '{literal}'")
            except CommitFailedError:
                continue
            return True
        raise RetryLater(f"table {name}: others kept changing {partition} = {partition_value}; try again", after=30)


def _scan(table: DeltaTable, schema: Schema) -> pl.LazyFrame:
    return pl.scan_delta(table).select([pl.col(column).cast(kind) for column, kind in schema.items()])
