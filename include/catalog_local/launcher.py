"""``make run``, ``make stop``, ``make clean``: the whole project on one machine, on the loopback interface."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import httpx
from rich.console import Console

from catalog_local import airflow, sandbox
from catalog_local.environment import CHECKOUT, airflow_environment, fingerprint
from catalog_local.errors import LocalError
from catalog_local.ports import HOST, Ports, require_free
from catalog_local.processes import Processes
from catalog_local.progress import follow
from catalog_local.rest import AirflowRest
from catalog_local.state import USER, State
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.settings import DEFAULT_CONFIG, Settings, load

NIGHTLY = "nightly_catalog_sync"
DAGS = [NIGHTLY, "backfill_catalog", "collect_upload_results", "release_held_changes"]
#: Requests to Amazon in flight at once. Amazon allows 10 a second; the tickets keep to that, the pool is only a knob.
POOL_SLOTS = 9


@dataclass
class Deployment:
    """One local deployment.

    :param state: its folder.
    :param environ: the variables that say what is wanted: ``PORT``, ``SANDBOX_PORT``, ``AWS_PORT``, ``SANDBOX``
        (``off`` uses the connections in the environment), ``CATALOG_CONFIG``; and what the processes inherit.
    """

    state: State
    environ: Mapping[str, str]
    console: Console
    pause: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, environ: Mapping[str, str], console: Console) -> Deployment:
        """Return the deployment of this checkout; ``LOCAL_STATE`` puts its folder elsewhere than ``.local``."""
        return cls(State(Path(environ.get("LOCAL_STATE") or CHECKOUT / ".local").resolve()), environ, console)

    @cached_property
    def processes(self) -> Processes:
        """Its processes."""
        return Processes(self.state)

    @cached_property
    def ports(self) -> Ports:
        """Its ports."""
        return Ports.of(self.environ)

    @property
    def with_sandbox(self) -> bool:
        """Whether Amazon is simulated."""
        return self.environ.get("SANDBOX", "").lower() not in ("off", "0", "no", "false")

    @cached_property
    def config_path(self) -> Path:
        """The catalog's configuration file."""
        return Path(self.environ.get("CATALOG_CONFIG") or DEFAULT_CONFIG).expanduser().resolve()

    @cached_property
    def config(self) -> Settings:
        """The catalog's configuration."""
        return load(self.config_path)

    @cached_property
    def environment(self) -> dict[str, str]:
        """What every process is started with."""
        return airflow_environment(
            self.state, self.ports, self.environ, config=self.config_path, sandbox=self.with_sandbox
        )

    @cached_property
    def rest(self) -> AirflowRest:
        """Airflow's REST API."""
        http = httpx.Client(base_url=f"http://{HOST}:{self.ports.ui}", timeout=30, trust_env=False)
        return AirflowRest(http, self.state.secrets().password, self.pause)

    def start(self) -> None:
        """Bring everything up, and leave alone what already runs as it should.

        :raises LocalError: a port is taken, or something does not start; the text says what to do.
        :raises CatalogSyncError: the configuration or the AWS side is wrong.
        """
        _ = self.config, self.ports  # a mistake in these is told before anything is made
        self.state.create()
        if self.with_sandbox:
            self._start_sandbox()
        self._start_airflow()

    def _start_sandbox(self) -> None:
        text = sandbox.write_config(self.state, self.config, self.environment)
        wanted = f"{self.ports.sandbox} {self.ports.aws} {text}"
        if not self.processes.runs(sandbox.NAME, wanted):
            with self._step("Sandbox: Amazon's API and the AWS services"):
                self.processes.stop([sandbox.NAME])
                require_free({"SANDBOX_PORT": self.ports.sandbox, "AWS_PORT": self.ports.aws})
                sandbox.start(self.processes, self.state, self.ports, self.environment, wanted)
                sandbox.wait_healthy(self.processes, self.ports, self.pause)
        aws = EnvironmentConnections(self.environment).aws(self.config.aws.conn_id, self.config.aws.region)
        with self._step("Bucket, table, queue and role from the CloudFormation template"):
            sandbox.deploy_stack(self.config, self.ports, aws)
        if self.config_path == DEFAULT_CONFIG:
            with self._step("Sample catalog"):
                sandbox.write_sample_data(self.state.sample, self.config, aws)

    def _start_airflow(self) -> None:
        wanted = fingerprint(self.environment)
        if all(self.processes.runs(name, wanted) for name in airflow.PROCESSES):
            self.console.print("  Airflow runs already")
            return
        with self._step("Airflow: scheduler, API server, DAG processor, triggerer"):
            self.processes.stop(airflow.PROCESSES)
            require_free({"PORT": self.ports.ui})
            airflow.migrate(self.environment)
            since = datetime.now(UTC)
            airflow.start(self.processes, self.environment, wanted)
            airflow.wait_healthy(self.processes, self.rest, since, self.pause)
        with self._step("DAGs and pool"):
            self.rest.pool(self.config.api.pool, POOL_SLOTS, "Requests to Amazon's Catalog API in flight")
            airflow.wait_for_dags(self.processes, self.rest, DAGS, since, self.pause)
            for dag_id in DAGS:
                self.rest.unpause(dag_id)

    def sync(self) -> bool:
        """Run the nightly sync, show its progress and its books, and tell whether it succeeded."""
        run_id = self.rest.trigger(NIGHTLY, {"reason": "make run"})
        self.console.print(f"  Run {run_id}", highlight=False)

        def look() -> tuple[str, list[dict[str, object]]]:
            self.processes.require([*airflow.PROCESSES, *([sandbox.NAME] if self.with_sandbox else [])])
            # In this order: what the tasks show is at least as new as the run's state.
            return self.rest.run_state(NIGHTLY, run_id), self.rest.task_instances(NIGHTLY, run_id)

        ended = follow(look, self.console, self.pause)
        subprocess.run([sys.executable, "-m", "catalog_sync", "books", run_id], env=self.environment, check=False)
        if ended != "success":
            url = f"http://{HOST}:{self.ports.ui}/dags/{NIGHTLY}/runs/{run_id}"
            self.console.print(f"[red]The run failed.[/] Its tasks and logs: {url}", highlight=False)
        return ended == "success"

    def announce(self) -> None:
        """Print the addresses and the login."""
        print_ = self.console.print
        print_(f"\nAirflow  http://{HOST}:{self.ports.ui}   user {USER}, password {self.state.secrets().password}")
        if self.with_sandbox:
            print_(f"Sandbox  http://{HOST}:{self.ports.sandbox}/sandbox/")
        print_("make stop ends it.", highlight=False)

    def stop(self) -> None:
        """Stop every process of the deployment."""
        stopped = self.processes.stop()
        self.console.print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing runs", highlight=False)

    def status(self) -> bool:
        """Print which processes live, and tell whether all that were started do."""
        names = self.processes.names()
        for name in names:
            pid = self.processes.pid(name)
            self.console.print(f"{name:<14} {f'process {pid}' if pid else '[red]dead[/]'}", highlight=False)
        if not names:
            self.console.print("Nothing runs")
        return bool(names) and all(self.processes.runs(name) for name in names)

    def clean(self) -> None:
        """Stop everything and remove the folder."""
        self.stop()
        shutil.rmtree(self.state.folder, ignore_errors=True)

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        began = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            yield
        self.console.print(f"  {text} ({time.monotonic() - began:.0f} s)", highlight=False)


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Hold the deployment's lock: two launchers at once would start everything twice.

    :raises LocalError: another launcher holds it.
    """
    state.folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError("another make run, stop or clean is at work on this folder; wait for it") from None
        yield
    finally:
        os.close(descriptor)
