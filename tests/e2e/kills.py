"""One process killed at one moment of one night, and what became of the night."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from time import monotonic
from typing import Any

import httpx
import psutil
from tests.e2e.independent_record import lines
from tests.e2e.kill_stack import BATCHES, KillStack, until

PROCESSES = ("scheduler", "dag-processor", "worker", "triggerer", "api-server", "sandbox")
#: The k-th upload is in the sandbox's record; a task runs; results are awaited and k ingestions have ended.
UPLOADS = tuple(f"upload {number}" for number in range(1, BATCHES))
RUNNING = tuple(f"running {task}" for task in ("extract", "prepare", "plan", "upload", "settle", "account"))
WAITING = tuple(f"waiting {number}" for number in range(BATCHES - 1))
MOMENTS = {
    "scheduler": (*UPLOADS, *RUNNING, *WAITING),
    "dag-processor": (*UPLOADS, *RUNNING, *WAITING),
    "worker": RUNNING,
    "triggerer": WAITING,
    "api-server": (*UPLOADS, *RUNNING, *WAITING),
    "sandbox": (*UPLOADS, *RUNNING[1:5], *WAITING),
}
#: How the process dies: a container or unit loses all of it, the OOM killer takes one process and leaves the others.
WAYS = {
    "scheduler": ("with its tasks", "alone"),
    "worker": ("the task", "the task and its supervisor"),
    "sandbox": ("for 1 s", "for 4 s"),
}


@dataclass(frozen=True)
class Kill:
    """What is killed, when, and how."""

    process: str
    moment: str
    way: str = "with its children"

    @classmethod
    def drawn(cls, process: str, number: int, seed: int) -> Iterator[Kill]:
        """Yield so many kills of a process, the same for the same seed."""
        drawing = random.Random(f"{seed} {process}")
        for _ in range(number):
            way = drawing.choice(WAYS.get(process, (cls.way,)))
            yield cls(process, drawing.choice(MOMENTS[process]), way)


@dataclass
class Outcome:
    """What became of a night with a kill in it."""

    process: str
    moment: str
    way: str
    struck: bool = False
    #: ``itself``, ``the next night``, or ``no``.
    recovered: str = "no"
    states: list[str] = field(default_factory=list)
    books_balanced: bool = False
    catalog_right: bool = False
    requests_right: bool = False
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return (
            self.struck
            and self.recovered != "no"
            and self.books_balanced
            and self.catalog_right
            and self.requests_right
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def play(stack: KillStack, kill: Kill) -> Outcome:
    """Let a night begin, kill at the moment, start what was killed again, and judge what the night left."""
    made, began = Outcome(kill.process, kill.moment, kill.way), monotonic()
    stack.change_source()
    before = lines(stack.sandbox_url, "/sandbox/catalog")
    started = datetime.now(UTC)
    run_id = stack.trigger()
    made.struck = _strike(stack, kill, run_id, started.timestamp())
    made.states.append(stack.end(run_id))
    judge(stack, run_id, before, made)
    if made.states == ["success"] and made.books_balanced and made.catalog_right:
        made.recovered = "itself"
    else:
        # A killed task may have left rows in doubt, in this night or in the one before.
        stack.wait_out_doubt()
        before = lines(stack.sandbox_url, "/sandbox/catalog")
        run_id = stack.trigger()
        made.states.append(stack.end(run_id))
        judge(stack, run_id, before, made)
        if made.states[-1] == "success" and made.books_balanced and made.catalog_right:
            made.recovered = "the next night"
    stack.all_healthy(started)
    made.seconds = round(monotonic() - began, 1)
    return made


def judge(stack: KillStack, run_id: str, before: list[dict[str, Any]], made: Outcome) -> None:
    """Hold a night that has ended against the sandbox's own record."""
    books, rows = stack.wrong_books(run_id, before), stack.wrong_rows()
    requests = stack.wrong_requests(run_id)
    made.books_balanced, made.catalog_right = not books, not rows
    made.requests_right = not requests and (made.requests_right or len(made.states) == 1)
    made.problems += [*books[:5], *rows[:5], *requests[:5]]
    made.problems += [
        f"{task['task_id']} {task['map_index']}: {task['state']}, try {task['try_number']}"
        for task in stack.tasks(run_id)
        if made.states[-1] != "success" and task["state"] not in ("success", "skipped")
    ]


def _strike(stack: KillStack, kill: Kill, run_id: str, since: float) -> bool:
    """Wait for the moment and kill; ``False`` when the night ended without it."""
    struck, looks = False, count(1)

    def done() -> bool:
        nonlocal struck
        struck = _is_now(stack, kill.moment, run_id, since) and _kill(stack, kill)
        # Each look costs the API server CPU time that the night needs too.
        return struck or (next(looks) % 20 == 0 and stack.state(run_id) in ("success", "failed"))

    until(done, f"{kill.moment} of {run_id}", step=0.15)
    return struck


def _is_now(stack: KillStack, moment: str, run_id: str, since: float) -> bool:
    kind, wanted = moment.split()
    if kind == "upload":
        seen = stack.seen("/sandbox/requests") or []
        return sum(one["operation"] == "upload" and one["time"] >= since for one in seen) >= int(wanted)
    if kind == "running":
        return any(task["task_id"] == wanted and task["state"] == "running" for task in stack.tasks(run_id))
    # From the first deferral on: between two rounds the task is running.
    collecting = [task for task in stack.tasks(run_id) if task["task_id"] == "collect_results"]
    if not collecting or collecting[0]["state"] not in ("deferred", "running"):
        return False
    ended = [one for one in stack.seen("/sandbox/ingestions") or [] if (one["ended_at"] or 0) >= since]
    return len(ended) >= int(wanted)


def _kill(stack: KillStack, kill: Kill) -> bool:
    """Kill, and start again what a supervisor would start again; ``False`` when there was nothing to kill."""
    if kill.process == "sandbox":
        down = kill.way.split()[1]
        httpx.post(f"{stack.sandbox_url}/sandbox/restart", params={"down": down}, trust_env=False).raise_for_status()
        return True
    if kill.process == "worker":
        return _kill_task(stack, kill)
    leader = psutil.Process(stack.deployment.processes.pid(kill.process))
    children = leader.children(recursive=True)
    leader.kill()
    if kill.way == "alone":
        stack.orphans += children
        children = []
    for child in children:
        _end(child)
    psutil.wait_procs([leader, *children], timeout=10)
    stack.restart(kill.process)
    return True


def _kill_task(stack: KillStack, kill: Kill) -> bool:
    """Kill the process of a task; under LocalExecutor it is a child of one of the scheduler's children."""
    for supervisor in psutil.Process(stack.deployment.processes.pid("scheduler")).children():
        tasks = supervisor.children(recursive=True)
        if tasks:
            if kill.way != "the task":
                _end(supervisor)
            for task in tasks:
                _end(task)
            return True
    return False


def _end(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
