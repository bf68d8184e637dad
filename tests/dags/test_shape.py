"""The graph: which task follows which, and what a failure stops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk import TriggerRule

SYNC = ["nightly_catalog_sync", "backfill_catalog"]
CHAIN = ["extract", "shards", "prepare", "plan", "upload", "collect_results", "settle", "start_follow_up", "account"]


@pytest.mark.parametrize("dag_id", SYNC)
def test_the_job_is_one_chain(dags: dict[str, Any], dag_id: str) -> None:
    """Nightly and backfill are the same job, each stage after the other, with ``account`` as the only leaf."""
    edges = {task.task_id: set(task.downstream_task_ids) for task in dags[dag_id].tasks}
    assert edges == {one: {following} for one, following in pairwise(CHAIN)} | {"account": set()}


@pytest.mark.parametrize("dag_id", SYNC)
def test_a_failed_upload_stops_nothing(dags: dict[str, Any], dag_id: str) -> None:
    """Collecting, settling and accounting run whatever became of the tasks before them, and nothing else does."""
    rules = {task.task_id for task in dags[dag_id].tasks if task.trigger_rule == TriggerRule.ALL_DONE}
    assert rules == {"collect_results", "settle", "account"}


@pytest.mark.parametrize("dag_id", SYNC)
def test_uploads_run_in_the_pool(dags: dict[str, Any], dag_id: str) -> None:
    """``upload``, and no other task, takes a slot of the pool that the configuration names."""
    assert {task.task_id for task in dags[dag_id].tasks if task.pool == "catalog_api"} == {"upload"}


@pytest.mark.parametrize("dag_id", SYNC)
def test_what_is_mapped(dags: dict[str, Any], dag_id: str) -> None:
    """Sources, shards and groups of batches are mapped; waiting for results is one task."""
    assert {task.task_id for task in dags[dag_id].tasks if task.is_mapped} == {"extract", "prepare", "upload"}


def test_the_hourly_job_only_collects(dags: dict[str, Any]) -> None:
    """``collect_upload_results`` collects and settles; it plans and sends nothing."""
    edges = {task.task_id: set(task.downstream_task_ids) for task in dags["collect_upload_results"].tasks}
    assert edges == {"collect_results": {"settle"}, "settle": set()}


def test_the_redrive_is_one_task(dags: dict[str, Any]) -> None:
    """``redrive_dead_letters`` looks and sends in one task, started by people only."""
    dag = dags["redrive_dead_letters"]
    assert [task.task_id for task in dag.tasks] == ["redrive"]
    assert dag.schedule is None


def test_the_night_is_the_retailers(dags: dict[str, Any]) -> None:
    """The nightly sync starts at the configured time of day in the configured time zone, summer and winter."""
    timetable = dags["nightly_catalog_sync"].timetable
    assert (timetable.expression, str(timetable.timezone)) == ("30 2 * * *", "America/Los_Angeles")
    assert dags["nightly_catalog_sync"].start_date is None
