"""Guards: a plan that would change too much at once has that part held, and the safe part goes on (design §9).

This module only compares counts with limits. ``plan`` holds what it says; ``source_guards`` judges what was read.

Changes are measured against the rows that Amazon has acknowledged as active. A store is *adopted* once a run for it was
complete; before that its new rows and its rejects are not judged, since a first load has nothing to be measured by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from catalog_sync.fields import NO_STORE

if TYPE_CHECKING:
    from catalog_sync.settings import Guards
    from catalog_sync.settings_parts import Limit

#: Stands for all stores together.
EVERYWHERE = ""


class Guard(StrEnum):
    """Why a row is held; the code that books, events and the plan show."""

    CHANGED = "GUARD_CHANGED"
    NEW = "GUARD_NEW"
    PRICES = "GUARD_PRICES"
    REJECTED = "GUARD_REJECTED"
    ARCHIVED = "GUARD_ARCHIVED"
    SOURCE_STALE = "SOURCE_STALE"
    SOURCE_SHORT = "SOURCE_SHORT"
    SOURCE_EMPTY = "SOURCE_EMPTY"
    STORE_EMPTY = "STORE_EMPTY"
    STORE_CLOSED = "STORE_CLOSED"
    ROLLBACK = "ROLLBACK_ARCHIVES"


@dataclass(frozen=True)
class Trip:
    """One guard that has tripped: what it holds, and why, in a sentence.

    ``store``: which store's rows it holds, ``EVERYWHERE`` for all; ``rows`` of ``of`` are too many.
    """

    code: str
    store: str
    rows: int
    of: int
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Rule:
    guard: Guard
    #: What is counted, what it is measured against, and what that is called.
    count: tuple[str, ...]
    base: str
    words: str
    #: Whether a store that is not adopted is let through.
    spares_first_load: bool


_RULES = {
    "changed": _Rule(Guard.CHANGED, ("changed",), "active", "rows change", False),
    "new": _Rule(Guard.NEW, ("new", "reactivated"), "active", "rows are new", True),
    "prices": _Rule(Guard.PRICES, ("price_moved",), "active", "prices move", False),
    "rejected": _Rule(Guard.REJECTED, ("rejected",), "read", "rows were rejected", True),
    "archived": _Rule(Guard.ARCHIVED, ("archived",), "active", "rows would be archived", False),
}


def judge(counts: Mapping[str, Mapping[str, int]], adopted: Collection[str], guards: Guards) -> list[Trip]:
    """Return the guards that trip, the whole retailer's first.

    :param counts: by store: ``active`` (rows that Amazon has acknowledged as active), ``read``, ``rejected``, ``new``,
        ``changed``, ``reactivated``, ``archived`` and ``price_moved`` (changed rows whose price moved by more than
        ``guards.price_move`` percent).
    :param adopted: the stores for which a run was complete before.
    """
    return [
        *_judge_one(EVERYWHERE, _sum(counts, adopted), guards, True),
        *(
            trip
            for store, one in sorted(counts.items())
            if store != NO_STORE
            for trip in _judge_one(store, one, guards, store in adopted)
        ),
    ]


def _judge_one(store: str, counts: Mapping[str, int], guards: Guards, is_adopted: bool) -> Iterator[Trip]:
    limits = guards.total if store == EVERYWHERE else guards.store
    for name, rule in _RULES.items():
        rows, of = sum(counts.get(part, 0) for part in rule.count), counts.get(rule.base, 0)
        limit: Limit = getattr(limits, name)
        if rule.spares_first_load and not is_adopted:
            continue
        if too_many(rows, of, limit):
            yield Trip(rule.guard.value, store, rows, of, _sentence(store, rule, rows, of, limit, guards))


def too_many(rows: int, of: int, limit: Limit) -> bool:
    """Tell whether ``rows`` of ``of`` are over the limit; nothing can be measured against nothing."""
    if of == 0 or rows < limit.min_rows:
        return False
    return rows * 100 > limit.percent * of or (limit.max_rows is not None and rows > limit.max_rows)


def _sum(counts: Mapping[str, Mapping[str, int]], adopted: Collection[str]) -> dict[str, int]:
    """Return the counts of all stores; of one that is not adopted, neither its new rows nor its rejects and reads."""
    total: dict[str, int] = {}
    for store, one in counts.items():
        for what, rows in one.items():
            if store in adopted or store == NO_STORE or what in ("active", "changed", "archived", "price_moved"):
                total[what] = total.get(what, 0) + rows
    return total


def _sentence(store: str, rule: _Rule, rows: int, of: int, limit: Limit, guards: Guards) -> str:
    words = rule.words + (f" by more than {guards.price_move:g} %" if rule.guard is Guard.PRICES else "")
    base = "read" if rule.base == "read" else "that Amazon has"
    most = f" or {limit.max_rows:,} rows" if limit.max_rows is not None else ""
    return (
        f"{store or 'all stores'}: {rows:,} {words}, {100 * rows / of:.1f} % of the {of:,} {base}; "
        f"the limit is {limit.percent:g} %{most}"
    )
