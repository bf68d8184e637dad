"""Airflow's public REST API, as far as the launcher needs it."""

from __future__ import annotations

from typing import Any

import httpx

from catalog_local.errors import LocalError
from catalog_local.state import USER


class AirflowRest:
    """A client of one Airflow.

    :param http: a client whose base URL is Airflow's.
    :param password: of the user ``admin``.
    """

    def __init__(self, http: httpx.Client, password: str) -> None:
        self._http = http
        self._password = password
        self._token = ""

    def health(self) -> dict[str, Any]:
        """Return what ``/monitor/health`` says; empty while the API does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.is_success else {}

    def pool(self, name: str, slots: int, description: str) -> None:
        """Create the pool unless it exists; an existing one keeps its slots."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        self._call("POST", "/api/v2/pools", json=body, allow=(409,))

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return the DAG, or ``None`` while Airflow does not know it."""
        answer = self._call("GET", f"/api/v2/dags/{dag_id}", allow=(404,))
        return dict(answer.json()) if answer.is_success else None

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of each DAG file that cannot be imported."""
        answer = self._call("GET", "/api/v2/importErrors")
        return {error["filename"]: error["stack_trace"] for error in answer.json()["import_errors"]}

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run now and return its id."""
        body = {"logical_date": None, "conf": conf}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body).json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the run's state: ``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return every task instance of the run."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._call(
                "GET",
                f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances",
                params={"limit": 100, "offset": len(found)},
            ).json()
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def _call(self, method: str, path: str, *, allow: tuple[int, ...] = (), **kwargs: Any) -> httpx.Response:
        self._token = self._token or self._login()
        answer = self._send(method, path, **kwargs)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # it has expired
            self._token = self._login()
            answer = self._send(method, path, **kwargs)
        if not answer.is_success and answer.status_code not in allow:
            raise LocalError(f"Airflow answers {answer.status_code} to {method} {path}: {answer.text[:300]}")
        return answer

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, headers={"Authorization": f"Bearer {self._token}"}, **kwargs)
        except httpx.HTTPError as error:
            raise LocalError(f"Airflow does not answer to {method} {path}: {type(error).__name__}") from None

    def _login(self) -> str:
        answer = self._http.post("/auth/token", json={"username": USER, "password": self._password})
        if not answer.is_success:
            raise LocalError(f"Airflow does not accept the password of {USER!r}: run make clean, then make run")
        return str(answer.json()["access_token"])
