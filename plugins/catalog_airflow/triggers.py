"""The trigger that waits for Amazon's results. It runs in the triggerer, which knows ``plugins/`` but not ``dags/``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from catalog_sync.errors import CatalogSyncError, RetryLater
from catalog_sync.run import Kind, Options

if TYPE_CHECKING:
    from catalog_sync.collect import Collector, Progress

#: Seconds between two steps that received nothing. A step itself waits at the queue for ``results.wait``.
PAUSE = 1.0
#: So many steps in a row may fail for reasons that may pass (a lost connection) before the task is told.
PATIENCE = 10


def _collector(run_name: str, kind: str) -> Collector:
    from catalog_airflow.context import open_named
    from catalog_sync.collect import Collector

    return Collector(open_named(run_name, Options(kind=Kind(kind))))


class ResultsTrigger(BaseTrigger):
    """Collects results until reports wait to be archived, or nothing is open.

    What it finds is in the ledger, and so is when to stop: started anew, twice, or on another host, it goes on where
    the ledger stands. Its one event carries counts (``catalog_sync.collect.Progress``), or ``error`` and ``message``.

    :param run_name: the run's name in the ledger.
    :param kind: the run's kind; ``collect`` drains the queue for whoever sent.
    """

    def __init__(self, run_name: str, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_name = run_name
        self.kind = kind
        self.open_collector: Callable[[str, str], Collector] = _collector
        self.sleep: Callable[[float], Any] = asyncio.sleep

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and the arguments that rebuild it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"run_name": self.run_name, "kind": self.kind}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event at the end of the round."""
        try:
            progress = await self._round()
        except CatalogSyncError as error:
            yield TriggerEvent({"error": type(error).__name__, "message": str(error)})  # type: ignore[no-untyped-call]
            return
        yield TriggerEvent(progress.as_dict())  # type: ignore[no-untyped-call]

    async def _round(self) -> Progress:
        collector: Collector | None = None
        failures = 0
        while True:
            try:
                # Everything that blocks happens in a thread: the loop is shared with every other trigger.
                if collector is None:
                    collector = await asyncio.to_thread(self.open_collector, self.run_name, self.kind)
                progress = await asyncio.to_thread(collector.step)
            except CatalogSyncError as error:
                if not isinstance(error, RetryLater):
                    raise
                failures = await self._bear(error, failures, error.after)
                continue
            except Exception as error:  # what AWS and the network may raise has no common class
                failures = await self._bear(error, failures, None)
                continue
            failures = 0
            if progress.round_over:
                return progress
            if not progress.received:
                await self.sleep(PAUSE)

    async def _bear(self, error: Exception, failures: int, after: float | None) -> int:
        """Wait after a failure and return how many there were in a row; raise ``RetryLater`` after too many."""
        failures += 1
        if failures >= PATIENCE:
            raise RetryLater(f"collecting failed {failures} times in a row: {type(error).__name__}: {error}") from error
        self.log.warning("Collecting failed (%s in a row): %s: %s", failures, type(error).__name__, error)
        await self.sleep(after if after is not None else min(2.0**failures, 30.0))
        return failures
