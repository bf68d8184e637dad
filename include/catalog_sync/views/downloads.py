"""What can be taken away: files that a spreadsheet opens safely, the plan as text, and Amazon's report as it came."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync import overview
from catalog_sync.advice import ADVICE
from catalog_sync.archive_tasks import NAME as TASKS
from catalog_sync.attempts import Attempts
from catalog_sync.contract.report import safe_cells
from catalog_sync.errors import shorten
from catalog_sync.lookup import NotFound, named
from catalog_sync.reports import plain
from catalog_sync.verdicts import REFUSAL_ADVICE

if TYPE_CHECKING:
    from catalog_sync.run import Run

_BOM = b"\xef\xbb\xbf"
_COLUMNS = ["store_id", "item_sku", "code", "field", "value", "message", "source", "source_row"]
_ADVICE = pl.col("code").replace_strict(
    {code.value: text for code, text in ADVICE.items()}, default=REFUSAL_ADVICE, return_dtype=pl.String
)
_ID = re.compile(r"[\x21-\x7e]{1,256}")


def refused_csv(run: Run, name: str, code: str = "") -> Iterator[bytes]:
    """Yield, as one CSV (UTF-8 with a byte order mark), every row that the run rejected or that Amazon refused.

    :param code: only the rows with this code of the contract or of Amazon.
    """
    found = named(run, name)
    return _csv(_with_advice(frame, code) for frame in _lines(found))


def changes_csv(run: Run, name: str) -> Iterator[bytes]:
    """Yield, as one CSV, every change of the run's plan."""
    found = named(run, name)
    keys = found.plan.get("lists", []) if found.lake.exists(found.key("plan.json")) else []
    if not keys:
        raise NotFound(f"run {found.run_id} has no list of changes")
    return _joined(found.lake.get(key) for key in keys)


def leaving_csv(run: Run, name: str) -> Iterator[bytes]:
    """Yield, as one CSV, every row that leaves by the run's plan: to archive, waiting, or gone from one store only."""
    found = named(run, name)
    plan = found.plan if found.lake.exists(found.key("plan.json")) else {}
    keys = plan.get("leaving", {}).get("lists", [])
    if not keys:
        raise NotFound(f"run {found.run_id} has no list of what leaves")
    return _joined(found.lake.get(key) for key in keys)


def tasks_csv(run: Run, name: str) -> bytes:
    """Return what the stores have to do, as CSV, before Amazon archives what the run asked for."""
    found = named(run, name)
    if not found.lake.exists(found.key(TASKS)):
        raise NotFound(f"run {found.run_id} has no tasks for the stores")
    return found.lake.get(found.key(TASKS))


def plan_text(run: Run, name: str) -> bytes:
    """Return the run's plan as Markdown."""
    found = named(run, name)
    if not found.lake.exists(found.key("plan.md")):
        raise NotFound(f"run {found.run_id} has no plan yet")
    return found.lake.get(found.key("plan.md"))


def report(run: Run, ingestion_id: str) -> bytes:
    """Return Amazon's report of the ingestion, as it came but not compressed.

    The id is only looked up: where the report lies is what the ledger says.
    """
    attempts = Attempts(run.ledger, run.settings.retailer, 0)
    attempt = attempts.by_ingestion(ingestion_id) if _ID.fullmatch(ingestion_id) else None
    if attempt is None or not attempt.report_key:
        raise NotFound(f"no report of {shorten(ingestion_id)!r} is archived")
    return plain(run.lake.get_compressed(attempt.report_key))


def _lines(run: Run) -> Iterator[pl.DataFrame]:
    yield from overview.rejects(run)
    refusals = overview.refusals(run)
    yield refusals.with_columns(
        field=pl.lit(""), value=pl.lit(""), source=pl.lit("Amazon"), source_row=pl.lit(None, pl.Int64)
    )


def _with_advice(frame: pl.DataFrame, code: str) -> pl.DataFrame:
    lines = frame.filter(pl.col("code") == code) if code else frame
    return lines.select(*_COLUMNS, advice=_ADVICE)


def _csv(frames: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    yield _BOM + ",".join([*_COLUMNS, "advice"]).encode() + b"\r\n"
    for frame in frames:
        buffer = io.BytesIO()
        safe_cells(frame).write_csv(buffer, include_header=False, line_terminator="\r\n")
        yield buffer.getvalue()


def _joined(files: Iterable[bytes]) -> Iterator[bytes]:
    """Yield CSV files that have the same header as one."""
    for number, data in enumerate(files):
        yield data if number == 0 else data.removeprefix(_BOM).partition(b"\n")[2]
