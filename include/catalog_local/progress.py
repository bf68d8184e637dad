"""Following a run on the terminal: tasks by state, live where there is a terminal and as lines where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

#: Airflow's states that a task leaves no more.
ENDED = ("success", "skipped", "failed", "upstream_failed", "removed")
_COLORS = {"success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan", "deferred": "magenta"}

#: Task id → how many of its instances are in each state.
States = dict[str, Counter[str]]


def by_state(instances: Iterable[dict[str, Any]]) -> States:
    """Return how many instances of each task are in which state, in the order in which the tasks stand in the job."""
    states: States = {}
    for instance in instances:
        states.setdefault(instance["task_id"], Counter())[instance["state"] or "waiting"] += 1
    order = (
        "extract", "shards", "prepare", "plan", "upload", "collect_results", "settle", "start_follow_up", "account",
    )  # fmt: skip
    return {task: states[task] for task in sorted(states, key=lambda one: (*order, one).index(one))}


def describe(counts: Counter[str]) -> str:
    """Return the states of one task's instances as text, such as ``3 of 4 done, 1 running``."""
    total = sum(counts.values())
    if total == 1:
        return next(iter(counts))
    done = sum(counts[state] for state in ENDED)
    others = [f"{number} {state}" for state, number in counts.items() if state != "success"]
    return ", ".join([f"{done} of {total} done", *others])


def table_of(states: States, state: str) -> Table:
    """Return the run as a table."""
    table = Table(title=f"run: {state}", title_justify="left", show_header=False, box=None)
    for task, counts in states.items():
        worst = next((one for one in ("failed", "upstream_failed", "running", "deferred") if counts[one]), "")
        color = _COLORS.get(worst or ("success" if counts["success"] else ""), "dim")
        table.add_row(f"  {task}", f"[{color}]{describe(counts)}[/]")
    return table


def follow(
    look: Callable[[], tuple[str, list[dict[str, Any]]]], console: Console, pause: Callable[[float], None]
) -> str:
    """Show the run until it has ended, and return its end: ``success`` or ``failed``.

    :param look: returns the run's state and its task instances now.
    """
    told: States = {}
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            state, instances = look()
            states = by_state(instances)
            if console.is_terminal:
                live.update(table_of(states, state), refresh=True)
            else:
                for task, counts in states.items():
                    if counts != told.get(task) and set(counts) != {"waiting"}:
                        console.print(f"  {task:<18} {describe(counts)}", highlight=False)
                told = states
            if state in ("success", "failed"):
                return state
            pause(1.0)
