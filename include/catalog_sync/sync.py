"""The whole job with no scheduler: the same stages as the nightly DAG, one after the other, in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from catalog_sync.account import account
from catalog_sync.collect import Collector
from catalog_sync.errors import CatalogSyncError, Misconfigured
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.tell import tell
from catalog_sync.upload import api_of, upload

log = logging.getLogger(__name__)

#: Failed steps of collecting in a row before what Amazon did not tell yet is left to a later run.
PATIENCE = 10
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

    A failed upload or a failure to collect stops nothing else, just as in the DAG: the books then say what is missing.
    Errors before there is a plan are raised, since nothing was sent.

    :raises Misconfigured: results cannot be collected as things are configured; what was sent is in the books.
    """
    made = make_plan(run, report)
    mistake: Misconfigured | None = None
    if not made["dry_run"]:
        _send(run, made, report)
        mistake = _collect(run, report)
        report("settle", settle(run))
        report("notices", tell(run))
    result = account(run)
    report("account", {"state": result["state"]})
    if mistake:
        raise mistake
    return result


def _send(run: Run, made: dict[str, Any], report: Report) -> None:
    if not made["groups"]:
        return
    api = api_of(run)
    for group in made["groups"]:
        try:
            report(f"upload {group[0]} of {made['batches']}", upload(run, group, api))
        except Exception as error:  # what AWS and the network may raise has no common class
            report(f"upload {group[0]} of {made['batches']}", {"error": _told(error)})


def _collect(run: Run, report: Report) -> Misconfigured | None:
    """Collect what comes; return what somebody must mend first, if anything."""
    collector, failures = Collector(run), 0
    while failures < PATIENCE:
        try:
            progress = collector.step()
            report("collect", progress.as_dict())
            if progress.round_over:
                report("archive", dict(collector.archive()))
        except Misconfigured as error:
            report("collect", {"error": _told(error)})
            return error
        except Exception as error:
            failures += 1
            report("collect", {"error": _told(error)})
            run.clock.sleep(min(2.0**failures, 30.0))
            continue
        failures = 0
        if progress.finished:
            break
    return None


def _told(error: Exception) -> str:
    """Return what to tell of an error; one that is none of ours comes with its traceback in the log."""
    if isinstance(error, CatalogSyncError):
        return str(error)
    log.error("A stage failed", exc_info=error)
    return f"{type(error).__name__}: {error}"
