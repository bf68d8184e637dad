"""Extracting one source: read, map, transform, and write the rows to the lake, split by store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import journal
from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import REJECTS
from catalog_sync.contract.report import reject_csv
from catalog_sync.contract.steps import store_as_repaired
from catalog_sync.mapping import Mapper, load_transform, transform_rows
from catalog_sync.measures import stage
from catalog_sync.parallel import in_threads
from catalog_sync.run import Kind
from catalog_sync.run_metrics import announce
from catalog_sync.scope import Scope
from catalog_sync.skus_read import SkusRead
from catalog_sync.sources import open_source
from catalog_sync.sources.base import ROW, Source, Unreadable

if TYPE_CHECKING:
    from catalog_sync.aws import Aws
    from catalog_sync.run import Run
    from catalog_sync.settings import Mapping, SourceSettings

log = logging.getLogger(__name__)

#: Rows kept in memory before they are written; it bounds memory, and keeps the number of files per store small.
FLUSH_ROWS = 500_000
_STORE = "__store"


@stage("extract")
def extract(run: Run, source_name: str) -> dict[str, Any]:
    """Extract the source, or return what an earlier try extracted.

    :returns: ``source``, ``read`` (rows before the transform), ``rows`` (after it) and ``unreadable``; the whole
        manifest is ``extract/<source>.json`` in the run's prefix.
    :raises BadInput: the source cannot be read, or only half of it; nothing of it is used (I5).
    """
    announce(run)
    made = run.lake.once(run.key(f"extract/{source_name}.json"), lambda: _made(run, source_name))
    return {key: made[key] for key in ("source", "read", "rows", "unreadable")}


def _made(run: Run, source_name: str) -> dict[str, Any]:
    if run.options.kind is Kind.ROLLBACK:
        from catalog_sync.rollback import read_target

        return read_target(run, source_name)
    return _extract(run, source_name)


def _extract(run: Run, source_name: str) -> dict[str, Any]:
    settings = run.settings.source(source_name)
    run.begin_to_read()
    journal.began(run)  # and so what the run was asked, and the plan number that stood, before anything is read
    Scope.of(run)  # a wrong list of SKUs is an error now, not after an hour
    source = open_source(settings, run.connections, run.settings.base, run.clock, lambda: _aws(run, settings))
    writer, skus = StoreWriter(run, source_name), SkusRead(run.settings.rules)
    read_at, read, rows = run.clock.time(), 0, 0
    for before, mapped in mapped_batches(source, settings, run.settings.mapping_of(source_name)):
        read += before
        rows += len(mapped)
        writer.add(mapped)
        skus.add(mapped)
        log.info("%s: %s rows read", source_name, f"{read:,}")
    writer.flush()
    return {
        "source": source_name,
        "read": read,
        "rows": rows,
        "unreadable": len(source.unreadable),
        "files": writer.files,
        "unreadable_key": _write_unreadable(run, source_name, source.unreadable),
        "skus_key": skus.write(run, source_name),
        "untellable": skus.untellable + len(source.unreadable),
        "read_at": read_at,
        "modified_at": source.modified_at,
    }


def mapped_batches(source: Source, settings: SourceSettings, mapping: Mapping) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield, for each batch of the source, how many rows it had, and what mapping and transform made of them.

    :raises BadInput: the source cannot be read, or only half of it, or it does not fit the mapping or the transform.
    """
    hook = load_transform(settings.transform) if settings.transform else None
    mapper = Mapper(mapping, settings.name)
    read = 0
    for batch in source.batches():
        raw = pl.DataFrame(batch)
        if ROW not in raw.columns:
            raw = raw.with_columns(pl.int_range(read + 1, read + len(raw) + 1, dtype=pl.Int64).alias(ROW))
        mapped = mapper.map(raw, source.sparse)
        read += len(mapped)
        if hook is not None and settings.transform and len(mapped):
            yield len(mapped), transform_rows(mapped, hook, settings.transform, settings.name)
        else:
            yield len(mapped), mapped
    mapper.finish()


def unreadable_rows(source_name: str, unreadable: list[Unreadable]) -> pl.DataFrame:
    """Return the reject lines of the rows that the source could not read."""
    return pl.DataFrame(
        [
            {
                "row_id": number,
                "code": Code.ROW_UNREADABLE.value,
                "value": row.value,
                "message": row.reason,
                "source": f"{source_name}:{row.file}" if row.file else source_name,
                "source_row": row.row,
            }
            for number, row in enumerate(unreadable)
        ],
        schema=REJECTS,
    )


def _aws(run: Run, settings: SourceSettings) -> Aws:
    """Return the account that a file source reads ``s3://`` with: its own connection's, or the run's."""
    return run.connections.aws(settings.conn_id, run.settings.aws.region) if settings.conn_id else run.aws


def _write_unreadable(run: Run, source_name: str, unreadable: list[Unreadable]) -> str | None:
    if not unreadable:
        return None
    name = run.key(f"rejects/{source_name}-unreadable-{run.token()}")
    rows = unreadable_rows(source_name, unreadable)
    run.lake.put_frame(f"{name}.parquet", rows)
    run.lake.put(f"{name}.csv", reject_csv(rows))
    return f"{name}.parquet"


class StoreWriter:
    """Collects rows and writes them as one Parquet object per store and flush, under names of its own.

    Rows go by their store id as the contract will have repaired it, so that all rows of a store meet
    in one shard. Rows of no configured store go together, under ``""``: a wrong column taken for the store would else
    make an object for every row.
    """

    def __init__(self, run: Run, source_name: str) -> None:
        self.run = run
        self.stores = list(run.stores)
        self.folder = run.key(f"extract/{source_name}-{run.token()}")
        self.files: list[dict[str, Any]] = []
        self._parts: dict[str, list[pl.DataFrame]] = {}
        self._rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take the rows, and write when there are many."""
        repaired = store_as_repaired(pl.col("store_id"))
        store = pl.when(repaired.is_in(self.stores)).then(repaired).otherwise(pl.lit("")).alias(_STORE)
        parts = rows.with_columns(store).partition_by(_STORE, maintain_order=True, include_key=False, as_dict=True)
        for (name,), part in parts.items():
            self._parts.setdefault(name, []).append(part)
        self._rows += len(rows)
        if self._rows >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        self.files += in_threads(self._write, enumerate(self._parts.items(), len(self.files)))
        self._parts, self._rows = {}, 0

    def _write(self, numbered: tuple[int, tuple[str, list[pl.DataFrame]]]) -> dict[str, Any]:
        number, (store, parts) = numbered
        rows = pl.concat(parts)
        key = f"{self.folder}/{number:05d}.parquet"
        self.run.lake.put_frame(key, rows)
        return {"store": store, "key": key, "rows": len(rows)}
