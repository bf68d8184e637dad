"""Operators that need to be classes: those that start another run as the last thing they do."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from catalog_airflow.links import StartedRunLink

RELEASE_DAG = "release_held_changes"
#: Airflow's limit on a run's id, in characters.
ID_LIMIT = 250
#: The XCom in which Airflow keeps the id of the run that a task has started.
STARTED = "trigger_run_id"


def started_id(what: str, run_id: str) -> str:
    """Return ``<what>__<run_id>``, the id of what a run starts: a long one is cut, and told apart by its hash."""
    whole = f"{what}__{run_id}"
    if len(whole) <= ID_LIMIT:
        return whole
    mark = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"{whole[: ID_LIMIT - len(mark) - 1]}-{mark}"


class StartRun(BaseOperator):
    """Starts a run of a DAG, and is skipped when it has started that one before.

    Airflow's ``TriggerDagRunOperator`` does the same. Importing it brings the scheduler's models along, and every task
    of a DAG imports what the DAG's file does: 0.4 CPU seconds in each upload (docs/performance.md).
    """

    operator_extra_links = (StartedRunLink(),)
    #: DAG and run id of what was started.
    started: tuple[str, str] | None = None

    def start(self, context: Any, dag_id: str, what: str, conf: dict[str, Any]) -> NoReturn:
        """End the task by starting ``<what>__<this run's id>``: a cleared task starts no second one."""
        run_id = started_id(what, context["dag_run"].run_id)
        self.started = (dag_id, run_id)
        # Clearing forgot the XCom. Airflow would skip the task without it, as if nothing had been started.
        if context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id]):
            context["ti"].xcom_push(key=STARTED, value=run_id)
            raise AirflowSkipException(f"run {run_id} of {dag_id} was started before")
        raise DagRunTriggerException(
            trigger_dag_id=dag_id,
            dag_run_id=run_id,
            conf=conf,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=["success"],
            failed_states=["failed"],
            poke_interval=60,
            deferrable=False,
        )


class StartFollowUp(StartRun):
    """Starts this DAG again, from a fresh extract, when ``settle`` says that an upload ended FATAL or CANCELLED.

    Skipped otherwise. The new run has the same form values and counts one follow-up more. It waits until this run has
    ended (``max_active_runs=1``).

    :param settle_task_id: the task whose return value holds ``follow_up``.
    """

    def __init__(self, *, settle_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settle_task_id = settle_task_id

    def execute(self, context: Any) -> None:
        """Start the follow-up run, or skip."""
        settled = context["ti"].xcom_pull(task_ids=self.settle_task_id) or {}
        if not settled.get("follow_up"):
            raise AirflowSkipException("no upload ended FATAL or CANCELLED, or two follow-ups were made already")
        before = int((context["dag_run"].conf or {}).get("follow_up", 0))
        self.log.info("Starting a follow-up run", number=before + 1, broken=settled.get("broken"))
        self.start(context, context["dag_run"].dag_id, "follow_up", {**context["params"], "follow_up": before + 1})


class AskForRelease(StartRun):
    """Asks a person about the rows that the run's plan holds; skipped when it holds none, and in a dry run.

    Each run asks once, however often its task is cleared.
    """

    def __init__(self, *, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def execute(self, context: Any) -> None:
        """Start the question, or skip."""
        planned = context["ti"].xcom_pull(task_ids="plan", key="plan") or {}
        if planned.get("dry_run") or not planned.get("held"):
            raise AirflowSkipException("nothing is held that a person could release")
        from catalog_airflow.context import name_of
        from catalog_sync.run import Kind

        asked = {"run": name_of(Kind(self.kind), context["dag_run"].run_id)}
        self.log.info("Asking whether held rows are sent", rows=planned["held"])
        self.start(context, RELEASE_DAG, "held", asked)
