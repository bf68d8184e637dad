"""Refused: what the contract rejected and what Amazon refused in a run, and how that went over the last nights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog_sync import journal, overview
from catalog_sync.lookup import named
from catalog_sync.run import Kind
from catalog_sync.verdicts import REFUSAL_ADVICE, advice_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: So many nights are in the trend.
NIGHTS = 60

Row = dict[str, Any]


def refused(run: Run, name: str = "") -> Row:
    """Return what was rejected and refused.

    :param name: a run; empty is the newest that has made its books.
    :returns: ``run_id``, ``rejected`` and ``refused`` (see ``overview``, each line with its ``advice``), and ``trend``:
        for each night, oldest first, ``started_at``, ``rejected`` and ``refused`` by code.
    """
    records = [one for one in journal.newest(run, 2 * NIGHTS) if not one["dry_run"]]
    name = name or next((str(one["run_id"]) for one in records if "state" in one), "")
    found = named(run, name)
    seen = overview.read(found)
    nights = [one for one in records if one["kind"] == Kind.NIGHT.value and "state" in one] or records
    return {
        "now": run.clock.time(),
        "run_id": found.run_id,
        "started_at": found.manifest["started_at"],
        "rejected": [{**line, "advice": advice_of(line["code"])} for line in seen.get("rejected", ())],
        "refused": [{**line, "advice": REFUSAL_ADVICE} for line in seen.get("refused", ())],
        "trend": [
            {key: one.get(key, {}) for key in ("run_id", "started_at", "rejected", "refused")}
            for one in reversed(nights[:NIGHTS])
        ],
    }
