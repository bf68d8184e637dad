"""What all DAGs of the project have in common: owner, retries, time limits, who is told, tags."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from catalog_airflow import alerting
from catalog_airflow.listeners import TAG
from catalog_airflow.retry import ByRecovery


class Tag(StrEnum):
    """The tags that DAGs may have."""

    JUST_WALK_OUT = TAG
    SCHEDULED = "scheduled"
    BY_HAND = "by-hand"


#: Every task's. Which errors are retried is ``ByRecovery``'s decision; the delays are for what it leaves to Airflow,
#: such as a lost worker. Tasks that may take longer than an hour say so themselves.
DEFAULT_ARGS: dict[str, Any] = {
    "owner": "catalog",
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=15),
    "retry_policy": ByRecovery(),
    "execution_timeout": timedelta(hours=1),
}

#: A run that is still going after this long fails, so that it never blocks the next night.
DAGRUN_TIMEOUT = timedelta(hours=20)

#: What may start a run. Not Airflow's own backfill: a past night cannot be synced again, since sources only show today.
#: ``backfill_catalog`` sends chosen stores or SKUs again instead. Follow-up runs are ``operator_triggered``.
ALLOWED_RUN_TYPES = ("scheduled", "manual", "operator_triggered")

#: What every DAG has; a DAG file adds its text, its schedule, that it catches nothing up, and its form.
_EVERY: dict[str, Any] = {
    "max_active_runs": 1,  # one run sends at a time: the next waits
    "allowed_run_types": ALLOWED_RUN_TYPES,
    "dagrun_timeout": DAGRUN_TIMEOUT,
    "default_args": DEFAULT_ARGS,
    # What Airflow tells of a run's end, for alerts.
    "on_failure_callback": alerting.run_failed,
    "on_success_callback": alerting.run_succeeded,
}
#: A DAG that runs by itself.
SCHEDULED: dict[str, Any] = {**_EVERY, "tags": [Tag.JUST_WALK_OUT, Tag.SCHEDULED]}
#: A DAG that a person starts. Paused, it would leave the run queued.
BY_HAND: dict[str, Any] = {
    **_EVERY,
    "is_paused_upon_creation": False,
    "tags": [Tag.JUST_WALK_OUT, Tag.BY_HAND],
}
#: A DAG that asks a person. A question sends nothing and may be open for hours: the next one does not wait for it.
ASKING: dict[str, Any] = {**BY_HAND, "max_active_runs": 16}
