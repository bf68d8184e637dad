"""``make bench``: measure, print the table, write the JSON. Exits 1 when a count is wrong or a case fails.

A target that is missed does not fail the benchmark: how fast this machine is says nothing about right or wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from tests.bench import airflows, limiter, loads, nights, report
from tests.bench.bench import Bench, say
from tests.bench.measure import Broken
from tests.bench.names import STORES
from tests.bench.results import Found
from tests.bench.services import sandbox

#: Case → what it is, and how it is run.
CASES: dict[str, tuple[str, Callable[[Bench], Found]]] = {
    "a": ("first load: extract, merge, contract, diff, payloads ready", loads.first_load),
    "b": ("a night with 2 % changed", nights.changed_night),
    "c": ("a night with nothing changed", nights.quiet_night),
    "d": ("settle the outcomes of the first load", nights.settling),
    "f": ("the fan-out: mapped uploads against empty mapped tasks in Airflow", airflows.fan_out),
    "g": ("the limiter, with 4 and 8 processes", limiter.limiter),
    "h": ("whole DAG: a quiet night on a warm Airflow", airflows.whole_dag),
    "e": ("first load of ten times the rows, through shards", lambda bench: loads.sharded_load(bench, 10 * bench.rows)),
}
#: Columns of the table where there is no terminal to fit.
_WIDTH = 150
#: Too long for every day; `--case e` or `--size 10m` asks for it.
LONG = ("e",)
#: Size → rows of our own cases, and of those with opponents.
SIZES = {"small": (50_000, 50_000), "default": (1_000_000, 100_000), "1m": (1_000_000, 1_000_000)}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the project against others.")
    told = "; ".join(f"{name}: {what}" for name, (what, _) in CASES.items()).replace("%", "%%")
    made.add_argument("--case", default="", metavar="A,B", help=f"only these; {told}")
    made.add_argument(
        "--size", choices=[*SIZES, "10m"], default="default", help="rows; 1m: the opponents' too; 10m: case e"
    )
    made.add_argument("--rows", type=int, help="rows of all cases, a multiple of 500 (for a try)")
    made.add_argument("--runs", type=int, default=3, help="alternating runs of each contender (default 3)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return made


def chosen(case: str, size: str) -> list[str]:
    """Return the names of the cases that are asked for.

    :raises SystemExit: there is no such case.
    """
    names = [name for name in case.split(",") if name]
    if unknown := sorted(set(names) - set(CASES)):
        raise SystemExit(f"--case {unknown[0]}: there are {', '.join(CASES)}")
    if not names:
        names = list(LONG) if size == "10m" else [name for name in CASES if name not in LONG]
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    asked = parser().parse_args(arguments)
    names = chosen(asked.case, asked.size)
    rows, opponent_rows = (asked.rows, asked.rows) if asked.rows else SIZES.get(asked.size, SIZES["default"])
    folder = Path(tempfile.mkdtemp(prefix="catalog-bench-"))
    found = Found([], [])
    try:
        with sandbox(folder, STORES) as services:
            bench = Bench(folder, services, rows, opponent_rows, asked.runs)
            for name in names:
                say(f"case {name}: {CASES[name][0]}")
                found += CASES[name][1](bench)
    except Broken as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if asked.json:
            report.write(found, asked.json)
        if found.lines:
            console = Console()
            report.show(found, console if console.is_terminal else Console(width=_WIDTH))
    return 0


if __name__ == "__main__":
    sys.exit(main())
