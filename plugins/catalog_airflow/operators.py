"""Operators that need to be classes."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException


class StartFollowUp(TriggerDagRunOperator):
    """Starts this DAG again, from a fresh extract, when ``settle`` says that an upload ended FATAL or CANCELLED.

    Skipped otherwise. The new run has the same form values, counts one follow-up more, and has a run id made from this
    run's, so that a cleared task starts no second one. It waits until this run has ended (``max_active_runs=1``).

    :param settle_task_id: the task whose return value holds ``follow_up``.
    """

    def __init__(self, *, settle_task_id: str, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id="{{ dag.dag_id }}",
            trigger_run_id="follow_up__{{ run_id }}",
            logical_date=None,
            skip_when_already_exists=True,
            **kwargs,
        )
        self.settle_task_id = settle_task_id

    def execute(self, context: Any) -> None:
        """Start the follow-up run, or skip."""
        settled = context["ti"].xcom_pull(task_ids=self.settle_task_id) or {}
        if not settled.get("follow_up"):
            raise AirflowSkipException("no upload ended FATAL or CANCELLED, or two follow-ups were made already")
        before = int((context["dag_run"].conf or {}).get("follow_up", 0))
        self.conf = {**context["params"], "follow_up": before + 1}
        self.log.info("Starting a follow-up run", number=before + 1, broken=settled.get("broken"))
        super().execute(context)
