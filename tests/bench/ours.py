"""The measured processes of the project itself: its own stage functions, nothing else."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from tests.bench.child import tell
from tests.bench.deployment import SOURCE, open_run
from tests.bench.place import Place

from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.sync import make_plan, sync


def night(run: Run) -> dict[str, Any]:
    """Extract, prepare and plan: a night up to payloads that are ready to be sent."""
    make_plan(run, lambda name, counts: None)
    return {}


def told(run: Run) -> dict[str, Any]:
    """Return what a night made, from its manifests."""
    made: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for shard in shards(run):
        manifest = run.lake.get_json(run.key(f"prepare/{shard['name']}.json"))
        rejected.update(manifest["rejected"])
        for counts in manifest["counts"].values():
            made.update(counts)
    payloads = [key for key in run.lake.keys(run.key("batches")) if key.endswith(".zst")]
    return {
        "counts": dict(made),
        "rejected": dict(rejected),
        "planned": run.plan["rows"],
        "batches": run.plan["batches"],
        "payloads": len(payloads),
        "bytes": sum(batch["bytes"] for batch in run.plan["batch_list"]),
    }


def whole(run: Run) -> dict[str, Any]:
    """Do the whole job: the night, sending, collecting, settling, the books."""
    books = sync(run)
    return {"state": books["state"], "total": books["total"]}


def main() -> None:
    """Do what the arguments say: the work, the deployment, the run's id and, for ``prepare``, the shard."""
    what, run = sys.argv[1], open_run(Place.of(sys.argv[2]), sys.argv[3])
    works = {
        "night": lambda: night(run),
        "whole": lambda: whole(run),
        "settle": lambda: settle(run),
        "extract": lambda: dict(extract(run, SOURCE)),
        "shards": lambda: {"shards": [shard["name"] for shard in shards(run)]},
        "prepare": lambda: prepare(run, next(shard for shard in shards(run) if shard["name"] == sys.argv[4])),
        "plan": lambda: plan(run),
    }
    tell(works[what], lambda: told(run) if what in ("night", "plan") else {})


if __name__ == "__main__":
    main()
