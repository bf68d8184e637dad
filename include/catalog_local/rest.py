"""Airflow's public REST API, as far as the launcher needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from catalog_local.errors import LocalError
from catalog_local.state import USER

#: How often a question is asked, and the seconds between: a busy machine answers late. Orders are given once.
TRIES, PAUSES = 5, wait_exponential(max=8)


class AirflowRest:
    """A client of one Airflow.

    :param http: a client whose base URL is Airflow's.
    :param password: of the user ``admin``.
    :param pause: waits so many seconds before a question is asked again.
    """

    def __init__(self, http: httpx.Client, password: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._password = password
        self._token = ""
        self._asking = Retrying(
            retry=retry_if_exception_type(httpx.HTTPError),
            stop=stop_after_attempt(TRIES),
            wait=PAUSES,
            sleep=pause,
            reraise=True,
        )

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
        return self._answer(method, path, method == "GET", headers={"Authorization": f"Bearer {self._token}"}, **kwargs)

    def _answer(self, method: str, path: str, again: bool, **kwargs: Any) -> httpx.Response:
        """Return the answer, of whatever status; ``again``: what is not answered is asked again."""

        def ask() -> httpx.Response:
            return self._http.request(method, path, **kwargs)

        try:
            return self._asking(ask) if again else ask()
        except httpx.HTTPError as error:
            often = f", asked {TRIES} times" if again else ""
            raise LocalError(f"Airflow does not answer to {method} {path}: {type(error).__name__}{often}") from None

    def _login(self) -> str:
        login = {"username": USER, "password": self._password}
        answer = self._answer("POST", "/auth/token", True, json=login)
        if not answer.is_success:
            raise LocalError(f"Airflow does not accept the password of {USER!r}: run make clean, then make run")
        return str(answer.json()["access_token"])
