"""The trigger: it survives being written down, waits in rounds, and tells the task what it cannot bear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TriggerEvent

from catalog_airflow.triggers import PATIENCE, ResultsTrigger
from catalog_sync.collect import Progress
from catalog_sync.errors import Misconfigured, RetryLater

WAITING = Progress(open=2, waiting=0, received=0, polled=0, round_over=False, finished=False)
BUSY = Progress(open=2, waiting=1, received=3, polled=0, round_over=False, finished=False)
OVER = Progress(open=0, waiting=2, received=1, polled=0, round_over=True, finished=False)


class ScriptedCollector:
    """A collector whose steps are told beforehand."""

    def __init__(self, steps: Iterable[Progress | Exception]) -> None:
        self.steps = list(steps)

    def step(self) -> Progress:
        """Return or raise what comes next."""
        following = self.steps.pop(0)
        if isinstance(following, Exception):
            raise following
        return following


def events(*steps: Progress | Exception) -> tuple[list[TriggerEvent], list[float]]:
    """Run a trigger over the steps; return its events and how long it paused each time."""
    trigger, pauses = ResultsTrigger("run-1", "night"), []
    collector = ScriptedCollector(steps)
    trigger.open_collector = lambda run_name, kind: collector  # type: ignore[assignment,return-value]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    trigger.sleep = sleep

    async def collect() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    return asyncio.run(collect()), pauses


def test_it_is_rebuilt_from_what_was_written_down() -> None:
    """The class is found by its path and rebuilt with the same arguments, as the triggerer does."""
    path, arguments = ResultsTrigger("run-1", "collect").serialize()
    assert import_string(path)(**arguments).serialize() == (path, {"run_name": "run-1", "kind": "collect"})


def test_it_ends_the_round_with_counts() -> None:
    """It steps until the round is over, pauses only after a step without messages, and yields one event of counts."""
    told, pauses = events(WAITING, BUSY, OVER)
    assert [event.payload for event in told] == [OVER.as_dict()]
    assert pauses == [1.0]


def test_passing_trouble_is_borne() -> None:
    """A lost connection, or a busy ledger, does not end the waiting; a delay that is asked for is kept to."""
    told, pauses = events(ConnectionError("reset"), RetryLater("busy", after=7.0), OVER)
    assert [event.payload for event in told] == [OVER.as_dict()]
    assert pauses == [2.0, 7.0]


def test_what_a_retry_cannot_mend_goes_to_the_task() -> None:
    """A missing queue is told to the task at once, by the name of its class."""
    told, _ = events(Misconfigured("no queue"))
    assert [event.payload for event in told] == [{"error": "Misconfigured", "message": "no queue"}]


def test_trouble_without_end_goes_to_the_task() -> None:
    """After ten failures in a row the task is told, so that its retries and its colour in the UI say so."""
    told, _ = events(*[ConnectionError("reset")] * PATIENCE)
    assert [event.payload["error"] for event in told] == ["RetryLater"]
    assert "10 times in a row: ConnectionError: reset" in told[0].payload["message"]


@pytest.mark.parametrize("error", [Misconfigured, RetryLater])
def test_the_task_raises_what_the_trigger_told(error: type[Exception]) -> None:
    """The sensor raises the same class of error, so that the retry policy sees it."""
    from catalog_airflow.sensors import CollectResultsSensor
    from catalog_sync.run import Kind

    sensor = CollectResultsSensor(task_id="collect_results", kind=Kind.NIGHT)
    event: dict[str, Any] = {"error": error.__name__, "message": "no queue"}
    with pytest.raises(error, match="no queue"):
        sensor.archive_round({}, event)


@pytest.mark.parametrize("left", [0, 1])
def test_the_task_ends_when_nothing_is_left_whoever_archived(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Another run that archives the same report drops a link that fails; the task waits for the fresh one then."""
    from airflow.sdk.exceptions import TaskDeferred

    from catalog_airflow import sensors
    from catalog_sync.run import Kind

    class Archived:
        def __init__(self, run: object) -> None: ...

        def archive(self) -> dict[str, int]:
            return {"archived": 0, "failed": 0}

        def left(self) -> int:
            return left

    results = SimpleNamespace(give_up_after=timedelta(hours=4))
    run = SimpleNamespace(run_id="run-1", settings=SimpleNamespace(results=results))
    monkeypatch.setattr(sensors, "open_run", lambda kind: run)
    monkeypatch.setattr("catalog_sync.collect.Collector", Archived)
    sensor = sensors.CollectResultsSensor(task_id="collect_results", kind=Kind.NIGHT)
    event = OVER.as_dict()
    if left:
        with pytest.raises(TaskDeferred):
            sensor.archive_round({}, event)
    else:
        assert sensor.archive_round({}, event) == {"open": 0, "held_back": False, "archived": 0, "failed": 0}
