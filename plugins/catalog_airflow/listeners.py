"""What happens around a run, in the scheduler: the pools it needs are checked, and its note says how it ended.

A task in a pool that does not exist waits for ever, and Airflow says so only in the scheduler's log. Tasks may not
read the metadata database, but a listener runs in the scheduler, inside its session. Listeners must be quick and must
never raise.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)

#: Runs of DAGs with this tag are looked at, no others.
TAG = "just-walk-out"
#: The XCom of ``account`` that becomes the run's note.
SUMMARY = "summary"
#: Airflow's limit on a note, in characters.
NOTE_LIMIT = 1000
#: What a note that was cut ends with.
REST = "\n\n… the rest is in the log of `account`."


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Fail the run at once when a pool that its tasks name does not exist."""
    try:
        if _is_ours(dag_run) and (absent := _absent_pools(dag_run)):
            _fail(dag_run, absent)
    except Exception:
        log.exception("Cannot check the pools of run %s", dag_run.run_id)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Note how the run ended."""
    _note_summary(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Note how the run ended."""
    _note_summary(dag_run)


def _is_ours(dag_run: DagRun) -> bool:
    dag: Any = dag_run.dag
    return dag is not None and TAG in dag.tags


def _absent_pools(dag_run: DagRun) -> list[str]:
    from airflow.models.pool import Pool
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session: Any = object_session(dag_run)
    if session is None:  # not the scheduler: ``dag.test`` knows no pools
        return []
    dag: Any = dag_run.dag
    named = {task.pool for task in dag.tasks}
    known = set(session.scalars(select(Pool.pool).where(Pool.pool.in_(named))))
    return sorted(named - known)


def _fail(dag_run: DagRun, absent: list[str]) -> None:
    from airflow.utils.state import DagRunState

    text = (
        f"The pool {', '.join(absent)} does not exist, so tasks would wait for ever. Create it (Admin → Pools, or "
        f"'airflow pools set {absent[0]} 9 \"requests to Amazon in flight\"'), then clear this run."
    )
    log.error("Run %s of %s: %s", dag_run.run_id, dag_run.dag_id, text)
    dag_run.note = text
    dag_run.set_state(DagRunState.FAILED)
    _call_back(dag_run, "a pool that its tasks need does not exist")


def _call_back(dag_run: DagRun, reason: str) -> None:
    """Have the DAG processor call what the DAG calls when a run fails: Airflow does so for what it fails itself."""
    from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
    from sqlalchemy.orm import object_session

    dag, session = dag_run.dag, object_session(dag_run)
    request = dag_run.produce_dag_callback(dag, success=False, reason=reason)  # type: ignore[arg-type]
    # With the scheduler's own session: it is written together with the run's state, or not at all.
    DatabaseCallbackSink().send(request, session=session)  # type: ignore[arg-type]


def _note_summary(dag_run: DagRun) -> None:
    try:
        if _is_ours(dag_run) and (summary := _summary(dag_run)):
            dag_run.note = shortened(summary)
    except Exception:
        log.exception("Cannot note how run %s ended", dag_run.run_id)


def shortened(summary: str) -> str:
    """Return the summary as a note may hold it: a long one ends with a whole sentence, and says where the rest is."""
    if len(summary) <= NOTE_LIMIT:
        return summary
    kept = summary[: NOTE_LIMIT - len(REST)]
    ends = [kept.rfind(end) + len(end.rstrip()) for end in (". ", ".\n", "\n\n") if end in kept]
    return kept[: max(ends, default=len(kept))].rstrip() + REST


def _summary(dag_run: DagRun) -> str:
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    session: Any = object_session(dag_run)
    if session is None:  # not the scheduler: ``dag.test`` keeps no notes
        return ""
    query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=SUMMARY, limit=1)
    found = session.scalars(query).first()
    return str(XComModel.deserialize_value(found)) if found else ""
