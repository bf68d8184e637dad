"""The deployment that the page shows, opened once for many requests: clients take half a second to make."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from catalog_airflow.connections import AirflowConnections
from catalog_airflow.context import names_of
from catalog_sync import settings

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Seconds after which configuration and connections are read anew.
FRESH = 300.0
#: The page opens runs of others; this name is never written.
_NAME = "page"

_lock = threading.Lock()
_opened: list[tuple[float, Run]] = []


def reader() -> Run:
    """Return a run of the deployment that ``CATALOG_CONFIG`` names, to read through; it has nothing of its own.

    :raises Misconfigured: the configuration or a connection is wrong.
    """
    from catalog_sync.run import Run

    now = time.monotonic()
    with _lock:
        if not _opened or now - _opened[0][0] > FRESH:
            _opened[:] = [(now, Run.open(settings.load(), AirflowConnections(), _NAME))]
        return _opened[0][1]


def forget() -> None:
    """Open the deployment anew with the next request."""
    with _lock:
        _opened.clear()


def lake_name(dag_id: str, dag_run_id: str) -> str:
    """Return the name in the lake of an Airflow run, of whichever of our DAGs it is.

    :raises NotFound: no run of the catalog was started by it.
    """
    from catalog_sync.lookup import NotFound

    run, origin = reader(), f"{dag_id}/{dag_run_id}"
    for name in names_of(dag_run_id):
        other = run.of(name)
        if run.lake.exists(other.key("run.json")) and other.options.origin in ("", origin):
            return name
    raise NotFound("This Airflow run has not begun to read a source, or it is not one of the catalog's.")
