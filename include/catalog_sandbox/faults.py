"""Faults on order: a plan says how often each happens, or scripts the next ones; the seed makes them repeatable.

At each point where something may go wrong (a request, an ingestion, a notice, a link, a report, its fetch) at most one
fault is drawn. Scripted faults come before random ones. Refusals of items are not drawn but computed from seed, store
and SKU, so that the same item is refused each time it comes.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Point = Literal["request", "ingestion", "notice", "link", "report", "fetch"]

#: Every fault, by the point at which it strikes, with what it does.
FAULTS: dict[Point, dict[str, str]] = {
    "request": {
        "throttled": "429 although the limit is kept",
        "forbidden": "403 although the caller is allowlisted",
        "server_error_retry": "500 whose text asks to retry; nothing accepted",
        "server_error_final": "500 without that text; nothing accepted",
        "bad_gateway": "502; nothing accepted",
        "unavailable": "503; nothing accepted",
        "gateway_timeout": "504; nothing accepted",
        "bad_gateway_after": "502; the request was accepted",
        "unavailable_after": "503; the request was accepted",
        "gateway_timeout_after": "504; the request was accepted",
        "timeout_before": "no answer within `hold` seconds; nothing accepted",
        "timeout_after": "no answer within `hold` seconds; the request was accepted",
        "reset_before": "the connection is reset; nothing accepted",
        "reset_after": "the connection is reset; the request was accepted",
        "no_id": "201 whose body has no ingestionId; the request was accepted",
        "not_json": "201 whose body is not JSON; the request was accepted",
    },
    "ingestion": {
        "fatal": "ends FATAL, nothing applied",
        "fatal_half": "ends FATAL with the first half of its items applied",
        "cancelled": "ends CANCELLED, nothing applied",
        "stuck": "stays INPROGRESS for ever, nothing applied, no notice",
        "late": "is applied and ends only after `late_by` seconds of Amazon's time",
        "out_of_order": "is applied and ends `overtaken_by` seconds of Amazon's time late, so younger ones overtake it",
    },
    "notice": {
        "notice_lost": "never sent",
        "notice_late": "sent `notice_late_by` seconds of Amazon's time late",
        "notice_repeated": "sent twice at once and a third time late",
        "notice_reordered": "held back until the next notice has gone",
    },
    "link": {
        "link_expired": "the link handed out has expired already",
        "link_missing": "an empty link, although there is a report",
    },
    "report": {
        "report_truncated": "the report file ends in the middle",
        "report_fields_missing": "some items lack their status or their error fields",
        "report_unknown_fields": "fields and an item status that no document names",
        "report_unlisted": "some items are not listed although the summary counts them",
        "report_failures_only": "only the failures are listed",
    },
    "fetch": {
        "report_unavailable": "503 SlowDown instead of the report, this time",
        "report_error_page": "200 with an HTML error page instead of the report, this time",
    },
}

POINT_OF: dict[str, Point] = {name: point for point, names in FAULTS.items() for name in names}

#: Request faults that happen after the request was accepted.
AFTER = frozenset(name for name in FAULTS["request"] if name.endswith("_after") or name in ("no_id", "not_json"))


class Scripted(BaseModel):
    """One line of the script: after ``skip`` chances let pass, this fault strikes ``times`` times."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str
    #: ``upload``, ``archive``, ``status``; None strikes any. Report fetches have no operation.
    operation: Literal["upload", "archive", "status"] | None = None
    times: int = Field(default=1, ge=0)
    skip: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _known(self) -> Scripted:
        if self.fault not in POINT_OF:
            raise ValueError(f"unknown fault {self.fault!r}; there are: {', '.join(sorted(POINT_OF))}")
        return self


class FaultPlan(BaseModel):
    """Which faults strike. ``rates`` are probabilities per chance; those of one point add up to at most 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: dict[str, float] = Field(default_factory=dict)
    script: tuple[Scripted, ...] = ()
    #: The part of all (store, SKU) that is refused, always the same ones for a seed.
    refused: float = Field(default=0, ge=0, le=1)
    #: SKUs refused in every store.
    refuse_skus: tuple[str, ...] = ()
    #: SKUs that make a whole upload a 400, as a rule would that Amazon has and that no document names.
    poison_skus: tuple[str, ...] = ()
    #: SKUs on a planogram: their archive is refused (``archive_catalog_api``).
    planogram: tuple[str, ...] = ()
    #: Seconds of real time that a time-out holds the connection before it is dropped.
    hold: float = Field(default=90, ge=0)
    #: Seconds that a ``throttled`` answer asks to wait, in a ``Retry-After`` header; none by default, since no page of
    #: Amazon's mentions one.
    retry_after: int | None = Field(default=None, ge=0)
    late_by: float = Field(default=5 * 3600, ge=0)
    overtaken_by: float = Field(default=600, ge=0)
    notice_late_by: float = Field(default=1800, ge=0)

    @model_validator(mode="after")
    def _rates_add_up(self) -> FaultPlan:
        totals: Counter[str] = Counter()
        for name, rate in self.rates.items():
            if name not in POINT_OF:
                raise ValueError(f"rates: unknown fault {name!r}; there are: {', '.join(sorted(POINT_OF))}")
            if not 0 <= rate <= 1:
                raise ValueError(f"rates.{name}: {rate} is no probability")
            totals[POINT_OF[name]] += rate  # type: ignore[assignment]
        for point, total in totals.items():
            if total > 1 + 1e-9:
                raise ValueError(f"rates: the {point} faults add up to {total}, more than 1")
        return self


@dataclass
class _Line:
    """A line of the script and what is left of it."""

    scripted: Scripted
    skip: int
    times: int

    def left(self) -> Scripted:
        return self.scripted.model_copy(update={"skip": self.skip, "times": self.times})


class Faults:
    """Draws faults from a plan. Thread-safe; the same seed and the same chances give the same faults."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.seed = seed
        self._lock = threading.Lock()
        #: How often each fault struck, whatever plan ordered it.
        self.injected: Counter[str] = Counter()
        self.replace(plan)

    def replace(self, plan: FaultPlan) -> None:
        """Take a new plan; the drawing starts again from the seed."""
        with self._lock:
            self._plan = plan
            self._script = [_Line(line, line.skip, line.times) for line in plan.script]
            self._random = {point: random.Random(f"{self.seed}:{point}") for point in FAULTS}  # noqa: S311

    @property
    def plan(self) -> FaultPlan:
        """The plan with what is left of its script."""
        with self._lock:
            left = tuple(entry.left() for entry in self._script if entry.times)
            return self._plan.model_copy(update={"script": left})

    def draw(self, point: Point, operation: str | None = None) -> str | None:
        """Return the fault that strikes at this chance, or None."""
        with self._lock:
            chance = self._random[point].random()
            fault = self._scripted(point, operation) or self._by_rate(point, chance)
            if fault:
                self.injected[fault] += 1
            return fault

    def _scripted(self, point: Point, operation: str | None) -> str | None:
        for entry in self._script:
            line = entry.scripted
            if not entry.times or POINT_OF[line.fault] != point or (line.operation and line.operation != operation):
                continue
            if entry.skip:
                entry.skip -= 1
                return None
            entry.times -= 1
            return line.fault
        return None

    def _by_rate(self, point: Point, chance: float) -> str | None:
        reached = 0.0
        for name in FAULTS[point]:
            reached += self._plan.rates.get(name, 0)
            if chance < reached:
                return name
        return None

    def jitter(self, key: str) -> float:
        """Return a number from -1 to 1 that depends on the seed and the key alone."""
        return 2 * self._part("jitter", key) - 1

    def refuses(self, store: str, sku: str) -> bool:
        """Whether this item is refused whatever it says."""
        if sku in self._plan.refuse_skus:
            return True
        return bool(self._plan.refused) and self._part("refuse", f"{store}/{sku}") < self._plan.refused

    def poisons(self, items: list[dict[str, Any]]) -> bool:
        """Whether one of an upload's items makes the whole request invalid."""
        poison = set(self._plan.poison_skus)
        return bool(poison) and any(item["item_sku"] in poison for item in items)

    def _part(self, purpose: str, key: str) -> float:
        digest = hashlib.sha256(f"{self.seed}:{purpose}:{key}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
