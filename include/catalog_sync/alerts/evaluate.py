"""When alerts are judged: after each run, every hour, and when a run failed, is late, or went well."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from catalog_sync import journal
from catalog_sync.alerts.book import AlertBook, Finding
from catalog_sync.alerts.findings import judge
from catalog_sync.alerts.heartbeat import beat
from catalog_sync.alerts.kinds import Kind
from catalog_sync.alerts.telling import tell
from catalog_sync.alerts.watch import watch
from catalog_sync.errors import shorten
from catalog_sync.run import Kind as RunKind

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Stands for the runs about the whole catalog, of whichever kind, where it is kept which has judged an alert last.
WHOLE = "whole"
#: What is wrong with a run, whatever others have found since.
ABOUT_ITSELF = (
    Kind.RUN_INCOMPLETE, Kind.BOOKS_UNBALANCED, Kind.UPLOADS_FAILED, Kind.ROWS_REFUSED, Kind.BATCH_REFUSED
)  # fmt: skip
#: Runs that a scheduler starts and that are accounted for.
WITH_BOOKS = (RunKind.NIGHT, RunKind.BACKFILL, RunKind.ROLLBACK)


def after_run(run: Run, books: dict[str, Any], sqs: Any = None) -> None:
    """Judge a run that was accounted for, tell what is due, and let the heart beat; never raises.

    A dry run is not judged.

    :param books: what ``account`` has returned.
    :param sqs: the client of the queues, by default that of the deployment.
    """
    if books["dry_run"]:
        return
    try:
        book = AlertBook.of(run)
        began = float(books["started_at"])
        if book.is_latest(run.options.kind.value, began):
            judged = judge(run, books)
            # The latest backfill may be older than a night, and knows no better what that has judged.
            knows = book.is_latest if judged.whole else book.is_newer
            kinds = judged.kinds | {one.kind for one in judged.findings}
            newest = {kind for kind in kinds if knows(f"{WHOLE}.{kind.value}", began)}
            findings = [one for one in judged.findings if one.kind in newest or one.kind in ABOUT_ITSELF]
            book.judge(findings, judged.kinds & newest if judged.whole else judged.kinds, run.run_id)
    except Exception as error:  # what is known of the rows stands in the books; alerts must not take it down
        log.exception("The alerts of run %s cannot be judged: %s", run.run_id, type(error).__name__)
    hourly(run, sqs)
    beat(run, books)


def hourly(run: Run, sqs: Any = None) -> dict[str, int]:
    """Judge what holds between runs, and tell what is due; never raises.

    :returns: how many messages said that an alert began, still holds, or is over.
    """
    try:
        book, judged = AlertBook.of(run), watch(run, sqs)
        book.judge(judged.findings, judged.kinds, run.run_id)
        return tell(run)
    except Exception as error:
        log.exception("Alerts cannot be told: %s", type(error).__name__)
        return {}


def run_failed(run: Run, dag_id: str, why: str) -> None:
    """Take note that a run failed and tell it, unless its books tell what is missing; a failed run is late no more.

    :param run: the run as the ledger knows it.
    :param dag_id: which DAG's run it was.
    :param why: what Airflow says.
    """
    book = AlertBook.of(run)
    _end(run, book, dag_id, Kind.RUN_LATE)
    what, books = "", journal.books_of(run)
    if not books:
        what = f"run {run.run_id} of {dag_id} failed, and has no books that say what is missing: {shorten(why, 200)}"
    elif books["state"] == "complete":
        what = f"run {run.run_id} of {dag_id} failed after its books were complete: {shorten(why, 200)}"
    failed = [one for one in book.open() if (one.kind, one.subject) == (Kind.RUN_FAILED, dag_id)]
    began = _began(run, run.clock.time())
    # An old run that was cleared does not take the place of a younger one.
    if what and all(_began(run.of(one.run_id), 0.0) <= began for one in failed):
        book.raise_(Finding(Kind.RUN_FAILED, what, dag_id), run.run_id)
    tell(run)


def run_late(run: Run, dag_id: str, since: float) -> None:
    """Take note that a run is late and tell it.

    :param since: when the run was queued (Unix seconds).
    """
    hours = run.settings.alerts.late.total_seconds() / 3600
    what = f"run {run.run_id} of {dag_id} has not ended {hours:g} hours after it was queued"
    AlertBook.of(run).raise_(Finding(Kind.RUN_LATE, what, dag_id, since), run.run_id)
    tell(run)


def run_succeeded(run: Run, dag_id: str) -> None:
    """Take note that a run of the DAG went well: it is late no more, and fails no more if its books are complete.

    A task that was marked success by hand has made no books. Runs that only collect, ask or look have none.
    """
    book = AlertBook.of(run)
    well = run.asked.kind not in WITH_BOOKS or journal.books_of(run).get("state") == "complete"
    if _end(run, book, dag_id, Kind.RUN_LATE, *([Kind.RUN_FAILED] if well else [])):
        tell(run)


def _end(run: Run, book: AlertBook, dag_id: str, *kinds: Kind) -> bool:
    """Take note that these alerts about the DAG are over; tell whether one was open.

    A run that was cleared says nothing of one that began after it.
    """
    began = _began(run, run.clock.time())
    mine = [one for one in book.open() if one.kind in kinds and one.subject == dag_id]
    over = [one for one in mine if one.run_id == run.run_id or began >= _began(run.of(one.run_id), one.raised_at)]
    return any([book.over(one.kind, one.subject) for one in over])


def _began(run: Run, otherwise: float) -> float:
    """Return when the run began; not by ``run.manifest``, which a run of a DAG that has none would write here."""
    key = run.key("run.json")
    return float(run.lake.get_json(key)["started_at"]) if run.lake.exists(key) else otherwise
