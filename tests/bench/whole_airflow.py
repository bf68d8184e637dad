"""The process of the cases f and h: a whole Airflow beside a sandbox, as ``make run`` starts them, and what it did.

It loads the catalog for the first time (the uploads of that are case f), runs as many empty mapped tasks, and then
runs quiet nights (case h). CPU seconds of tasks come from the kernel: those of all descendants of the scheduler,
ended ones included, between two instants.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from tests.bench.child import tell
from tests.bench.deployment import MAPPING, SOURCE
from tests.bench.measure import Broken
from tests.bench.names import STORES
from tests.bench.services import free_ports

from catalog_local.airflow import START_PATIENCE
from catalog_local.environment import CHECKOUT
from catalog_local.launcher import NIGHTLY, Deployment
from catalog_local.sandbox import NAME as SANDBOX
from catalog_local.state import State

EMPTY, DRAIN = "bench_empty", "collect_upload_results"
_LIMIT = 1800.0
_SAMPLE = 0.1


class BenchDeployment(Deployment):
    """The local deployment, with the benchmark's own DAG beside the project's."""

    @cached_property
    def environment(self) -> dict[str, str]:
        """As ``make run``, but for the folder of the DAGs."""
        folder = self.state.folder / "dags"
        shutil.copytree(CHECKOUT / "dags", folder, dirs_exist_ok=True)
        shutil.copytree(CHECKOUT / "tests" / "bench" / "dags", folder, dirs_exist_ok=True)
        made = super().environment
        return {**made, "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}


@dataclass
class Meter:
    """Samples the CPU seconds that the scheduler's descendants have used so far."""

    scheduler: int
    samples: list[tuple[float, float]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Meter:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_SAMPLE):
            self.samples.append((time.time(), self._now()))

    def _now(self) -> float:
        parent = psutil.Process(self.scheduler)
        own = parent.cpu_times()
        # What has ended is in its parent's account; so the sum over all that live is the sum over all there were.
        total = float(own.children_user + own.children_system)
        for process in parent.children(recursive=True):
            try:
                total += sum(process.cpu_times()[:4])
            except psutil.Error:
                continue
        return total

    def between(self, first: float, last: float) -> float:
        """Return the CPU seconds used between two Unix times."""
        before = [used for at, used in self.samples if at <= first]
        until = [used for at, used in self.samples if at <= last]
        # A process that ends between two looks is missed for an instant, so the account may dip.
        return max(until) - max(before, default=0.0)


def config(folder: Path, source: Path) -> Path:
    """Write the deployment's configuration: the sample's, with 100 stores and one Parquet source."""
    sample = yaml.safe_load((CHECKOUT / "include" / "config" / "catalog.yaml").read_text(encoding="utf-8"))
    kept = {key: sample[key] for key in ("lake", "ledger", "results", "api", "schedule")}
    made = {
        **kept,
        "retailer": "bench",
        "stores": {"ids": list(STORES)},
        "sources": [{"name": SOURCE, "kind": "file", "path": str(source), "format": "parquet"}],
        "mapping": MAPPING,
    }
    file = folder / "catalog.yaml"
    file.write_text(yaml.safe_dump(made), encoding="utf-8")
    return file


def run_dag(deployment: Deployment, dag_id: str, conf: dict[str, Any]) -> tuple[float, list[dict[str, Any]]]:
    """Run the DAG to its end; return the seconds from the trigger to success, and the task instances.

    :raises Broken: it failed, or took too long.
    """
    began = time.time()
    run_id = deployment.rest.trigger(dag_id, conf)
    while time.time() - began < _LIMIT:
        state = deployment.rest.run_state(dag_id, run_id)
        if state == "success":
            return time.time() - began, deployment.rest.task_instances(dag_id, run_id)
        if state == "failed":
            tasks = deployment.rest.task_instances(dag_id, run_id)
            told = ", ".join(f"{task['task_id']}: {task['state']}" for task in tasks if task["state"] != "success")
            raise Broken(f"{dag_id} {run_id} failed: {told}")
        time.sleep(0.25)
    raise Broken(f"{dag_id} {run_id} did not end in {_LIMIT:.0f} s")


def uploads(deployment: Deployment) -> int:
    """Return how many upload requests the sandbox has seen."""
    import httpx

    answer = httpx.get(f"http://127.0.0.1:{deployment.ports.sandbox}/sandbox/requests", timeout=60, trust_env=False)
    return sum(json.loads(line)["operation"] == "upload" for line in answer.text.splitlines())


def moment(text: str | None) -> float:
    """Return a time of the REST API as Unix seconds; 0 for none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0


def per_task(meter: Meter, tasks: Sequence[dict[str, Any]], task_id: str) -> dict[str, Any]:
    """Return how many instances of the mapped task ran, how long in all, and the CPU seconds of each."""
    mine = [task for task in tasks if task["task_id"] == task_id]
    first = min(moment(task["queued_when"]) for task in mine)
    last = max(moment(task["end_date"]) for task in mine) + 2 * _SAMPLE
    return {"tasks": len(mine), "seconds": last - first, "cpu_each": meter.between(first, last) / len(mine)}


def split(tasks: Sequence[dict[str, Any]], began: float) -> list[dict[str, Any]]:
    """Return per task when it was queued, started and ended, in seconds after the trigger."""
    rows = sorted(tasks, key=lambda task: moment(task["end_date"]))
    return [
        {
            "task": task["task_id"],
            "state": task["state"],
            "queued": moment(task["queued_when"]) - began if task["queued_when"] else None,
            "started": moment(task["start_date"]) - began if task["start_date"] else None,
            "ended": moment(task["end_date"]) - began if task["end_date"] else None,
        }
        for task in rows
    ]


def whole(folder: Path, source: Path, nights: int) -> dict[str, Any]:
    """Do it all; see the module."""
    ports = dict(zip(("PORT", "SANDBOX_PORT", "AWS_PORT"), map(str, free_ports(3)), strict=True))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CATALOG"))}
    environ = {**inherited, **ports, "CATALOG_CONFIG": str(config(folder, source)), "SANDBOX": "on"}
    deployment = BenchDeployment(State(folder / "airflow"), environ, Console(file=sys.stderr))
    try:
        deployment.start()
        deployment.processes.wait("dag-processor", lambda: bool(deployment.rest.dag(EMPTY)), START_PATIENCE, time.sleep)
        deployment.rest.unpause(EMPTY)
        # It comes every ten minutes, and its CPU seconds would count as the uploads'.
        pause = [sys.executable, "-m", "airflow", "dags", "pause", DRAIN]
        subprocess.run(pause, env=deployment.environment, check=True, stdout=subprocess.DEVNULL)
        deployment.processes.require([SANDBOX])
        return _measured(deployment, nights)
    finally:
        deployment.stop()


def _measured(deployment: Deployment, nights: int) -> dict[str, Any]:
    scheduler = deployment.processes.pid("scheduler")
    assert scheduler is not None
    with Meter(scheduler) as meter:
        first_seconds, tasks = run_dag(deployment, NIGHTLY, {"reason": "first load"})
        loaded = per_task(meter, tasks, "upload")
        sys.stderr.write(f"  first load: {first_seconds:.1f} s; {loaded}\n")
        _, tasks = run_dag(deployment, EMPTY, {"tasks": loaded["tasks"]})
        empty = per_task(meter, tasks, "empty")
        sys.stderr.write(f"  empty: {empty}\n")
        sent = uploads(deployment)
        quiet = []
        for _ in range(nights):
            began = time.time()
            seconds, tasks = run_dag(deployment, NIGHTLY, {"reason": "quiet night"})
            quiet.append({"night": seconds, "split": split(tasks, began)})
            sys.stderr.write(f"  quiet night: {seconds:.1f} s\n")
    return {
        "first_load": first_seconds,
        "upload": loaded,
        "empty": empty,
        "sent": sent,
        "sent_in_quiet_nights": uploads(deployment) - sent,
        "quiet": quiet,
    }


if __name__ == "__main__":
    tell(lambda: whole(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
