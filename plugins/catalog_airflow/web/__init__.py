"""The Catalog page in Airflow's UI: what Airflow mounts, and where it shows it. The page is loaded when asked for.

Airflow loads plugins in every process, tasks included, so nothing here imports a web framework.
"""

from __future__ import annotations

from typing import Any


class LazyApp:
    """The page's application, made when the first request comes."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""
        if self._app is None:
            from catalog_airflow.web.app import build

            self._app = build()
        await self._app(scope, receive, send)


PREFIX = "/catalog"
#: The tab of a run, as Airflow's UI calls it in addresses.
RUN_ROUTE = "catalog-run"
FASTAPI_APPS: list[dict[str, Any]] = [{"app": LazyApp(), "url_prefix": PREFIX, "name": "Catalog"}]
#: Airflow fills in the placeholders, URL-encoded.
EXTERNAL_VIEWS: list[dict[str, Any]] = [
    {
        "name": "Catalog",
        "href": f"{PREFIX}/",
        "destination": "nav",
        "url_route": "catalog",
        "icon": f"{PREFIX}/static/icon-light.svg",
        "icon_dark_mode": f"{PREFIX}/static/icon-dark.svg",
        "nav_top_level": True,
    },
    {
        "name": "Catalog",
        "href": f"{PREFIX}/?dag={{DAG_ID}}&dag_run={{RUN_ID}}",
        "destination": "dag_run",
        "url_route": RUN_ROUTE,
    },
]
