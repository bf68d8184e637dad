"""The page's data and downloads. Each handler is imported into when it is called: frame libraries take a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse

from catalog_airflow.web.deployment import lake_name, reader

Name = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9._-]*$")]
Code = Annotated[str, Query(max_length=120)]
Key = Annotated[str, Query(max_length=255)]
AirflowId = Annotated[str, Query(max_length=250)]


def add(router: APIRouter) -> None:
    """Add the routes of the data and of the downloads."""
    for path, view in ROUTES.items():
        router.get(path)(view)


def run(name: Name = "", dag: AirflowId = "", dag_run: AirflowId = "") -> JSONResponse:
    """Return one run: by its name in the lake, by Airflow's DAG and run id, or the newest."""
    from catalog_sync.views import runs

    return JSONResponse(runs.one(reader(), lake_name(dag, dag_run) if dag_run else name))


def alerts() -> JSONResponse:
    """Return what is wrong now."""
    from catalog_sync.views import alerts as view

    return JSONResponse(view.alerts(reader()))


def batches(name: Name = "", first: Annotated[int, Query(ge=0, le=10_000_000)] = 0) -> JSONResponse:
    """Return the uploads of a run."""
    from catalog_sync.views import runs

    return JSONResponse(runs.batches(reader(), name, first))


def runs(
    limit: Annotated[int, Query(ge=1, le=400)] = 400, before: Annotated[str, Query(max_length=300)] = ""
) -> JSONResponse:
    """Return the list of runs."""
    from catalog_sync.views import runs as view

    return JSONResponse(view.runs(reader(), limit, before))


def refused(name: Name = "") -> JSONResponse:
    """Return what was rejected and refused."""
    from catalog_sync.views import refused as view

    return JSONResponse(view.refused(reader(), name))


def stuck() -> JSONResponse:
    """Return what waits."""
    from catalog_sync.views import stuck as view

    return JSONResponse(view.stuck(reader()))


def why(sku: Key, store: Key = "") -> JSONResponse:
    """Return the story of a SKU."""
    from catalog_sync.why import why as view

    return JSONResponse(view(reader(), sku, store))


def runbook(page: Name) -> JSONResponse:
    """Return a runbook."""
    from catalog_sync.views import runbooks

    return JSONResponse(runbooks.runbook(page))


def refused_csv(name: Name, code: Code = "") -> Response:
    """Return the rejected and refused rows of a run as CSV."""
    from catalog_sync.views import downloads

    return _stream(downloads.refused_csv(reader(), name, code), f"refused-{name}.csv", "text/csv; charset=utf-8")


def changes_csv(name: Name) -> Response:
    """Return the changes of a run's plan as CSV."""
    from catalog_sync.views import downloads

    return _stream(downloads.changes_csv(reader(), name), f"changes-{name}.csv", "text/csv; charset=utf-8")


def leaving_csv(name: Name) -> Response:
    """Return what leaves by a run's plan as CSV."""
    from catalog_sync.views import downloads

    return _stream(downloads.leaving_csv(reader(), name), f"leaving-{name}.csv", "text/csv; charset=utf-8")


def tasks_csv(name: Name) -> Response:
    """Return what the stores have to do before Amazon archives as CSV."""
    from catalog_sync.views import downloads

    return _stream(iter([downloads.tasks_csv(reader(), name)]), f"tasks-{name}.csv", "text/csv; charset=utf-8")


def plan_text(name: Name) -> Response:
    """Return a run's plan as Markdown."""
    from catalog_sync.views import downloads

    return _stream(iter([downloads.plan_text(reader(), name)]), f"plan-{name}.md", "text/markdown; charset=utf-8")


def report(ingestion_id: Annotated[str, Query(min_length=1, max_length=256)]) -> Response:
    """Return Amazon's report of an ingestion."""
    from catalog_sync.views import downloads

    return _stream(iter([downloads.report(reader(), ingestion_id)]), "report.json", "application/json")


def _stream(parts: Iterator[bytes], name: str, media_type: str) -> Response:
    """Return a download. Its first part is made now, so that what is wrong is told by the status."""
    first: Any = next(parts, b"")
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chain([first], parts), media_type=media_type, headers=headers)


ROUTES: dict[str, Callable[..., Response]] = {
    "/data/run": run,
    "/data/alerts": alerts,
    "/data/batches": batches,
    "/data/runs": runs,
    "/data/refused": refused,
    "/data/stuck": stuck,
    "/data/why": why,
    "/data/runbook": runbook,
    "/download/refused.csv": refused_csv,
    "/download/changes.csv": changes_csv,
    "/download/leaving.csv": leaving_csv,
    "/download/tasks.csv": tasks_csv,
    "/download/plan.md": plan_text,
    "/download/report.json": report,
}
