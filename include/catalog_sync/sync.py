"""The whole job with no scheduler: the same stages as the nightly DAG, one after the other, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catalog_sync.account import account
from catalog_sync.collect import Collector
from catalog_sync.errors import CatalogSyncError
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.tell import tell
from catalog_sync.upload import api_of, upload

#: Told of each step: its name and what it returned so far (small counts).
Report = Callable[[str, dict[str, Any]], None]


def make_plan(run: Run, report: Report) -> dict[str, Any]:
    """Extract, prepare and plan; return the plan's counts."""
    for source in run.sources:
        report(f"extract {source}", extract(run, source))
    for shard in shards(run):
        report(f"prepare {shard['name']}", prepare(run, shard))
    made = plan(run)
    report("plan", made)
    return made


def sync(run: Run, report: Report = lambda name, counts: None) -> dict[str, Any]:
    """Do the whole job and return the books (see ``account``), complete or not.

    A failed upload stops nothing else, just as in the DAG: the books then say what is missing. Errors before there is
    a plan are raised, since nothing was sent.
    """
    made = make_plan(run, report)
    if not made["dry_run"]:
        _send(run, made, report)
        _collect(run, report)
        report("settle", settle(run))
        report("notices", tell(run))
    result = account(run)
    report("account", {"state": result["state"]})
    return result


def _send(run: Run, made: dict[str, Any], report: Report) -> None:
    if not made["groups"]:
        return
    api = api_of(run)
    for group in made["groups"]:
        try:
            report(f"upload {group[0]} of {made['batches']}", upload(run, group, api))
        except CatalogSyncError as error:
            report(f"upload {group[0]} of {made['batches']}", {"error": str(error)})


def _collect(run: Run, report: Report) -> None:
    collector = Collector(run)
    while True:
        progress = collector.step()
        report("collect", progress.as_dict())
        if progress.round_over:
            report("archive", dict(collector.archive()))
        if progress.finished:
            return
