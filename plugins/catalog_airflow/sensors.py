"""The sensor that waits for Amazon's results, in rounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException

from catalog_airflow.context import open_run
from catalog_airflow.links import LINKS
from catalog_airflow.triggers import ResultsTrigger
from catalog_sync import errors
from catalog_sync.run import Kind

#: Added to ``results.give_up_after`` for the time limit of one deferral. The collector gives up by itself long before:
#: this only ends a trigger that no longer runs at all. (It fails the task without a retry, so it must not come first.)
MARGIN = timedelta(hours=1)


class CollectResultsSensor(BaseSensorOperator):
    """Waits until every upload of the run has a result, and archives the reports.

    It defers at once. Each time the trigger finds that reports wait, the task wakes, archives them well inside the 60
    minutes that their links live (``sample_store_app_entry``), and defers again. What ends it is the ledger.

    :param kind: the kind of run; a ``collect`` run drains the queue for every run.
    """

    operator_extra_links = LINKS

    def __init__(self, *, kind: Kind, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind.value

    def execute(self, context: Any) -> None:
        """Defer, or skip when the run is a dry run."""
        run = open_run(Kind(self.kind))
        if run.options.dry_run:
            raise AirflowSkipException("a dry run sends nothing, so there are no results")
        self._wait(run.run_id, run.settings.results.give_up_after)

    def archive_round(self, context: Any, event: dict[str, Any]) -> dict[str, int]:
        """Archive what waits; defer again unless all is done.

        :returns: ``open`` (uploads still without a result), ``held_back`` (status calls wait for the open circuit
            breaker) and what the last round archived.
        """
        if "error" in event:
            raise getattr(errors, event["error"], errors.CatalogSyncError)(event["message"])
        from catalog_sync.collect import Collector

        self.log.info("Round over", **event)
        run = open_run(Kind(self.kind))
        collector = Collector(run)
        done = collector.archive()
        self.log.info("Archived", **done)
        # Asked again: another run that archives, or an earlier try of this task, may have dropped a link meanwhile.
        if event["finished"] or (event["open"] == 0 and not collector.left()):
            return {"open": event["open"], "held_back": event.get("held_back", False), **done}
        self._wait(run.run_id, run.settings.results.give_up_after)

    def _wait(self, run_name: str, give_up_after: timedelta) -> NoReturn:
        trigger = ResultsTrigger(run_name=run_name, kind=self.kind)
        self.defer(trigger=trigger, method_name="archive_round", timeout=give_up_after + MARGIN)
        raise AssertionError("defer() always raises")
