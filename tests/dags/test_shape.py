"""The graph: which task follows which, and what a failure stops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk import TriggerRule

SYNC = ["nightly_catalog_sync", "backfill_catalog", "rollback_catalog"]
CHAIN = ["extract", "shards", "prepare", "plan", "upload", "collect_results", "settle", "start_follow_up", "account"]


@pytest.mark.parametrize("dag_id", SYNC)
def test_the_job_is_one_chain(dags: dict[str, Any], dag_id: str) -> None:
    """Nightly, backfill and rollback are the same job, each stage after the other, with ``account`` as the only leaf.

    Beside it a person is asked about what the plan holds, and stores and owners of sources are told. ``account`` waits
    for whatever it accounts for, so that it never says unsent of what a task that was cleared with it is sending.
    """
    edges = {task.task_id: set(task.downstream_task_ids) for task in dags[dag_id].tasks}
    chain = {one: {following} for one, following in pairwise(CHAIN)} | {"account": set()}
    beside = {"plan": {"upload", "ask_for_release"}, "settle": {"start_follow_up", "send_notices", "account"}}
    beside |= {"upload": {"collect_results", "account"}, "collect_results": {"settle", "account"}}
    assert edges == {**chain, **beside, "ask_for_release": {"account"}, "send_notices": {"account"}}


@pytest.mark.parametrize("dag_id", SYNC)
def test_a_failed_upload_stops_nothing(dags: dict[str, Any], dag_id: str) -> None:
    """Collecting, settling, telling and accounting run whatever became of the tasks before them, nothing else does."""
    rules = {task.task_id for task in dags[dag_id].tasks if task.trigger_rule == TriggerRule.ALL_DONE}
    assert rules == {"collect_results", "settle", "send_notices", "account"}


@pytest.mark.parametrize("dag_id", SYNC)
def test_uploads_run_in_the_pool(dags: dict[str, Any], dag_id: str) -> None:
    """``upload``, and no other task, takes a slot of the pool that the configuration names."""
    assert {task.task_id for task in dags[dag_id].tasks if task.pool == "catalog_api"} == {"upload"}


@pytest.mark.parametrize("dag_id", SYNC)
def test_what_is_mapped(dags: dict[str, Any], dag_id: str) -> None:
    """Sources, shards and groups of batches are mapped; waiting for results is one task."""
    assert {task.task_id for task in dags[dag_id].tasks if task.is_mapped} == {"extract", "prepare", "upload"}


def test_a_backfill_sends_one_slice_after_the_other(dags: dict[str, Any]) -> None:
    """A night sends as many batches at once as the pool allows."""
    at_once = {dag_id: dags[dag_id].get_task("upload").max_active_tis_per_dagrun for dag_id in SYNC}
    assert at_once == {"nightly_catalog_sync": None, "backfill_catalog": 1, "rollback_catalog": 1}


def test_the_hourly_job_only_collects(dags: dict[str, Any]) -> None:
    """``collect_upload_results`` collects, settles and tells; it plans nothing and sends Amazon nothing.

    Whatever becomes of the collecting, alerts are looked at; a failed collecting fails the run all the same.
    """
    edges = {task.task_id: set(task.downstream_task_ids) for task in dags["collect_upload_results"].tasks}
    assert edges == {
        "collect_results": {"settle", "tell_alerts"}, "settle": {"send_notices"}, "send_notices": set(),
        "tell_alerts": set(),
    }  # fmt: skip
    rules = {task.task_id: task.trigger_rule for task in dags["collect_upload_results"].tasks}
    assert (rules["settle"], rules["send_notices"]) == (TriggerRule.ALL_SUCCESS, TriggerRule.ALL_SUCCESS)
    assert rules["tell_alerts"] == TriggerRule.ALL_DONE


def test_a_release_is_a_question_and_what_follows(dags: dict[str, Any]) -> None:
    """``release_held_changes`` shows, asks, starts and records; it plans and sends nothing itself."""
    dag = dags["release_held_changes"]
    edges = {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}
    chain = ["show_held", "approve", "start_release", "record_answer"]
    assert edges == {one: {following} for one, following in pairwise(chain)} | {"record_answer": set()}
    assert dag.get_task("record_answer").trigger_rule == TriggerRule.ALL_DONE
    assert dag.get_task("approve").response_timeout < dag.dagrun_timeout
    assert dag.get_task("approve").defaults == ["Reject"]


def test_the_redrive_is_one_task(dags: dict[str, Any]) -> None:
    """``redrive_dead_letters`` looks and sends in one task, started by people only."""
    dag = dags["redrive_dead_letters"]
    assert [task.task_id for task in dag.tasks] == ["redrive"]
    assert dag.schedule is None


def test_the_probe_is_one_task(dags: dict[str, Any]) -> None:
    """``probe_catalog_api`` looks in one task, scheduled off the hour, and by hand."""
    dag = dags["probe_catalog_api"]
    assert [task.task_id for task in dag.tasks] == ["probe"]
    assert dag.timetable.expression == "23 6,18 * * *"


def test_the_night_is_the_retailers(dags: dict[str, Any]) -> None:
    """The nightly sync starts at the configured time of day in the configured time zone, summer and winter."""
    timetable = dags["nightly_catalog_sync"].timetable
    assert (timetable.expression, str(timetable.timezone)) == ("30 2 * * *", "America/Los_Angeles")
    assert dags["nightly_catalog_sync"].start_date is None


def test_the_first_night_is_the_next_one(dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts the project an hour after the time of the night does not get last night's run as well."""
    from airflow.sdk.timezone import datetime
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables.base import TimeRestriction

    timetable = decode_timetable(encode_timetable(dags["nightly_catalog_sync"].timetable))
    night = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(datetime(2026, 11, 28), None, catchup=True)
    ).run_after
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: night.add(hours=1))
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert first.run_after == night.add(days=1)
