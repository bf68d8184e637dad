"""Shards: the stores that were read, packed so that one process can prepare each pack."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from catalog_sync.fields import NO_STORE
from catalog_sync.measures import stage
from catalog_sync.run import Kind
from catalog_sync.source_guards import judge_sources

if TYPE_CHECKING:
    from catalog_sync.run import Run


@stage("shards")
def shards(run: Run) -> list[dict[str, Any]]:
    """Pack the stores that were read into shards of whole stores, up to about ``shard_rows`` rows each.

    There is always one shard at least, so that an empty source still ends in a plan and in books.

    :returns: for each shard its ``name``, ``stores`` (raw store ids; ``""`` for rows without one) and ``rows``.
    """
    made = run.lake.once(run.key("shards.json"), lambda: _pack(run))
    return list(made["shards"])


def _pack(run: Run) -> dict[str, Any]:
    manifests = extracts(run)
    asked = set(run.options.stores)
    _ = run.stores  # an unknown store in the form is an error now, not after an hour
    counts: dict[str, Counter[str]] = {}
    rows: Counter[str] = Counter()
    for manifest in manifests:
        if manifest["unreadable"]:
            counts.setdefault(NO_STORE, Counter()).update(read=manifest["unreadable"], rejected=manifest["unreadable"])
        for part in manifest["files"]:
            store = part["store"]
            if asked and store.strip() not in asked:
                counts.setdefault(store or NO_STORE, Counter()).update(read=part["rows"], out_of_scope=part["rows"])
            else:
                rows[store] += part["rows"]
    packed: list[dict[str, Any]] = []
    for store in sorted(rows):
        if not packed or packed[-1]["rows"] + rows[store] > run.settings.shard_rows:
            packed.append({"stores": [], "rows": 0})
        packed[-1]["stores"].append(store)
        packed[-1]["rows"] += rows[store]
    packed = packed or [{"stores": [], "rows": 0}]
    named = [{"name": f"shard-{n:04d}", **shard} for n, shard in enumerate(packed, 1)]
    return {
        "shards": named,
        "counts": {store: dict(count) for store, count in counts.items()},
        "sources": [] if run.options.kind is Kind.ROLLBACK else judge_sources(run, manifests),
    }


def extracts(run: Run) -> list[dict[str, Any]]:
    """Return the manifest of each source's extract, in the order of the configuration.

    :raises Misconfigured: other sources are configured than when the run began.
    """
    run.require_same_sources()
    return [dict(run.lake.get_json(run.key(f"extract/{source}.json"))) for source in run.sources]
