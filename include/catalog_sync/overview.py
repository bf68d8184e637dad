"""What a run leaves for the screens: counts and samples of what was rejected, refused, held and suspended.

``account`` makes it once, from frames that no page could read for every request. It is ``overview.json`` in the run's
prefix, and small whatever the size of the run. Nothing decides by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.contract.frames import short
from catalog_sync.fields import KEY
from catalog_sync.pace import pace_of
from catalog_sync.tables import HELD, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Rows that are shown of each kind, lines of each table, and rows of the lists of what is held and suspended.
SAMPLE, KINDS, LISTED = 5, 100, 50
#: Lines of what is held since when: a year of nights, each with something that is held since.
HOURS = 400
NAME = "overview.json"
#: What is shown of a sample.
_REJECT = ["store_id", "item_sku", "value", "message", "source", "source_row"]
_REFUSAL = ["store_id", "item_sku", "message", "ingestion_id"]

Row = dict[str, Any]


def make(run: Run, made: Mapping[str, Any]) -> Row:
    """Write and return the overview of a run that has made its books.

    :param made: the books.
    :returns: ``rejected`` (``code``, ``field``, ``rows``, ``samples``), ``refused`` (``code``, ``rows``, ``samples``),
        ``held``, ``held_rows`` (the longest held) and ``held_since`` (``code``, ``since``, ``rows``: how many are held
        since which hour), ``suspended`` and ``suspended_rows``, and ``pace``.
    """
    manifests = _manifests(run)
    plan = run.plan if run.lake.exists(run.key("plan.json")) else {}
    found = {
        "rejected": _kinds(rejects(run), ["code", "field"], _REJECT),
        "refused": _kinds([refusals(run)], ["code"], _REFUSAL) if made["total"]["refused"] else [],
        **_held(run, plan.get("held", {}).get("parts", ())),
        **_suspended(run, manifests),
        "pace": pace_of(run, plan),
    }
    run.lake.put_json(run.key(NAME), found)
    return found


def read(run: Run) -> Row:
    """Return the overview of the run; empty when it has none (yet)."""
    return dict(run.lake.get_json(run.key(NAME))) if run.lake.exists(run.key(NAME)) else {}


def rejects(run: Run) -> Iterable[pl.DataFrame]:
    """Yield the reject lines of the run, a frame at a time."""
    for source in run.settings.sources:
        key = run.key(f"extract/{source.name}.json")
        unreadable = run.lake.get_json(key)["unreadable_key"] if run.lake.exists(key) else None
        if unreadable:
            yield run.lake.get_frame(unreadable)
    for manifest in _manifests(run):
        for key in manifest["rejects"]:
            yield run.lake.get_frame(key)


def refusals(run: Run) -> pl.DataFrame:
    """Return the events of the run's rows that Amazon refused."""
    return Tables(run.lake).read("events", [run.run_id], where=pl.col("what") == "refused")


def _manifests(run: Run) -> list[Row]:
    if not run.lake.exists(run.key("shards.json")):
        return []
    names = [shard["name"] for shard in run.lake.get_json(run.key("shards.json"))["shards"]]
    keys = [run.key(f"prepare/{name}.json") for name in names]
    return [dict(run.lake.get_json(key)) for key in keys if run.lake.exists(key)]


def _kinds(frames: Iterable[pl.DataFrame], by: list[str], columns: list[str]) -> list[Row]:
    """Return a line for each kind with its rows in all and a few samples, the most frequent first."""
    totals: Counter[tuple[str, ...]] = Counter()
    samples: dict[tuple[str, ...], list[Row]] = {}
    for frame in frames:
        known = frame.with_columns(pl.col(name).fill_null("") for name in by)
        totals.update({tuple(key): rows for *key, rows in known.group_by(by).len().iter_rows()})
        first = known.filter(pl.int_range(pl.len()).over(by) < SAMPLE)
        texts = [name for name in columns if first.schema[name] == pl.String]
        for row in first.with_columns(short(pl.col(name), 120) for name in texts).to_dicts():
            mine = samples.setdefault(tuple(row[name] for name in by), [])
            if len(mine) < SAMPLE:
                mine.append({name: row[name] for name in columns})
    return [
        {**dict(zip(by, key, strict=True)), "rows": rows, "samples": samples[key]}
        for key, rows in totals.most_common(KINDS)
    ]


def _held(run: Run, parts: Iterable[Mapping[str, Any]]) -> Row:
    frames = [pl.DataFrame(schema=HELD), *(run.lake.get_frame(part["key"]) for part in parts)]
    lines = pl.concat(frames, how="vertical_relaxed")
    kinds = lines.group_by("code", "action").agg(
        rows=pl.len(), stores=pl.col("store_id").n_unique(), since=pl.col("first_held_at").min()
    )
    oldest = lines.sort("first_held_at", *KEY).head(LISTED)
    hours = lines.group_by("code", since=pl.col("first_held_at").dt.truncate("1h")).agg(rows=pl.len())
    return {
        "held": _dicts(kinds.sort("rows", "code", "action", descending=[True, False, False]).head(KINDS)),
        "held_rows": _dicts(oldest.select(*KEY, "action", "code", "first_held_at", "run_id")),
        "held_since": _dicts(hours.sort("since", "code").head(HOURS)),
    }


def _suspended(run: Run, manifests: Iterable[Row]) -> Row:
    keys = [key for manifest in manifests for key in manifest["events"]]
    frames = [run.lake.get_frame(key, [*KEY, "what"]).filter(pl.col("what") == "suspended") for key in keys]
    rows = pl.concat([pl.DataFrame(schema=dict.fromkeys([*KEY, "what"], pl.String)), *frames]).select(KEY).unique()
    if rows.is_empty():
        return {"suspended": [], "suspended_rows": []}
    known = Tables(run.lake).read("refusals", rows["store_id"].unique(), skus=rows["item_sku"].unique())
    # Of a row refused with several contents, the last one is why it rests now.
    last = known.sort("last_seen", descending=True).unique(KEY, keep="first", maintain_order=True)
    told = rows.join(last, on=list(KEY), how="left").with_columns(
        pl.col("code").fill_null(""), times=pl.col("ingestion_ids").list.len()
    )
    kinds = told.group_by("code").agg(
        rows=pl.len(), stores=pl.col("store_id").n_unique(), since=pl.col("first_seen").min()
    )
    shown = told.sort("first_seen", *KEY).head(LISTED).with_columns(short(pl.col("message"), 120))
    columns = [*KEY, "code", "message", "times", "first_seen", "last_seen"]
    return {
        "suspended": _dicts(kinds.sort("rows", "code", descending=[True, False]).head(KINDS)),
        "suspended_rows": _dicts(shown.select(columns)),
    }


def _dicts(frame: pl.DataFrame) -> list[Row]:
    """Return the rows, with times as Unix seconds."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(name).dt.timestamp("ms") / 1000 for name in times).to_dicts()
