"""The one file that Airflow's plugin loader executes; everything else is in the package ``catalog_airflow``.

The loader runs every file below ``plugins/`` under its bare name, so the package is listed in ``.airflowignore``.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from catalog_airflow import listeners, web


class CatalogPlugin(AirflowPlugin):
    """What the project adds to Airflow itself: listeners that check a run's pools and write its note, and the page."""

    name = "catalog_sync"
    listeners = [listeners]  # noqa: RUF012 - Airflow's own declaration
    fastapi_apps = web.FASTAPI_APPS
    external_views = web.EXTERNAL_VIEWS
