"""Notices to stores: what a night changed in a store's catalog, from when on it can be merchandised, what was refused.

They are files of the run, ``notices/<store>.json``, ``.md`` and ``.csv``, and messages through the channels of
``notify.stores``. A store in which nothing changed gets none. What a run settles late, of itself or of another run,
after its notices were made, is told in a further part (``notices/part-2/<store>.md``): nothing is told twice, and
nothing left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from catalog_sync.clock import iso, utc
from catalog_sync.contract.report import people_csv
from catalog_sync.markdown import cell, table
from catalog_sync.notify import Message, Severity
from catalog_sync.run import run_name
from catalog_sync.store_changes import ADDED, ARCHIVED, CHANGED, REFUSED, WHATS, StoreChanges, counts, told_by
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Items of each kind that the text and the JSON list; the CSV has all.
LISTED = 50
_TITLES = {ADDED: "Added", CHANGED: "Changed", ARCHIVED: "Archived", REFUSED: "Refused by Amazon"}
_COLUMNS = {
    ADDED: {"item_sku": "SKU", "item_name": "name", "external_product_id": "barcode", "standard_price": "price"},
    CHANGED: {"item_sku": "SKU", "item_name": "name", "field": "what", "before": "before", "after": "after"},
    ARCHIVED: {"item_sku": "SKU", "item_name": "name", "external_product_id": "barcode"},
    REFUSED: {"item_sku": "SKU", "item_name": "name", "code": "code", "message": "why", "what_to_do": "what to do"},
}
_REMARKS = {
    ARCHIVED: "These can no longer be sold. Uploading one again brings it back.",
    REFUSED: "What Amazon had of these before stays as it was.",
}


def make_store_notices(run: Run) -> list[dict[str, Any]]:
    """Write the notices of what stands in this run's books, and return them all, those of earlier parts included.

    :returns: for each notice ``store``, ``part``, ``subject``, ``severity``, ``counts`` (items added, changed, archived
        and refused), ``merchandise_from`` (``None`` when nothing was added or changed) and ``files`` (lake keys).
    """
    told: set[tuple[str, ...]] = set()
    made: list[dict[str, Any]] = []
    for part, fixed in _parts(run, told):
        told |= {tuple(pair) for pair in fixed["attempts"]}
        made += _make_part(run, part, fixed)
    return made


def store_messages(run: Run, notices: list[dict[str, Any]]) -> Iterator[tuple[str, Message]]:
    """Yield a message for each notice, with the name under which it is sent once."""
    for one in notices:
        name = f"store/{one['store']}/{one['part']}"
        text = run.lake.get(one["files"]["md"]).decode()
        about = {"kind": "store", "store": one["store"], "run": run.run_id}
        yield name, Message(Severity(one["severity"]), one["subject"], text, about=about)


def _parts(run: Run, told: set[tuple[str, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the parts that were begun, and then a new one for what no part tells of; ``told`` is filled meanwhile."""
    part = 1
    while run.lake.exists(run.key(f"notices-parts/{part}.json")):
        yield part, run.lake.get_json(run.key(f"notices-parts/{part}.json"))
        part += 1
    new = [pair for pair in told_by(run) if tuple(pair) not in told]
    if new:
        version = Tables(run.lake).version("acknowledged")
        value = {"attempts": new, "at": run.clock.time(), "acknowledged_version": version}
        yield part, run.lake.once(run.key(f"notices-parts/{part}.json"), lambda: value)


def _make_part(run: Run, part: int, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    """Write one part's notices; what is written follows from ``fixed`` alone, so that a second try changes nothing."""

    def produce() -> list[dict[str, Any]]:
        changes = StoreChanges(run, fixed["attempts"], fixed["acknowledged_version"])
        return [_write(run, part, fixed["at"], store, lines) for store, lines in changes.by_store()]

    return list(run.lake.once(run.key(f"notices-parts/{part}-stores.json"), produce))


def _write(run: Run, part: int, at: float, store: str, lines: pl.DataFrame) -> dict[str, Any]:
    lines = _with_times(run, lines)
    many = counts(lines)
    told = ", ".join(f"{many[what]:,} {what}" for what in WHATS if many[what])
    arrived = lines.filter(pl.col("what").is_in([ADDED, CHANGED]))
    notice: dict[str, Any] = {
        "store": store,
        "part": part,
        "subject": f"Store {store}: {told}",
        "severity": (Severity.WARNING if many[REFUSED] else Severity.INFO).value,
        "counts": many,
        "merchandise_from": arrived.sort("resolved_at")["can_be_merchandised_from"].last() if len(arrived) else None,
        "made_at": iso(at),
        "of_runs": sorted(set(lines["run_id"]) - {run.run_id}),
    }
    # A folder, since a store id may end in anything that a suffix could be.
    stem = run.key(f"notices/{f'part-{part}/' if part > 1 else ''}{run_name(store)}")
    notice["files"] = {kind: f"{stem}.{kind}" for kind in ("md", "json", "csv")}
    run.lake.create(notice["files"]["csv"], people_csv(lines.drop("resolved_at")))
    run.lake.create(notice["files"]["md"], _as_markdown(run, notice, lines).encode())
    listed = {what: _listed(lines, what).drop("what", "store_id", "resolved_at").to_dicts() for what in WHATS}
    whole = {**notice, "run_id": run.run_id, "listed": listed}
    run.lake.create(notice["files"]["json"], json.dumps(whole, ensure_ascii=False, indent=1).encode())
    return notice


def _with_times(run: Run, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines with the time from which each item can be merchandised, in the retailer's time zone."""
    zone = ZoneInfo(run.settings.schedule.timezone)
    after = run.settings.notify.merchandise_after
    times = {
        resolved: (resolved + after).astimezone(zone).isoformat(timespec="minutes")
        for resolved in lines["resolved_at"].unique()
    }
    when = pl.col("resolved_at").replace_strict(list(times), list(times.values()), return_dtype=pl.String)
    comes = pl.col("what").is_in([ADDED, CHANGED])
    return lines.with_columns(can_be_merchandised_from=pl.when(comes).then(when))


def _listed(lines: pl.DataFrame, what: str) -> pl.DataFrame:
    return lines.filter(what=what).head(LISTED)


def _as_markdown(run: Run, notice: dict[str, Any], lines: pl.DataFrame) -> str:
    parts = [f"# {cell(notice['subject'], 200)}"]
    if notice["merchandise_from"]:
        until = datetime.fromisoformat(notice["merchandise_from"])
        zone = run.settings.schedule.timezone
        when = f"{until:%a %d %b %Y, %H:%M}** ({zone})"
        parts.append(f"**All of it can be merchandised from {when}; when each item can, stands in the CSV.")
    for what in WHATS:
        whole = lines.filter(what=what)
        if whole.is_empty():
            continue
        parts.append(f"## {_TITLES[what]}: {notice['counts'][what]:,}")
        if what in _REMARKS:
            parts.append(_REMARKS[what])
        shown = _listed(lines, what).select(list(_COLUMNS[what]))
        parts.append(table(_COLUMNS[what].values(), shown.fill_null("").iter_rows(), 300))
        if len(whole) > LISTED:
            parts.append(f"… and {len(whole) - LISTED:,} more lines in the CSV.")
    if notice["of_runs"]:
        runs = cell(", ".join(notice["of_runs"]), 300)
        parts.append(f"Some of it was sent by an earlier run ({runs}), and only now confirmed.")
    parts.append(_foot(run, notice["files"]["csv"]))
    return "\n\n".join(parts) + "\n"


def _foot(run: Run, key: str) -> str:
    started = utc(float(run.manifest["started_at"]))
    return f"Run `{run.run_id}`, {started:%Y-%m-%d %H:%M} UTC. All lines: {cell(run.lake.url(key), 500)}"
