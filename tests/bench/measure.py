"""One process, measured: the time its work took, the CPU seconds of it and its children, the most memory of any.

The kernel counts (``wait4``): CPU seconds are those of the process and of all children that it waited for, from their
start on, so imports are in them. The peak is the largest resident set of any one of these processes. The time is
the process's own (see ``child``), without its start.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.child import MARK

ROOT = Path(__file__).resolve().parents[2]


class Broken(Exception):
    """A measured process failed, or a count is not what it must be."""


@dataclass(frozen=True)
class Cost:
    """What one process cost. ``counts`` is what it said it did."""

    seconds: float
    cpu_s: float
    peak_mib: float
    counts: dict[str, Any]


def measure(
    python: Path | str,
    module: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    result: bool = True,
    talks: bool = False,
) -> Cost:
    """Run ``python -m module arguments`` in a fresh process and return what it cost.

    :param result: whether it tells a result (see ``child``).
    :param talks: whether its stderr is ours, to show how far it is.
    :raises Broken: it failed; with the end of what it printed.
    """
    # A child that a large parent makes begins with the parent's peak, so this process must itself stay small.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            cwd=ROOT,
            env=dict(environ),
            stdout=output,
            stderr=None if talks else errors,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
        if process.returncode:
            last = "\n".join([*lines[-3:], *errors.read().decode(errors="replace").splitlines()[-25:]])
            raise Broken(f"{module} failed ({' '.join(arguments)[:200]}):\n{last}")
    if not result:
        return Cost(0.0, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, {})
    told = next((line for line in reversed(lines) if line.startswith(MARK)), None)
    if told is None:
        raise Broken(f"{module} printed no result")
    counts = json.loads(told.removeprefix(MARK))
    return Cost(
        seconds=float(counts.pop("seconds")),
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        counts=counts,
    )
