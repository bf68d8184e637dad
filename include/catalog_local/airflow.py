"""Airflow's four processes, started, found healthy, and made ready for the DAGs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from catalog_local.errors import LocalError
from catalog_local.processes import Processes
from catalog_local.rest import AirflowRest

#: Process name → arguments of ``airflow``. The API server reads the logs from the disk, so nobody needs to serve them.
PROCESSES = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: What ``/monitor/health`` calls the parts that tell when they last gave a sign of life.
_HEARTBEATS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
#: Healthy after 17 s when measured, on two idle cores; a busy machine takes longer.
START_PATIENCE = 240.0


def migrate(environment: Mapping[str, str]) -> None:
    """Bring the metadata database up to date.

    :raises LocalError: it failed; with the end of what it printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).splitlines()[-15:])
        raise LocalError(f"airflow db migrate failed. It printed:\n{last}")


def start(
    processes: Processes, environment: Mapping[str, str], fingerprint: str, names: Iterable[str] = tuple(PROCESSES)
) -> None:
    """Start the four processes, or those named, all at once."""
    for name in names:
        processes.start(name, [sys.executable, "-m", "airflow", *PROCESSES[name]], environment, fingerprint)


def wait_healthy(processes: Processes, rest: AirflowRest, since: datetime, pause: Callable[[float], None]) -> None:
    """Wait until every process has given a sign of life since it was started.

    :param since: when they were started: after a restart the database still holds signs of the processes before.
    :raises LocalError: a process died, or stayed silent; names it, with the end of its log.
    """
    processes.wait("api-server", lambda: bool(rest.health()), START_PATIENCE, pause)
    for name, part in _HEARTBEATS.items():
        processes.wait(name, lambda part=part: _alive(rest.health(), part, since), START_PATIENCE, pause)  # type: ignore[misc]


def _alive(health: dict[str, dict[str, str | None]], part: str, since: datetime) -> bool:
    found = health.get(part, {})
    last = found.get(f"latest_{part}_heartbeat")
    return found.get("status") == "healthy" and last is not None and _time(last) >= since


def wait_for_dags(
    processes: Processes, rest: AirflowRest, dag_ids: list[str], since: datetime, pause: Callable[[float], None]
) -> None:
    """Wait until Airflow has read the DAG files as they are now.

    :raises LocalError: a DAG file cannot be imported.
    """

    def read() -> bool:
        for file, trace in rest.import_errors().items():
            raise LocalError(f"{file} cannot be imported. Mend it and run again:\n{trace.strip()}")
        found = [rest.dag(dag_id) for dag_id in dag_ids]
        return all(dag and dag["last_parsed_time"] and _time(dag["last_parsed_time"]) >= since for dag in found)

    processes.wait("dag-processor", read, START_PATIENCE, pause)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
