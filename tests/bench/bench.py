"""What every case needs: the folder, the services, how large, how often, and alternating runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.bench.measure import ROOT, Broken, Cost, measure
from tests.bench.names import PLANTED
from tests.bench.place import Place
from tests.bench.results import middle
from tests.bench.services import Services, environment


@dataclass
class Bench:
    """One benchmark: ``rows`` for our own cases, ``opponent_rows`` for the opponents."""

    folder: Path
    services: Services
    rows: int
    opponent_rows: int
    runs: int
    _fresh: int = 0

    def data(self, rows: int) -> Path:
        """Return the folder with the data of that size, made when it is not there."""
        folder = self.folder / f"data-{rows}"
        if not (folder / PLANTED).exists():
            say(f"making {rows:,} rows, two days")
            self.ours("tests.bench.data", str(folder), str(rows), result=False)
        return folder

    def planted(self, rows: int) -> dict[str, Any]:
        """Return what the data of that size has planted."""
        return dict(json.loads((self.data(rows) / PLANTED).read_text(encoding="utf-8")))

    def place(self, lake: Path, source: Path) -> Place:
        """Return a place of ours."""
        return Place(str(lake), str(source), self.services.api_url, self.services.aws_url)

    def fresh(self, name: str) -> Path:
        """Return a path below the folder that nothing stands at."""
        self._fresh += 1
        return self.folder / f"{name}-{self._fresh}"

    def ours(self, module: str, *arguments: str, result: bool = True, talks: bool = False) -> Cost:
        """Run a module with our own Python."""
        return measure(sys.executable, module, arguments, environment(), result, talks)

    def theirs(self, module: str, *arguments: str) -> Cost:
        """Run an opponent with its own Python."""
        return measure(self.opponents_python, module, arguments, {**os.environ, "PYTHONPATH": str(ROOT)})

    @cached_property
    def opponents_python(self) -> Path:
        """The opponents' Python.

        :raises Broken: it is not there.
        """
        python = ROOT / ".venv-bench" / "bin" / "python"
        if not python.exists():
            raise Broken(f"{python} is not there: run `make bench`, which makes it")
        return python

    def restore_ledger(self, file: Path | None = None) -> None:
        """Make the ledger what the file says, or empty."""
        arguments = [self.services.aws_url, *([str(file)] if file else [])]
        self.ours("tests.bench.deployment", *arguments, result=False)

    def alternate(self, case: str, contenders: dict[str, Callable[[], Cost]]) -> dict[str, Cost]:
        """Run every contender once, then every one again, and so on; return the median of each."""
        costs: dict[str, list[Cost]] = {name: [] for name in contenders}
        for turn in range(1, self.runs + 1):
            for name, run in contenders.items():
                cost = run()
                costs[name].append(cost)
                say(f"{case} {turn}/{self.runs} {name}: {cost.seconds:.2f} s, {cost.cpu_s:.2f} CPU s")
        return {name: middle(found) for name, found in costs.items()}


def expect(what: str, found: object, wanted: object) -> None:
    """Hold a count to what it must be: a fast wrong answer is no result.

    :raises Broken: it is another.
    """
    if found != wanted:
        raise Broken(f"{what}: {found!r}, but it must be {wanted!r}")


def remove(*paths: Path) -> None:
    """Remove folders of earlier runs, to bound the disk's use."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()
