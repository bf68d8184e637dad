"""What the benchmark found: a line per case and contender, and the targets that the project set itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.measure import Cost

OURS = "ours"


@dataclass(frozen=True)
class Line:
    """One contender in one case, each number the median of its runs; ``None`` where there is none.

    ``ratio``: our rows a second ÷ theirs. ``cpu_s``: of the whole process, imports included. ``rows`` is what the
    contender had to do; ``note`` what else is worth telling.
    """

    case: str
    opponent: str
    rows: int
    rows_per_s: float | None
    cpu_s: float | None
    peak_mib: float | None
    ratio: float | None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the line as it stands in the JSON file."""
        return {
            "case": self.case,
            "opponent": self.opponent,
            "rows_per_s": _round(self.rows_per_s, 1),
            "cpu_s": _round(self.cpu_s, 3),
            "peak_mib": _round(self.peak_mib, 1),
            "ratio": _round(self.ratio, 3),
        }


@dataclass(frozen=True)
class Target:
    """Something the project wants of itself: ``found`` against ``limit``, at most or at least."""

    case: str
    what: str
    found: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.found <= self.limit if self.at_most else self.found >= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return the target as it stands in the JSON file."""
        return {
            "case": self.case,
            "what": self.what,
            "found": _round(self.found, 3),
            "at_most" if self.at_most else "at_least": self.limit,
            "met": self.met,
        }


@dataclass(frozen=True)
class Found:
    """The lines and the targets of a case."""

    lines: list[Line]
    targets: list[Target]

    def __add__(self, other: Found) -> Found:
        return Found(self.lines + other.lines, self.targets + other.targets)


def middle(costs: list[Cost]) -> Cost:
    """Return the median of each number; the counts are those of the last run."""
    return Cost(
        seconds=median(cost.seconds for cost in costs),
        cpu_s=median(cost.cpu_s for cost in costs),
        peak_mib=median(cost.peak_mib for cost in costs),
        counts=costs[-1].counts,
    )


def lines(
    case: str, rows: int, costs: Mapping[str, Cost], sizes: Mapping[str, int] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Line]:  # fmt: skip
    """Return a line for each contender; ``costs`` by name, ours among them.

    :param rows: what each had to do; ``sizes`` says of whom it was another number, and rates are compared.
    """
    done = {name: (sizes or {}).get(name, rows) for name in costs}
    rates = {name: done[name] / cost.seconds for name, cost in costs.items()}
    return [
        Line(
            case,
            name,
            done[name],
            rates[name],
            cost.cpu_s,
            cost.peak_mib,
            rates[OURS] / rates[name],
            (notes or {}).get(name, ""),
        )
        for name, cost in costs.items()
    ]


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
