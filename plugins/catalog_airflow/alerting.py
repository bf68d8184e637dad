"""What Airflow itself sees of runs: that one failed, is late, or went well. ``catalog_sync.alerts`` judges and tells.

The callbacks of a DAG run in the DAG processor, that of a deadline in the triggerer. Neither waits for a worker: when
all workers are stuck, somebody must still be told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from catalog_sync.run import Kind, Options, run_name

if TYPE_CHECKING:
    from catalog_sync.run import Run
    from catalog_sync.settings import Settings

log = logging.getLogger(__name__)

#: The DAGs whose runs have books or a ledger of their own.
_KINDS = {
    "nightly_catalog_sync": Kind.NIGHT,
    "backfill_catalog": Kind.BACKFILL,
    "rollback_catalog": Kind.ROLLBACK,
    "collect_upload_results": Kind.COLLECT,
}
#: The states of an Airflow run that goes on no more.
ENDED = ("success", "failed")


def late(config: Settings) -> list[DeadlineAlert]:
    """Return the deadline of a DAG whose runs are late ``alerts.late`` after they were queued."""
    return [
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, config.alerts.late, AsyncCallback(run_is_late), name="late")
    ]


def run_failed(context: Any) -> None:
    """Tell that a run failed, unless its books tell more."""
    from catalog_sync.alerts import evaluate

    dag_id, why = context["dag"].dag_id, str(context.get("reason") or "")
    _tell(dag_id, context["run_id"], lambda run: evaluate.run_failed(run, dag_id, why), f"failed: {why}")


def run_succeeded(context: Any) -> None:
    """Note that a run went well."""
    from catalog_sync.alerts import evaluate

    dag_id = context["dag"].dag_id
    _tell(dag_id, context["run_id"], lambda run: evaluate.run_succeeded(run, dag_id))


async def run_is_late(context: Any = None, **kwargs: Any) -> None:
    """Tell that a run has not ended in time; nothing of one that has ended since its deadline was set."""
    from catalog_sync.alerts import evaluate

    dag_run = context["dag_run"]
    # Airflow drops the deadline of a run that went well in time; that of one that failed passes all the same.
    if dag_run.get("state") in ENDED:
        return
    dag_id, queued_at = dag_run["dag_id"], datetime.fromisoformat(str(dag_run["queued_at"])).timestamp()
    # What blocks happens in a thread: the loop is shared with every trigger.
    await asyncio.to_thread(
        _tell, dag_id, dag_run["dag_run_id"], lambda run: evaluate.run_late(run, dag_id, queued_at), "is late"
    )


def _tell(dag_id: str, run_id: str, judge: Callable[[Run], None], otherwise: str = "") -> None:
    """Judge the run; when that cannot be done because the ledger is away, tell ``otherwise`` without it."""
    from catalog_airflow.context import name_of, open_named

    kind = _KINDS.get(dag_id)
    name = name_of(kind, run_id) if kind else run_name(f"{dag_id}__{run_id}")
    try:
        judge(open_named(name, Options(kind=kind or Kind.COMMAND)))
    except Exception as error:
        log.exception("The alerts about run %s of %s cannot be kept: %s", run_id, dag_id, type(error).__name__)
        if otherwise:
            _tell_without_ledger(dag_id, f"run {run_id} of {dag_id} {otherwise}; and the ledger cannot be used")


def _tell_without_ledger(dag_id: str, what: str) -> None:
    from catalog_airflow import channels
    from catalog_sync import settings
    from catalog_sync.alerts.book import Finding
    from catalog_sync.alerts.kinds import Kind as Alert
    from catalog_sync.alerts.telling import tell_without_ledger
    from catalog_sync.clock import SystemClock

    channels.install()
    tell_without_ledger(settings.load(), Finding(Alert.RUN_FAILED, what, dag_id), SystemClock().time())
