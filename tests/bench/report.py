"""The benchmark's table on the terminal, and its JSON."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench.results import Found


def as_json(found: Found) -> str:
    """Return the whole as JSON: ``cases``, and beside them ``targets`` and the ``machine``."""
    whole = {
        "cases": [line.as_json() for line in found.lines],
        "targets": [target.as_json() for target in found.targets],
        "machine": {"system": platform.platform(), "python": platform.python_version(), "cores": _cores()},
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def show(found: Found, console: Console) -> None:
    """Print the lines, then the targets."""
    table = Table(title="Medians; ratio = our rows/s ÷ theirs; CPU of the whole process, imports included")
    table.add_column("case")
    table.add_column("contender")
    for column in ("rows", "rows/s", "CPU s", "peak MiB", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("note")
    for line in found.lines:
        table.add_row(
            line.case,
            line.opponent,
            f"{line.rows:,}" if line.rows else "",
            _number(line.rows_per_s, 0),
            _number(line.cpu_s, 2),
            _number(line.peak_mib, 0),
            _number(line.ratio, 2),
            line.note,
        )
    console.print(table)
    aims = Table(title="Targets")
    aims.add_column("case")
    aims.add_column("what")
    for column in ("found", "target"):
        aims.add_column(column, justify="right")
    aims.add_column("")
    for target in found.targets:
        limit = f"{'≤' if target.at_most else '≥'} {target.limit:g}"
        aims.add_row(target.case, target.what, f"{target.found:.2f}", limit, "met" if target.met else "[red]missed[/]")
    console.print(aims)


def write(found: Found, file: Path) -> None:
    """Write the JSON."""
    file.write_text(as_json(found), encoding="utf-8")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))
