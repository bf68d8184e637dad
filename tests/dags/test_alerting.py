"""What Airflow tells of a run's end: every DAG has it, and the ledger being away hides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from catalog_airflow import alerting, channels, context
from catalog_sync import notify, settings
from catalog_sync.errors import Misconfigured
from catalog_sync.notify import Message
from catalog_sync.settings import load

DAG = "nightly_catalog_sync"
STARTED = {"dag": SimpleNamespace(dag_id=DAG), "run_id": "manual__1", "reason": "timed_out"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Message]]:
    """What a channel for everything got, in a deployment whose ledger is away."""
    got: list[Message] = []
    raw = load().model_dump(exclude_defaults=True)
    routed = {"channels": {"ops": {"kind": "slack"}}}
    changed = settings.Settings.model_validate(
        {**raw, "notify": routed, "alerts": {"routes": {"critical": "ops", "warning": "ops"}}}
    )
    monkeypatch.setattr(settings, "load", lambda: changed)

    def away(name: str, options: Any) -> Any:
        raise Misconfigured(f"ledger table: gone ({name})")

    monkeypatch.setattr(context, "open_named", away)
    monkeypatch.setattr(channels, "install", lambda: None)
    notify.send_to(SimpleNamespace(send=lambda channel, message: got.append(message)))  # type: ignore[arg-type]
    yield got
    notify.send_to(None)


def test_every_dag_tells_how_its_runs_end(dags: dict[str, Any]) -> None:
    """A failure and a success of any of our DAGs; a deadline for the night, which is what can be late."""
    assert {dag_id: dag.on_failure_callback for dag_id, dag in dags.items()} == dict.fromkeys(dags, alerting.run_failed)
    ends = {dag_id: dag.on_success_callback for dag_id, dag in dags.items()}
    assert ends == dict.fromkeys(dags, alerting.run_succeeded)
    deadlines = {dag_id: [one.interval for one in dag.deadline or ()] for dag_id, dag in dags.items()}
    assert deadlines == {dag_id: [load().alerts.late] if dag_id == DAG else [] for dag_id in dags}


def test_a_failure_is_told_without_the_ledger(told: list[Message], caplog: pytest.LogCaptureFixture) -> None:
    """Credentials of our own that have expired take the ledger away, and then every run fails."""
    alerting.run_failed(STARTED)
    [message] = told
    assert message.about["alert"] == "RUN_FAILED"
    assert (
        "run manual\\_\\_1 of nightly\\_catalog\\_sync failed: timed\\_out; and the ledger cannot be used"
        in message.text
    )
    assert "cannot be kept: Misconfigured" in caplog.text


def test_a_late_run_is_told_without_the_ledger(told: list[Message]) -> None:
    """The deadline's context is small: the run, as Airflow's API has it."""
    run = {"dag_id": DAG, "dag_run_id": "manual__1", "queued_at": "2026-11-28T02:30:00Z", "state": "running"}
    asyncio.run(alerting.run_is_late({"dag_run": run}))
    assert ["is late; and the ledger cannot be used" in message.text for message in told] == [True]


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_that_has_ended_is_not_late(told: list[Message], state: str) -> None:
    """Airflow drops the deadline of a run that went well only: that of one that failed passes hours later."""
    run = {"dag_id": DAG, "dag_run_id": "manual__1", "queued_at": "2026-11-28T02:30:00Z", "state": state}
    asyncio.run(alerting.run_is_late({"dag_run": run}))
    assert told == []


def test_a_success_is_no_news_without_the_ledger(told: list[Message]) -> None:
    """Nobody wants to hear that all is well but for the ledger: the next failure says it."""
    alerting.run_succeeded(STARTED)
    assert told == []
