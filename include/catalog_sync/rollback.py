"""Rolling back: what Amazon had at a time, or after a run, stands in for the sources of a run.

The acknowledged rows of then are written to the lake as if a source had had them; merging, contract, diff, plan,
upload and books are those of every run. What is in no store of then and active now is archived, but only after a
person has approved that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import journal
from catalog_sync.clock import iso, parsed, utc
from catalog_sync.errors import BadInput, shorten
from catalog_sync.extract import StoreWriter
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT, TARGETS, TEXT_FIELDS
from catalog_sync.payload import ITEM
from catalog_sync.run import run_name
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

TABLE = "acknowledged"
#: What the names of runs begin with in the lake, where Airflow's UI shows them without it.
_PREFIXES = ("", "backfill__", "rollback__")


def read_target(run: Run, source: str) -> dict[str, Any]:
    """Write what Amazon had then to the lake, as the manifest of a source tells it.

    :returns: the manifest, with ``target``: ``to``, ``version`` (of the acknowledged table), ``words``, and
        ``not_configured`` (rows by store that is not configured any more, and so cannot be rolled back).
    :raises BadInput: ``to`` is neither a run with books nor a time, or lies before what is kept.
    """
    run.begin_to_read()
    journal.began(run)
    read_at = run.clock.time()
    tables, writer = Tables(run.lake), StoreWriter(run, source)
    version, words = _version(run, tables)
    rows, skus, gone = 0, [pl.Series("item_sku", [], pl.String)], {}
    for store in sorted(tables.sizes(TABLE, version)):
        then = tables.read(TABLE, [store], [*ITEM, "state"], version).filter(state="ACTIVE")
        skus.append(then["item_sku"])
        if store not in run.stores:
            gone[store] = len(then)
        elif len(then):
            writer.add(_as_mapped(then, source))
            rows += len(then)
    writer.flush()
    key = run.key(f"extract/{source}-{run.token()}-skus.parquet")
    run.lake.put_frame(key, pl.concat(skus).unique().sort().to_frame())
    log.info("%s: %s rows, version %s of the acknowledged rows", words, f"{rows:,}", version)
    return {
        "source": source, "read": rows, "rows": rows, "unreadable": 0, "files": writer.files, "unreadable_key": None,
        "skus_key": key, "untellable": 0, "read_at": read_at, "modified_at": None,
        "target": {"to": run.options.to, "version": version, "words": words, "not_configured": gone},
    }  # fmt: skip


def _version(run: Run, tables: Tables) -> tuple[int, str]:
    """Return the version of the acknowledged rows that is meant, and what it is in words."""
    to = run.options.to.strip()
    for prefix in _PREFIXES:
        for name in ("books.json", "books-incomplete.json"):
            other = run.of(run_name(f"{prefix}{to}")) if to else run
            if to and run.lake.exists(other.key(name)):
                made = run.lake.get_json(other.key(name))
                version = made.get("acknowledged_after")
                if version is None:
                    raise BadInput(f"to = {shorten(to)!r}: the books of that run do not say what stood after it")
                _kept(run, to, float(made["accounted_at"]))
                return int(version), f"what Amazon had after run {other.run_id}"
    try:
        # Without an offset it is the retailer's own time.
        at = parsed(to, run.settings.schedule.timezone).timestamp()
    except ValueError:
        raise BadInput(
            f"to = {shorten(to)!r}: is neither a run that has books nor a time such as 2026-11-27T18:00"
        ) from None
    if at > run.clock.time():
        raise BadInput(f"to = {shorten(to)!r}: lies in the future")
    _kept(run, to, at)
    version = tables.version_at(TABLE, at)
    if version is None:
        raise BadInput(f"to = {shorten(to)!r}: nothing was acknowledged by then, so there is nothing to go back to")
    return version, f"what Amazon had at {utc(at):%Y-%m-%d %H:%M:%S} UTC"


def _kept(run: Run, to: str, at: float) -> None:
    within = run.settings.rollback.within
    if run.clock.time() - at > within.total_seconds():
        raise BadInput(
            f"to = {shorten(to)!r}: is {iso(at)}, longer ago than rollback.within = {within.days} days; the history "
            "is not kept for longer"
        )


def _as_mapped(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return items as mapped rows, such as a source has."""
    code, kind = (pl.element().struct.field(f"external_product_id{end}") for end in ("", "_type"))
    entry = pl.when(kind.fill_null("") != "").then(pl.concat_str(kind, pl.lit(":"), code)).otherwise(code)
    further = pl.col(ADDITIONAL).list.eval(entry).list.join("|")
    mapped = rows.with_row_index("source_row", 1).select(
        *TEXT_FIELDS,
        further.alias(ADDITIONAL_TEXT),
        pl.lit(source).alias("source"),
        pl.col("source_row").cast(pl.Int64),
    )
    return mapped.select(*TARGETS, pl.lit(source).alias("source"), "source_row")
