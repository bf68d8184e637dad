"""A person releases held rows through Airflow's REST API, on real Airflow, and does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from tests.e2e.independent_record import lines
from tests.e2e.kill_stack import KillStack, pause, until

from catalog_local.ports import HOST
from catalog_local.state import USER
from catalog_sync.run import run_name

QUESTION, RUNS_IN = "release_held_changes", "backfill_catalog"
ROWS = 3000

pytestmark = [
    pytest.mark.enable_socket,
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@dataclass
class Person:
    """A person at Airflow's REST API."""

    stack: KillStack
    http: httpx.Client

    def get(self, path: str) -> Any:
        """Return the JSON of a path; a busy Airflow is asked again."""
        again = Retrying(
            retry=retry_if_exception_type(httpx.TimeoutException), stop=stop_after_attempt(5), reraise=True
        )
        return again(self.http.get, path).raise_for_status().json()

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the DAG's runs, the oldest first."""
        found: list[dict[str, Any]] = self.get(f"/api/v2/dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"]
        return found

    def path(self, run_id: str) -> str:
        """Where the question of a run is."""
        return f"/api/v2/dags/{QUESTION}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"

    def asked(self, night: str, patience: float = 120) -> tuple[str, dict[str, Any]]:
        """Wait until the night's question is asked; return its run id and what it shows."""
        run_id = f"held__{night}"

        def waits() -> bool:
            started = any(run["dag_run_id"] == run_id for run in self.runs(QUESTION))
            path = f"/api/v2/dags/{QUESTION}/dagRuns/{run_id}/taskInstances"
            found = self.get(path)["task_instances"] if started else []
            return any(one["task_id"] == "approve" and one["state"] == "awaiting_input" for one in found)

        until(waits, f"{run_id} asks", patience, 1)
        pause(3)  # Airflow fails a task that is answered while it is being parked
        return run_id, self.get(self.path(run_id))

    def answer(self, run_id: str, option: str, **form: str) -> str:
        """Answer, and return the state in which the question's run ends."""
        body = {"chosen_options": [option], "params_input": {"hash": "", "reason": "", **form}}
        self.http.patch(self.path(run_id), json=body).raise_for_status()
        return self.ended(QUESTION, run_id)

    def ended(self, dag_id: str, run_id: str, patience: float = 240) -> str:
        """Wait until a run has ended, and return its state."""

        def state() -> str:
            return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

        until(lambda: state() in ("success", "failed"), f"{run_id} ends", patience, 1)
        return state()

    def night(self) -> tuple[str, dict[str, Any]]:
        """Let a night with new prices pass; return its run id and books."""
        self.stack.change_source()
        run_id = self.stack.trigger()
        assert self.stack.end(run_id) == "success"
        return run_id, self.books(run_id)

    def books(self, name: str) -> dict[str, Any]:
        """Return a run's books."""
        found = self.stack.lake.json(f"runs/{run_name(name)}/books.json")
        assert found, name
        return dict(found)

    def trail(self) -> list[tuple[str, str]]:
        """Return who did what, as the audit trail has it."""
        lake, number, found = self.stack.lake, 1, []
        while entry := lake.json(f"audit/{number:012d}.json"):
            found.append((entry["who"], entry["what"]))
            number += 1
        return found


@contextmanager
def person_at(stack: KillStack) -> Iterator[Person]:
    """A person who has logged in."""
    base = f"http://{HOST}:{stack.deployment.ports.ui}"
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as http:
        login = {"username": USER, "password": stack.deployment.state.secrets().password}
        token = http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        yield Person(stack, http)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A person at a deployment with the default guards, after its first load."""
    stack = KillStack.start(tmp_path_factory.mktemp("release"), {"guards": {}})
    with person_at(stack) as made:
        yield made
    stack.stop()


def uploads(person: Person) -> int:
    """How many uploads Amazon has seen."""
    return sum(one["operation"] == "upload" for one in lines(person.stack.sandbox_url, "/sandbox/requests"))


@pytest.mark.timeout(900)
def test_held_prices_are_rejected_mistyped_and_approved(person: Person) -> None:
    """All prices move: nothing is sent until a person has said so with the right hash, and then exactly that."""
    _, books = person.night()
    assert (books["total"]["acknowledged"], books["guards"]) == (ROWS, [])
    sent = uploads(person)

    night, books = person.night()
    assert (books["total"]["held"], books["total"]["planned"], books["state"]) == (ROWS, 0, "complete")
    question, details = person.asked(night)
    assert details["subject"] == f"Release {ROWS:,} held rows to Amazon?"
    digits = books["held"]["hash"][:12]
    assert f"`{digits}`" in details["body"]
    assert "GUARD\\_PRICES" in details["body"] or "`GUARD_PRICES`" in details["body"]
    assert person.answer(question, "Reject", reason="not sure") == "success"
    assert person.runs(RUNS_IN) == []

    night = person.stack.trigger()  # the same prices once more: the same rows are held, since the first night
    assert person.stack.end(night) == "success"
    assert person.books(night)["held"]["hash"] == books["held"]["hash"]
    question, _ = person.asked(night)
    assert person.answer(question, "Approve", hash="0123456789ab") == "failed"
    assert (person.runs(RUNS_IN), uploads(person)) == ([], sent)

    night = person.stack.trigger()
    assert person.stack.end(night) == "success"
    question, _ = person.asked(night)
    assert person.answer(question, "Approve", hash=digits, reason="the new price list") == "success"
    [release] = person.runs(RUNS_IN)
    assert person.ended(RUNS_IN, release["dag_run_id"]) == "success"
    made = person.books(f"backfill__{release['dag_run_id']}")
    assert (made["total"]["planned"], made["total"]["acknowledged"]) == (ROWS, ROWS)
    assert person.stack.wrong_rows() == []

    assert person.trail() == [
        ("admin", "upload"), ("admin", "held"), ("admin", "rejected"), ("admin", "held"), ("admin", "held"),
        ("admin", "approved"), ("admin", "upload"),
    ]  # fmt: skip
