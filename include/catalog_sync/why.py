"""Why an item is, or is not, in Amazon's catalog: its whole story, from the source row to the report line.

    source row → contract → plan → batch and attempt → ingestion → report line → what Amazon has now → who must act

For one store the story is told step by step, of the last run that read it; for a SKU alone, in one line for each store
that is known to have, or to have had, it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import journal, trace
from catalog_sync.archives import is_archive
from catalog_sync.errors import BadInput, shorten
from catalog_sync.run import Kind
from catalog_sync.tables import Tables
from catalog_sync.verdicts import Verdict, explain, of_events, of_requests
from catalog_sync.why_now import Now, plain
from catalog_sync.why_stores import expected, lasts, store_lines

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: No SKU or store id is longer (``SKU_FORMAT``).
LONGEST = 255
#: Events are told of so many runs.
RUNS = 30
_EVENT = ("at", "run_id", "store_id", "what", "code", "message", "ingestion_id")

Row = dict[str, Any]


def why(run: Run, sku: str, store: str = "") -> dict[str, Any]:
    """Return the story of a SKU.

    :param run: any run of the retailer, opened to read.
    :param store: a store's id; empty tells of every store that has to do with the SKU.
    :returns: ``sku``, ``asked_store``, ``run`` (the last run that read it: ``run_id``, ``started_at``, ``state``, or
        ``None``), ``absent`` (see ``Now``), ``stores`` (a story each, with ``store_id``, ``run_id`` (the last run that
        read that store, or ``None``), ``verdict``, ``title``, ``who`` and ``advice``, and as the tables have them now
        ``acknowledged``, ``refusals`` and ``held``) and ``events`` (newest first, of the last ``RUNS`` runs). The story
        of one store also has ``steps``: ``source``, ``rejects``, ``repairs``, ``warnings``, ``candidate``, ``batch``,
        ``attempts``.
    :raises BadInput: the SKU or the store is empty, too long, or has characters that no id has.
    """
    sku, store = _id("SKU", sku), _id("store", store) if store else ""
    tables = Tables(run.lake)
    now = Now.read(run, tables, sku, [store] if store else None)
    runs = [str(record["run_id"]) for record in journal.newest(run, RUNS)]
    events = _events(tables, runs, sku, store)
    about = {event["run_id"] for event in events}
    known = [store] if store else sorted({*now.stores, *(event["store_id"] for event in events)})
    last = lasts(run, known, sku, about)
    older = {one.run_id for one in last.values()}.difference(runs)
    events += _events(tables, older, sku, store) if older else []
    if len(known) == 1 and last:
        stories = [_story(run, last[known[0]], known[0], sku, now.of(known[0]), events)]
    else:
        stories = list(store_lines(known, last, sku, now, events))
    read = list(last.values()) if known else islice(journal.that_read(run, "", sku, about), 1)
    newest = max(read, key=lambda one: float(one.manifest["started_at"]), default=None)
    told = {"sku": sku, "asked_store": store, "run": _told(newest), "absent": now.absent}
    return {**told, "stores": stories, "events": events}


def _id(what: str, text: str) -> str:
    clean = text.strip()
    if not clean or len(clean) > LONGEST or not clean.isprintable():
        raise BadInput(f"{what} = {shorten(text)!r}: 1 to {LONGEST} printable characters are needed")
    return clean


def _told(last: Run | None) -> Row | None:
    if last is None:
        return None
    made = journal.books_of(last)
    return {
        "run_id": last.run_id,
        "started_at": last.manifest["started_at"],
        "state": made.get("state", "running"),
        "origin": last.options.origin,
    }


def _events(tables: Tables, runs: Iterable[str], sku: str, store: str) -> list[Row]:
    rows = tables.read("events", runs, list(_EVENT), skus=pl.Series([sku]))
    if store:
        rows = rows.filter(pl.col("store_id") == store)
    return [plain(row) for row in rows.sort("at", descending=True).to_dicts()]


def _story(run: Run, last: Run, store: str, sku: str, now: Now, events: list[Row]) -> Row:
    """Return a store's whole story in the run ``last``."""
    manifest = trace.prepared(last, store)
    lines = trace.lines(last, manifest, store, sku)
    plan = last.plan if last.lake.exists(last.key("plan.json")) else {}
    place = trace.planned(last, plan.get("batch_list", []), store, sku) if plan else None
    steps: Row = {
        "source": trace.source_rows(last, store, sku),
        **lines,
        "candidate": trace.candidate(last, manifest, store, sku),
        "batch": {"number": place[0]["number"], "position": place[1], "archive": is_archive(place[0])}
        if place
        else None,
        "attempts": trace.attempts(last, place[0], store, place[1]) if place else [],
    }
    mine = [event for event in events if event["run_id"] == last.run_id]
    mine = mine or trace.said(last, [manifest, plan], sku)  # the run's events are written when it settles
    mine = [event for event in mine if event["store_id"] == store]
    verdict = _verdict(last, steps, plan, bool(manifest), mine, now)
    codes = [line["code"] for line in lines["rejects"]] if verdict is Verdict.REJECTED else _codes(verdict, steps, mine)
    said = next((one["message"] for one in reversed(steps["attempts"]) if one["message"]), "")
    said = said or next((event["message"] for event in mine if event["message"]), "")
    told = explain(verdict, codes, said)
    return {"store_id": store, "run_id": last.run_id, **told, "steps": steps, **now.told()}


def _codes(verdict: Verdict, steps: Row, mine: list[Row]) -> list[str]:
    if verdict is Verdict.HELD and steps["candidate"].get("hold"):
        return [steps["candidate"]["hold"]]
    found = [one["code"] for one in steps["attempts"] if one["code"]] + [event["code"] for event in mine]
    return [code for code in dict.fromkeys(found) if code]


def _verdict(run: Run, steps: Row, plan: Row, prepared: bool, mine: list[Row], now: Now) -> Verdict:
    """Return what became of the item in ``run``, the last that read it, from the end of its way to the beginning."""
    if steps["batch"]:
        return of_requests(steps["attempts"], bool(journal.books_of(run).get("plan")), run.clock.time(), expected(run))
    if mine:
        return of_events(mine)
    if steps["rejects"]:
        return Verdict.REJECTED
    if steps["source"]:
        if not prepared or not plan:
            return Verdict.UNDER_WAY
        return now.standing()
    if not plan:
        return Verdict.UNDER_WAY
    return now.standing() if run.options.kind is Kind.ROLLBACK else now.gone()
