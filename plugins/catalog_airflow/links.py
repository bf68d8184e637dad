"""Links on tasks in Airflow's own pages. Each is made in the task's process when the task ends, however it ends.

A link that cannot be made is empty, and Airflow then shows none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from catalog_airflow.web import RUN_ROUTE

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

    from catalog_sync.settings import Settings


class CatalogPageLink(BaseOperatorLink):
    """The Catalog page of the task's run: its books, batches, refusals and what to do."""

    name = "Catalog page"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page as a tab of the run, in this Airflow."""
        return f"{run_address(ti_key.dag_id, ti_key.run_id)}/plugin/{RUN_ROUTE}"


class StartedRunLink(BaseOperatorLink):
    """The run that the task has started (``operators.StartRun``)."""

    name = "Started run"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the run in this Airflow; empty when none was started."""
        return run_address(*operator.started) if operator.started else ""


class LakeLink(BaseOperatorLink):
    """What the run has left in the lake: plan, payloads, rejects, reports, books."""

    name = "Files in the lake"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the run's prefix in the AWS console; empty for a lake that is a folder."""
        from catalog_airflow.context import name_of
        from catalog_sync import settings
        from catalog_sync.run import Kind

        name = name_of(Kind(kind_of(operator)), ti_key.run_id)
        return lake_address(settings.load(), f"runs/{name}/{FOLDERS.get(ti_key.task_id, '')}")


class RunbookLink(BaseOperatorLink):
    """What to do when the task is red: the runbook of the alert that most likely follows."""

    name = "Runbook"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page below ``alerts.runbooks``; empty while that is a folder."""
        from catalog_sync import settings
        from catalog_sync.alerts.kinds import Kind, runbook

        base = settings.load().alerts.runbooks
        if not base.startswith(("https://", "http://")):
            return ""
        return runbook(Kind(RUNBOOKS.get(ti_key.task_id, "RUN_FAILED")), base)


#: The alert that most likely follows when a task is red; ``RUN_FAILED`` for those that are not here.
RUNBOOKS = {"upload": "RUN_INCOMPLETE", "collect_results": "UPLOADS_STUCK", "account": "RUN_INCOMPLETE"}
#: The folder below the run's in which a task's work lies.
FOLDERS = {"upload": "batches/", "collect_results": "reports/"}


def run_address(dag_id: str, run_id: str) -> str:
    """Return where this Airflow shows a run."""
    base = str(conf.get("api", "base_url", fallback="") or "")
    return f"{base.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def kind_of(operator: Any) -> str:
    """Return the kind of run that the operator belongs to."""
    return str(getattr(operator, "kind", "") or operator.op_kwargs["kind"])


def lake_address(settings: Settings, prefix: str) -> str:
    """Return where a person looks at what lies below ``prefix`` in the lake; empty when no browser can."""
    lake = urlsplit(settings.lake)
    if lake.scheme != "s3":
        return ""
    region = settings.aws.region
    path = "/".join(part for part in (lake.path.strip("/"), prefix) if part)
    query = f"region={region}&prefix={quote(path, safe='/')}"
    return f"https://{region}.console.aws.amazon.com/s3/buckets/{lake.netloc}?{query}"


#: What tasks that send, collect and account show.
LINKS = (CatalogPageLink(), LakeLink(), RunbookLink())
