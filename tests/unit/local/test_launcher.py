"""The launcher's parts: ports, processes, secrets, environment, progress."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console

from catalog_local import airflow, progress
from catalog_local.environment import airflow_environment, fingerprint
from catalog_local.errors import LocalError
from catalog_local.ports import HOST, Ports, require_free
from catalog_local.processes import Processes
from catalog_local.rest import AirflowRest
from catalog_local.state import State

#: Processes of the tests are known by their files, and are stopped by those.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
#: A leader with a child that outlives it, and neither minds SIGTERM.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(1, flush=True); time.sleep(600)']); time.sleep(600)",
]


def pause(seconds: float) -> None:
    """Let a process get on."""
    threading.Event().wait(seconds)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A fresh state folder."""
    made = State(tmp_path / "local")
    made.create()
    return made


@pytest.fixture
def processes(state: State) -> Iterator[Processes]:
    """Processes that are stopped at the end."""
    made = Processes(state)
    yield made
    made.stop(patience=0.2)


def test_ports_have_defaults_and_variables() -> None:
    """Each port is moved by its variable."""
    assert Ports.of({}) == Ports(ui=8080, sandbox=8090, aws=8091)
    assert Ports.of({"PORT": "18080", "AWS_PORT": "18091"}) == Ports(ui=18080, sandbox=8090, aws=18091)


@pytest.mark.parametrize("text", ["eighty", "0", "65536", "-1", "80.5", "٨٠٨٠"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """The message names the variable and the rule."""
    with pytest.raises(LocalError, match=r"PORT=.*1 to 65535"):
        Ports.of({"PORT": text})


def test_two_uses_of_one_port_are_refused() -> None:
    """The UI cannot have the sandbox's port."""
    with pytest.raises(LocalError, match="a port of its own"):
        Ports.of({"PORT": "8090"})


def test_a_taken_port_is_explained() -> None:
    """The message names the port, what it is for, who has it, and the variable that moves it; free ones pass."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(LocalError) as caught:
            require_free({"SANDBOX_PORT": port})
    text = str(caught.value)
    assert f"port {port}, for the sandbox, is taken" in text
    assert f"process {os.getpid()}" in text
    assert "make run SANDBOX_PORT=" in text
    require_free({"SANDBOX_PORT": port})


def test_secrets_are_made_once_and_are_the_owners_alone(state: State) -> None:
    """A second call returns the same secrets; the files have mode 600; ``repr`` shows none."""
    made = state.secrets()
    assert state.secrets() == made
    assert made.password not in repr(made)
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.passwords.parent.iterdir()} == {0o600}
    assert json.loads(state.passwords.read_text()) == {"admin": made.password}


def test_processes_are_known_and_stopped(processes: Processes) -> None:
    """A started process is known by name and fingerprint, and gone after ``stop``."""
    processes.start("one", SLEEPER, os.environ, "print")
    pid = processes.pid("one")
    assert pid
    assert (processes.runs("one"), processes.runs("one", "print"), processes.runs("one", "other")) == (
        True,
        True,
        False,
    )
    assert processes.stop() == ["one"]
    assert (processes.names(), processes.runs("one")) == ([], False)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stubborn_process_and_its_child_are_killed(processes: Processes) -> None:
    """What does not end on SIGTERM is killed, with its whole group."""
    processes.start("stubborn", STUBBORN, os.environ, "")
    processes.wait("stubborn", lambda: "1" in processes.log("stubborn").read_text(), 60, pause)
    [leader] = [psutil.Process(pid) for pid in [processes.pid("stubborn")] if pid]
    [child] = leader.children()
    processes.stop(patience=0.2)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_another_process_with_the_same_id_is_left_alone(state: State, processes: Processes) -> None:
    """The system gives ids again; a process that was started at another time is not ours and is not stopped."""
    (state.processes / "old.json").write_text(json.dumps({"pid": os.getpid(), "created": 1.0, "fingerprint": ""}))
    assert not processes.runs("old")
    assert processes.stop() == []


def test_a_process_that_dies_is_told_with_the_end_of_its_log(processes: Processes) -> None:
    """Waiting for something that has died ends at once, and says what it printed last."""
    processes.start("one", [sys.executable, "-c", "print('no such setting'); raise SystemExit(1)"], os.environ, "")
    with pytest.raises(LocalError, match=r"the one has died(.|\n)*no such setting"):
        processes.wait("one", lambda: False, 60, pause)


def test_a_process_that_never_gets_ready_is_told(processes: Processes) -> None:
    """Patience ends, and the message says how long it was and what the log holds."""
    processes.start("one", SLEEPER, os.environ, "")
    with pytest.raises(LocalError, match=r"the one did not get ready in 1 s"):
        processes.wait("one", lambda: False, 1, lambda seconds: None)


def test_a_killed_process_is_told_as_dead(processes: Processes) -> None:
    """A leader that was killed is reported as dead."""
    processes.start("one", SLEEPER, os.environ, "")
    pid = processes.pid("one")
    assert pid
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    with pytest.raises(LocalError, match="the one has died"):
        processes.require(["one"])


def test_the_environment_carries_the_deployment(state: State) -> None:
    """Airflow's settings and the sandbox's connections are in it; without the sandbox, the user's connections stay."""
    ports = Ports(ui=1, sandbox=2, aws=3)
    own = {"AIRFLOW_CONN_ERP": "postgres://erp", "HOME": "/home/somebody"}
    made = airflow_environment(state, ports, own)
    assert json.loads(made["AIRFLOW_CONN_CATALOG_API"])["host"] == "http://127.0.0.1:2"
    assert json.loads(made["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"] == "http://127.0.0.1:3"
    assert (made["AIRFLOW__API__HOST"], made["AIRFLOW__API__PORT"]) == ("127.0.0.1", "1")
    assert made["PYTHONPATH"].endswith("/include")
    bare = airflow_environment(state, ports, own, sandbox=False, executor="CeleryExecutor", database="postgresql://db")
    assert bare["AIRFLOW_CONN_ERP"] == "postgres://erp"
    assert "AIRFLOW_CONN_CATALOG_API" not in bare
    assert bare["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert bare["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql://db"


def test_the_fingerprint_follows_settings_only(state: State) -> None:
    """It changes with a setting of ours, and not with the rest of the environment."""
    made = {"AIRFLOW_HOME": "/a", "TERM": "dumb"}
    assert fingerprint(made) == fingerprint({**made, "TERM": "xterm"})
    assert fingerprint(made) != fingerprint({**made, "AIRFLOW_HOME": "/b"})


def instances(*pairs: tuple[str, str | None]) -> list[dict[str, Any]]:
    """Task instances as Airflow's API gives them."""
    return [{"task_id": task, "state": state} for task, state in pairs]


def test_progress_counts_by_state_in_the_order_of_the_job() -> None:
    """Tasks stand in the order in which they run, whatever order the API has, and strangers come last."""
    states = progress.by_state(
        instances(("upload", "running"), ("other", None), ("extract", "success"), ("upload", None))
    )
    assert states == {
        "extract": Counter(success=1),
        "upload": Counter(running=1, waiting=1),
        "other": Counter(waiting=1),
    }
    assert list(states) == ["extract", "upload", "other"]
    assert progress.describe(Counter(success=3, running=1)) == "3 of 4 done, 1 running"
    assert progress.describe(Counter(deferred=1)) == "deferred"


def test_following_prints_each_change_once() -> None:
    """Without a terminal, each change of a task is a line, and the end of the run is returned."""
    looks = iter(
        [
            ("running", instances(("extract", None))),
            ("running", instances(("extract", "running"))),
            ("running", instances(("extract", "running"))),
            ("failed", instances(("extract", "failed"))),
        ]
    )
    output = StringIO()
    assert progress.follow(lambda: next(looks), Console(file=output), lambda seconds: None) == "failed"
    assert output.getvalue().split() == ["extract", "running", "extract", "failed"]


def test_the_rest_client_logs_in_again_when_its_token_expires() -> None:
    """A 401 leads to one new login and the call is repeated; any other error says what Airflow answered."""
    tokens = iter(["old", "new"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": next(tokens)})
        if request.headers["Authorization"] != "Bearer new":
            return httpx.Response(401)
        if request.url.path.endswith("/dagRuns"):
            return httpx.Response(200, json={"dag_run_id": "run-1"})
        return httpx.Response(400, json={"detail": "no"})

    rest = AirflowRest(httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer)), "password")
    assert rest.trigger("nightly", {}) == "run-1"
    with pytest.raises(LocalError, match="answers 400 to PATCH"):
        rest.unpause("nightly")


def test_a_question_that_times_out_is_asked_again_and_an_order_is_not() -> None:
    """A busy Airflow answers late; asked in vain often enough, it is an error. A run is never started twice."""
    tried, waited = Counter[str](), []

    def answer(request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.path.rsplit('/', 1)[1]}"
        tried[what] += 1
        if what == "POST token":
            return httpx.Response(201, json={"access_token": "token"})
        if what == "GET late" and tried[what] == 3:
            return httpx.Response(200, json={"state": "running"})
        raise httpx.ReadTimeout("late")

    http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    rest = AirflowRest(http, "password", waited.append)
    assert rest.run_state("nightly", "late") == "running"
    assert waited == [1.0, 2.0]
    with pytest.raises(LocalError, match=r"does not answer to GET .*never: ReadTimeout, asked 5 times"):
        rest.run_state("nightly", "never")
    with pytest.raises(LocalError, match=r"does not answer to POST .*dagRuns: ReadTimeout$"):
        rest.trigger("nightly", {})
    assert tried == {"POST token": 1, "GET late": 3, "GET never": 5, "POST dagRuns": 1}


def test_old_signs_of_life_do_not_count() -> None:
    """After a restart the database still holds the heartbeat of the scheduler before: that one is not healthy yet."""
    from datetime import UTC, datetime

    since = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    beat = {"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-11-23T11:59:59Z"}}
    assert not airflow._alive(beat, "scheduler", since)
    beat["scheduler"]["latest_scheduler_heartbeat"] = "2026-11-23T12:00:01+00:00"
    assert airflow._alive(beat, "scheduler", since)
    assert not airflow._alive({}, "scheduler", since)
