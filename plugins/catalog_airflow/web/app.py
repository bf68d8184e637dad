"""The page's application: every route asks for Airflow's permission, every answer carries the same security headers.

There is nothing here that writes: all routes are ``GET``. Whoever may read the runs of ``nightly_catalog_sync`` may see
the page, its files included; nobody else sees anything.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from catalog_airflow.web import files, routes
from catalog_airflow.web.guard import DEFAULTS, HEADERS, Guard
from catalog_sync.errors import BadInput, CatalogSyncError
from catalog_sync.lookup import NotFound

log = logging.getLogger(__name__)

#: Whose runs one must be allowed to read. Never a DAG that the request names: one could name any that one may see.
DAG = "nightly_catalog_sync"


def build() -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Catalog", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    app.add_exception_handler(CatalogSyncError, _told)
    app.add_exception_handler(Exception, _broken)
    allowed = requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN, param_dag_id=DAG)
    router = APIRouter(dependencies=[Depends(allowed)])
    files.add(router)
    routes.add(router)
    app.include_router(router)
    return app


def _told(request: Request, error: Exception) -> JSONResponse:
    """Answer with what the domain says: its messages are made for people and hold no secret."""
    status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, BadInput) else 503
    if status == 503:
        log.error("%s: %s: %s", request.url.path, type(error).__name__, error)
    return JSONResponse({"error": str(error)}, status)


def _broken(request: Request, error: Exception) -> Any:
    """Answer without a detail: the log has them."""
    log.error("%s failed", request.url.path, exc_info=error)
    # Starlette answers this outside of every middleware, so the headers are put on here.
    return JSONResponse(
        {"error": "The page could not read this; the API server's log says why."}, 500, headers={**HEADERS, **DEFAULTS}
    )
