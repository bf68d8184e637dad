"""The measured processes of the project itself: its own stage functions, nothing else.

Each process imports what its stage needs, as a task does, before the clock starts.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.bench.child import tell
from tests.bench.deployment import SOURCE, open_run
from tests.bench.place import Place

from catalog_sync.run import Run

Work = Callable[[], dict[str, Any]]


def night(run: Run) -> Work:
    """Extract, prepare and plan: a night up to payloads that are ready to be sent."""
    from catalog_sync.sync import make_plan

    def work() -> dict[str, Any]:
        make_plan(run, lambda name, counts: None)
        return {}

    return work


def told(run: Run) -> dict[str, Any]:
    """Return what a night made, from its manifests."""
    from catalog_sync.shards import shards

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


def whole(run: Run) -> Work:
    """Do the whole job: the night, sending, collecting, settling, the books."""
    from catalog_sync.sync import sync

    def work() -> dict[str, Any]:
        books = sync(run)
        return {"state": books["state"], "total": books["total"]}

    return work


def settling(run: Run) -> Work:
    """Settle what has ended."""
    from catalog_sync.settle import settle

    return lambda: settle(run)


def extracting(run: Run) -> Work:
    """Extract the one source."""
    from catalog_sync.extract import extract

    return lambda: dict(extract(run, SOURCE))


def sharding(run: Run) -> Work:
    """Pack the shards."""
    from catalog_sync.shards import shards

    return lambda: {"shards": [shard["name"] for shard in shards(run)]}


def preparing(run: Run) -> Work:
    """Prepare the shard that the last argument names."""
    from catalog_sync.prepare import prepare
    from catalog_sync.shards import shards

    return lambda: prepare(run, next(shard for shard in shards(run) if shard["name"] == sys.argv[4]))


def planning(run: Run) -> Work:
    """Plan."""
    from catalog_sync.plan import plan

    return lambda: plan(run)


_WORKS: dict[str, Callable[[Run], Work]] = {
    "night": night, "whole": whole, "settle": settling, "extract": extracting, "shards": sharding,
    "prepare": preparing, "plan": planning,
}  # fmt: skip


def main() -> None:
    """Do what the arguments say: the work, the deployment, the run's id and, for ``prepare``, the shard."""
    what, run = sys.argv[1], open_run(Place.of(sys.argv[2]), sys.argv[3])
    tell(_WORKS[what](run), lambda: told(run) if what in ("night", "plan") else {})


if __name__ == "__main__":
    main()
