"""What a run tells the metrics: that it begins, and what its books say.

Books may be made more than once (``account`` is cleared, late results come), and a counter cannot take back what it
was told. So the ledger keeps what has been counted of a run (``RUN#<run>`` / ``COUNTED``), and only what is more than
that is counted again.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from catalog_sync import journal, measures
from catalog_sync.attempts import State
from catalog_sync.books import COLUMNS
from catalog_sync.breaker import Breaker
from catalog_sync.doubt import attempts_of
from catalog_sync.held import nothing_is_held
from catalog_sync.metrics import Counter, wanted

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: What has been counted of a run is kept under names that begin with these.
_ROWS, _ARCHIVES, _REJECTS, _RUNS = "rows.", "archives.", "rejects.", "runs."
#: So many runs are looked at to see whether there is a newer one.
LOOK = 60
#: What late archives are called, and the column of their books that this is.
_LATE_ARCHIVES = {"archived": "archived", "archive_refused": "refused"}


def announce(run: Run) -> None:
    """Make every counter known with 0, and say what the limit is and whether the breaker is open.

    Prometheus sees no growth in a series that begins at 12, and a collector of metrics that was started anew knows
    none. It is some 120 small datagrams, once a run and once an hour.
    """
    if not wanted():
        return
    for metric in measures.ALL:
        if isinstance(metric, Counter):
            for labels in metric.combinations():
                metric.add(0, **labels)
    measures.REQUEST_LIMIT.set(run.settings.api.rate)
    measures.BREAKER_OPEN.set(int(bool(Breaker.of(run).state())))


def count_late(stores: Mapping[str, Mapping[str, int]]) -> None:
    """Count what rows came to of which another run's books say that nothing is known (store → outcome → rows)."""
    for outcomes in stores.values():
        for outcome, rows in outcomes.items():
            if outcome in COLUMNS:
                measures.ROWS.add(rows, outcome=outcome)
            elif outcome in _LATE_ARCHIVES:
                measures.ARCHIVES.add(rows, outcome=_LATE_ARCHIVES[outcome])


def tell(run: Run, made: Mapping[str, Any]) -> None:
    """Tell what the run's books say; a dry run tells nothing. Never raises: the books matter more."""
    if made["dry_run"] or not wanted():
        return
    try:
        _say_how_it_stands(run, made)
        _count(run, made)
    except Exception as error:  # what AWS and the object store may raise has no common class
        log.warning("The metrics of run %s are incomplete: %s", run.run_id, type(error).__name__)


def _say_how_it_stands(run: Run, made: Mapping[str, Any]) -> None:
    """Set the gauges, which tell of the last run of each kind, or of all; one that was cleared later moves none."""
    kind, began = run.options.kind.value, float(made["started_at"])
    ended = [one for one in journal.newest(run, LOOK) if "state" in one and not one["dry_run"]]
    newer = [one for one in ended if float(one["started_at"]) > began]
    options = run.options
    if options.release and made["plan"] and nothing_is_held(run):
        measures.HELD_AGE.set(0.0)
    if options.whole and all(one.get("narrowed") or one.get("release") for one in newer):
        _say_how_old_things_are(run, made)
    if any(one["kind"] == kind for one in newer):
        return
    for column, rows in made["total"].items():
        measures.BOOKS.set(rows, kind=kind, outcome=column)
    measures.RUN_SECONDS.set(made["accounted_at"] - made["started_at"], kind=kind)
    measures.RUN_ENDED.set(made["accounted_at"], kind=kind, state=made["state"])
    measures.RUN_PROBLEMS.set(len(made["problems"]), kind=kind)
    measures.RUN_ALARMS.set(len(made["alarms"]), kind=kind)


def _say_how_old_things_are(run: Run, made: Mapping[str, Any]) -> None:
    if made["plan"]:
        held = made["held"]
        holds = held.get("rows") and not nothing_is_held(run)  # a release may have sent it since
        measures.HELD_AGE.set(made["accounted_at"] - held["since"] if holds else 0.0)
    ends = [float(a.item["ended_at"]) for a in attempts_of(run).of_run(run.run_id) if a.end is State.DONE]
    if not (ends and made["total"]["acknowledged"]):
        return
    for source in run.settings.sources:
        key = run.key(f"extract/{source.name}.json")
        changed = run.lake.get_json(key)["modified_at"] if run.lake.exists(key) else None
        if changed is not None:
            measures.CHANGE_AGE.set(max(0.0, max(ends) - changed), source=source.name)


def _count(run: Run, made: Mapping[str, Any]) -> None:
    """Count what the books have more than what was counted of this run before."""
    key = (f"RUN#{run.run_id}", "COUNTED")
    item = run.ledger.get(*key)
    before = Tally(item["counts"] if item else {})
    now = _counts(made, first=item is None)
    more = now - before
    changes = {"counts": dict(before | now), "at": run.clock.time(), "expires_at": run.expires_at}
    seen = ("#at = :seen", {"seen": item["at"]}) if item else ("attribute_not_exists(#pk)", {})
    if not more or not run.ledger.update(*key, changes, *seen):
        return  # another process has counted it meanwhile
    for name, count in more.items():
        prefix, what = name.split(".", 1)
        if f"{prefix}." == _ROWS:
            measures.ROWS.add(count, outcome=what)
        elif f"{prefix}." == _ARCHIVES:
            measures.ARCHIVES.add(count, outcome=what)
        elif f"{prefix}." == _REJECTS:
            measures.REJECTS.add(count, code=what)
        else:
            measures.RUNS.add(count, kind=run.options.kind.value, state=what)


def _counts(made: Mapping[str, Any], first: bool) -> Tally[str]:
    """Return what there is to count, by name."""
    counts = Tally({f"{_ROWS}{column}": rows for column, rows in made["total"].items()})
    # Books of an earlier version know no archives.
    counts.update({f"{_ARCHIVES}{column}": skus for column, skus in made.get("archives", {}).items()})
    counts.update({f"{_REJECTS}{code}": rows for code, rows in made["rejected"].items()})
    if first:
        counts[f"{_RUNS}{made['state']}"] = 1
    return counts
