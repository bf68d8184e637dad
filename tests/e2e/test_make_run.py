"""``make run`` and ``make stop`` as a user types them: real Airflow processes, the sandbox, the sample catalog."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.e2e import independent_books

from catalog_local.environment import CHECKOUT, airflow_environment
from catalog_local.ports import Ports
from catalog_local.state import State
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET

HOST = "127.0.0.1"
NAMES = ("PORT", "SANDBOX_PORT", "AWS_PORT")

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(1500)]


@dataclass
class Machine:
    """A machine on which somebody types commands: a state folder and three free ports."""

    folder: Path
    ports: dict[str, int]

    def type(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m catalog_local <command>``, which is what the Makefile does."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CATALOG"))}
        ports = {name: str(port) for name, port in self.ports.items()}
        own = {"LOCAL_STATE": str(self.folder), "PYTHONPATH": "include", "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-m", "catalog_local", command],
            env={**inherited, **ports, **own, **variables},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )

    def sandbox(self, path: str) -> list[dict[str, Any]]:
        """Read JSON Lines of the sandbox's own record."""
        answer = httpx.get(f"http://{HOST}:{self.ports['SANDBOX_PORT']}{path}", timeout=60, trust_env=False)
        return [json.loads(line) for line in answer.text.splitlines()]

    def books(self, printed: str) -> dict[str, int]:
        """Return the total line of the books of the run that a ``make run`` has printed."""
        [run_id] = [line.split()[1] for line in printed.splitlines() if line.startswith("  Run ")]
        ports = Ports(*(self.ports[name] for name in NAMES))
        done = subprocess.run(
            [sys.executable, "-m", "catalog_sync", "books", run_id, "--json"],
            env=airflow_environment(State(self.folder), ports, os.environ),
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout)["total"])

    def uploads(self) -> int:
        """How many upload requests Amazon has seen."""
        return sum(request["operation"] == "upload" for request in self.sandbox("/sandbox/requests"))

    def leaders(self) -> list[psutil.Process]:
        """The processes that the launcher has started, with their children."""
        files = self.folder.glob("processes/*.json")
        found = [psutil.Process(json.loads(file.read_text())["pid"]) for file in files]
        return [one for process in found for one in (process, *process.children(recursive=True))]


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind((HOST, 0))
    numbers = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return numbers


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine, on which everything is stopped at the end whatever happened."""
    made = Machine(tmp_path_factory.mktemp("local") / "state", dict(zip(NAMES, free_ports(3), strict=True)))
    yield made
    made.type("stop")


@pytest.fixture(scope="module")
def first(machine: Machine) -> subprocess.CompletedProcess[str]:
    """The first ``make run``."""
    return machine.type("run")


def test_a_first_run_sends_the_sample_and_prints_its_books(
    machine: Machine, first: subprocess.CompletedProcess[str]
) -> None:
    """It succeeds, the printed books balance, and Amazon has exactly the rows that they call acknowledged."""
    assert first.returncode == 0, first.stdout + first.stderr
    assert "complete: run" in first.stdout
    books = machine.books(first.stdout)
    assert books["read"] >= 30_000
    assert books["planned"] == books["sent"] == books["acknowledged"] + books["refused"]
    assert len(machine.sandbox("/sandbox/catalog")) == books["acknowledged"]
    assert machine.uploads() >= 4
    assert f"http://{HOST}:{machine.ports['PORT']}" in first.stdout


def test_a_second_program_computes_the_same_books(
    machine: Machine, first: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sources, the lake and Amazon's own record, by a program that shares no code with the sync."""
    found = re.search(r"complete: run (\S+),", first.stdout)
    assert found, first.stdout
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DEFAULT_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DEFAULT_SECRET)
    sample = machine.folder / "sample"
    arguments = ["--lake", "s3://acme-catalog/jwo", "--endpoint", f"http://{HOST}:{machine.ports['AWS_PORT']}"]
    arguments += ["--sandbox", f"http://{HOST}:{machine.ports['SANDBOX_PORT']}", "--run", found[1]]
    arguments += ["--source", f"merch={sample / 'merch_items.csv'},store,sku"]
    arguments += ["--source", f"erp={sample / 'erp.sqlite'},store_no,item_no,items"]
    assert independent_books.main(arguments) == 0


def test_the_run_is_noted_in_airflow(machine: Machine, first: subprocess.CompletedProcess[str]) -> None:
    """The UI answers with the printed login, and the run's note holds the books."""
    [password] = [line.split()[-1] for line in first.stdout.splitlines() if line.startswith("Airflow ")]
    with httpx.Client(base_url=f"http://{HOST}:{machine.ports['PORT']}", timeout=30, trust_env=False) as http:
        token = http.post("/auth/token", json={"username": "admin", "password": password}).json()["access_token"]
        answer = http.get(
            "/api/v2/dags/nightly_catalog_sync/dagRuns", headers={"Authorization": f"Bearer {token}"}
        ).json()
    assert [run["state"] for run in answer["dag_runs"]] == ["success"]
    assert answer["dag_runs"][0]["note"].startswith("**complete**")


def test_everything_listens_on_the_loopback_interface_only(
    machine: Machine, first: subprocess.CompletedProcess[str]
) -> None:
    """No process of the deployment can be reached from another machine."""
    listening = {
        connection.laddr.ip
        for process in machine.leaders()
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {HOST}


def test_secrets_are_the_owners_alone(machine: Machine, first: subprocess.CompletedProcess[str]) -> None:
    """Nobody else can read the secrets, and none of them stands on a command line, which everybody can."""
    files = list((machine.folder / "secrets").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    secrets = json.loads((machine.folder / "secrets" / "secrets.json").read_text()).values()
    lines = [argument for process in machine.leaders() for argument in process.cmdline()]
    assert lines
    assert [line for line in lines if any(secret in line for secret in secrets)] == []


def test_a_second_run_sends_nothing(machine: Machine, first: subprocess.CompletedProcess[str]) -> None:
    """Everything that runs is left alone, and since nothing has changed not a single upload is made."""
    before, sent = {process.pid for process in machine.leaders()}, machine.uploads()
    second = machine.type("run")
    assert second.returncode == 0, second.stdout + second.stderr
    assert machine.uploads() == sent
    assert machine.books(second.stdout)["unchanged"] == machine.books(first.stdout)["acknowledged"]
    assert {file["pid"] for file in _known(machine)} <= before


def test_a_taken_port_is_named(machine: Machine, first: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    """Another deployment on the same ports is told which port, what for, and which variable moves it."""
    other = Machine(tmp_path / "other", machine.ports)
    answer = other.type("run")
    assert answer.returncode == 2
    for name in ("SANDBOX_PORT", "AWS_PORT"):
        assert f"port {machine.ports[name]}" in answer.stdout
        assert f"make run {name}=" in answer.stdout


def test_stop_leaves_nothing_behind(machine: Machine, first: subprocess.CompletedProcess[str]) -> None:
    """Every process and every child of one is gone, and the ports are free."""
    running = machine.leaders()
    assert len(running) > 5
    assert machine.type("status").returncode == 0
    assert machine.type("stop").returncode == 0
    assert [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    for port in machine.ports.values():
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((HOST, port))
    assert machine.type("status").returncode == 1


def _known(machine: Machine) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in machine.folder.glob("processes/*.json")]
