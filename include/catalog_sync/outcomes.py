"""What became of the rows of one attempt, from its archived report or from the way it ended."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import reports
from catalog_sync.archives import every_store, is_archive, skus_of
from catalog_sync.attempts import Attempt, State
from catalog_sync.clock import utc
from catalog_sync.fields import KEY
from catalog_sync.payload import ITEM, items_of
from catalog_sync.tables import ARCHIVE

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Outcomes of a row that was sent.
ACKNOWLEDGED, REFUSED, FAILED, UNKNOWN = "acknowledged", "refused", "failed", "unknown"

#: The same of an archive, in events and where rows and SKUs are counted side by side.
ARCHIVE_WORDS = {
    ACKNOWLEDGED: "archived",
    REFUSED: "archive_refused",
    FAILED: "archive_failed",
    UNKNOWN: "archive_unknown",
}
#: Stands for the store where SKUs are counted; no store can be called so.
EVERY_STORE = "all stores"

_WHOLE = {
    State.REFUSED: (REFUSED, "REQUEST_REFUSED"),
    State.FAILED: (FAILED, "SERVER_ERROR"),
    State.FATAL: (FAILED, "FATAL"),
    State.CANCELLED: (FAILED, "CANCELLED"),
}


def outcomes_of(run: Run, attempt: Attempt, next_plan: int) -> pl.DataFrame:
    """Return the items of the attempt as they were sent, with what became of each.

    Columns beside those of the item and of a planned row: ``run_id``, ``attempt`` (its name), ``batch``,
    ``plan_number``, ``ingestion_id``, ``sent_at``, ``resolved_at``, ``outcome``, ``code``, ``message``, ``until`` (when
    Amazon applied it at the latest) and ``proof_from`` (the first plan number that was sent after that, for all we
    know; the plan's own while a report may still come). An attempt that was REJECTED has no rows: they were sent again.
    All but the items' fields is kept in the run's prefix, once the end is known.

    Of an archive each SKU is told of in every store of the request, ``listed`` where Amazon had it; its
    ``content_hash`` is ``ARCHIVE``, and it has no fields.

    :param next_plan: the least number of a plan that was not yet made when the attempt's state was read.
    """
    batch = run.of(attempt.key.run_id).plan["batch_list"][attempt.key.batch - 1]
    if is_archive(batch):
        told = _ended(run, attempt, batch, slice(attempt.start, attempt.stop), next_plan)
        return told.with_columns(pl.lit(None, kind).alias(name) for name, kind in ITEM.items() if name not in KEY)
    sent = slice(attempt.start, attempt.start if attempt.state is State.REJECTED else attempt.stop)
    items = items_of(run.lake.get_compressed(batch["key"]))[sent]
    return _ended(run, attempt, batch, sent, next_plan).hstack(items.drop(KEY))


def _ended(run: Run, attempt: Attempt, batch: dict[str, Any], sent: slice, next_plan: int) -> pl.DataFrame:
    name = f"runs/{attempt.key.run_id}/outcomes/{attempt.key.name}.parquet"
    if run.lake.exists(name):
        return run.lake.get_frame(name)
    rows = _skus(run, attempt, batch) if is_archive(batch) else run.lake.get_frame(batch["rows_key"])[sent]
    # A refusal in the answer itself has no ingestion id; its attempt stands for one among the distinct refusals.
    ingestion_id = attempt.ingestion_id or f"request:{attempt.key.pointer}"
    known = attempt.state in _WHOLE or (attempt.state is State.DONE and bool(attempt.report_key))
    forgotten = attempt.sent_at + run.settings.results.horizon.total_seconds()
    over = known or run.clock.time() > forgotten
    frame = _judged(run, attempt, rows, is_archive(batch)).with_columns(
        run_id=pl.lit(attempt.key.run_id),
        attempt=pl.lit(attempt.key.name),
        batch=pl.lit(attempt.key.batch),
        plan_number=pl.lit(attempt.plan_number, dtype=pl.Int64),
        ingestion_id=pl.lit(ingestion_id),
        sent_at=pl.lit(utc(attempt.sent_at)).cast(pl.Datetime("us", "UTC")),
        resolved_at=pl.lit(utc(float(attempt.item.get("ended_at", attempt.sent_at)))).cast(pl.Datetime("us", "UTC")),
        until=pl.lit(utc(float(attempt.item.get("ended_at", forgotten)))).cast(pl.Datetime("us", "UTC")),
        proof_from=pl.lit(next_plan if over else attempt.plan_number, dtype=pl.Int64),
    )
    if is_archive(batch):
        had = run.lake.get_frame(batch["rows_key"], list(KEY)).with_columns(listed=pl.lit(True))
        frame = (
            every_store(frame, batch)
            .join(had, on=list(KEY), how="left")
            .with_columns(pl.col("listed").fill_null(False))
        )
    if known:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        run.lake.create(name, buffer.getvalue())
    return frame


def _skus(run: Run, attempt: Attempt, batch: dict[str, Any]) -> pl.DataFrame:
    """Return an archive's SKUs as rows of no store."""
    stop = attempt.start if attempt.state is State.REJECTED else attempt.stop
    return skus_of(run, batch, attempt.start, stop).with_columns(store_id=pl.lit(""), content_hash=pl.lit(ARCHIVE))


def _judged(run: Run, attempt: Attempt, rows: pl.DataFrame, archive: bool) -> pl.DataFrame:
    if attempt.state is State.DONE and attempt.report_key:
        report = reports.parse(run.lake.get_compressed(attempt.report_key), ingestion_id=attempt.ingestion_id)
        if strangers := reports.strangers(report, rows, archive):
            log.warning(
                "The report of %s lists %s items that were not sent; they change nothing, and the report is kept as %s",
                attempt.ingestion_id, strangers, attempt.report_key,
            )  # fmt: skip
        return reports.archive_outcomes(report, rows) if archive else reports.outcomes(report, rows)
    outcome, code = _WHOLE.get(attempt.state, (UNKNOWN, "NO_REPORT"))
    message = str(attempt.item.get("message", ""))
    return rows.with_columns(outcome=pl.lit(outcome), code=pl.lit(code), message=pl.lit(message))


def archive_words(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return the outcomes with those of an archive in words of their own, such as ``archived``."""
    return outcomes.with_columns(
        outcome=pl.when(pl.col("content_hash") == ARCHIVE)
        .then(pl.col("outcome").replace_strict(ARCHIVE_WORDS))
        .otherwise("outcome")
    )


def archive_lines(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return the outcomes of an attempt as they are counted: of an archive one line for each SKU, in no store."""
    if "listed" not in outcomes.columns:
        return outcomes
    return archive_words(outcomes).unique("position").with_columns(store_id=pl.lit(EVERY_STORE))
