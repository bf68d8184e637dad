"""Why an item is, or is not, in Amazon's catalog: its whole story, from the source row to the report line.

    source row → contract → plan → batch and attempt → ingestion → report line → what Amazon has now → who must act

For one store the story is told step by step, of the last run that read it; for a SKU alone, in one line for each store
that is known to have, or to have had, it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync import journal, trace
from catalog_sync.archives import is_archive
from catalog_sync.errors import BadInput, shorten
from catalog_sync.tables import ARCHIVE, Tables
from catalog_sync.verdicts import Verdict, explain

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: No SKU or store id is longer (``SKU_FORMAT``).
LONGEST = 255
#: Events are told of so many runs.
RUNS = 30
#: What is told of the row that Amazon acknowledged.
_STANDING = (
    "store_id", "item_name", "external_product_id", "external_product_id_type", "standard_price", "brand_name",
    "state", "content_hash", "plan_number", "ingestion_id", "sent_at", "acknowledged_at", "dirty_until",
)  # fmt: skip
_EVENT = ("at", "run_id", "store_id", "what", "code", "message", "ingestion_id")

Row = dict[str, Any]


def why(run: Run, sku: str, store: str = "") -> dict[str, Any]:
    """Return the story of a SKU.

    :param run: any run of the retailer, opened to read.
    :param store: a store's id; empty tells of every store that has to do with the SKU.
    :returns: ``sku``, ``asked_store``, ``run`` (the last run that read it: ``run_id``, ``started_at``, ``state``, or
        ``None``), ``absent`` (see ``_absent``), ``stores`` (a story each, with ``store_id``, ``verdict``, ``title``,
        ``who`` and ``advice``) and ``events`` (newest first, of the last ``RUNS`` runs). The story of one store also
        has ``steps``: ``source``, ``rejects``, ``repairs``, ``warnings``, ``candidate``, ``batch``, ``attempts``; and
        ``acknowledged``, ``refusals`` and ``held`` as the tables have them now.
    :raises BadInput: the SKU or the store is empty, too long, or has characters that no id has.
    """
    sku, store = _id("SKU", sku), _id("store", store) if store else ""
    tables = Tables(run.lake)
    now = _now(run, tables, sku, [store] if store else None)
    events = _events(run, tables, sku, store)
    last = next(journal.that_read(run, store, sku, {event["run_id"] for event in events}), None)
    known = [store] if store else sorted({row["store_id"] for rows in (*now.tables(), events) for row in rows})
    if len(known) == 1 and last:
        stories = [_story(run, last, known[0], sku, now.of(known[0]), events)]
    else:
        stories = [_line(last, one, now.of(one), events) for one in known]
    about = {"sku": sku, "asked_store": store, "run": _told(last), "absent": now.absent}
    return {**about, "stores": stories, "events": events}


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


@dataclass(frozen=True)
class _Now:
    """What the tables of the present have of the SKU."""

    acknowledged: list[Row]
    refusals: list[Row]
    held: list[Row]
    #: That no source has it, in any store; ``None`` when one has.
    absent: Row | None

    def tables(self) -> tuple[list[Row], list[Row], list[Row]]:
        """Return the rows that have a store."""
        return self.acknowledged, self.refusals, self.held

    def of(self, store: str) -> _Now:
        """Return what they have of it in one store."""
        acknowledged, refusals, held = ([row for row in rows if row["store_id"] == store] for rows in self.tables())
        return _Now(acknowledged, refusals, held, self.absent)


def _now(run: Run, tables: Tables, sku: str, stores: list[str] | None) -> _Now:
    skus = pl.Series([sku])

    def read(name: str, columns: list[str] | None = None) -> list[Row]:
        rows = tables.read(name, stores or tables.sizes(name), columns, skus=skus)
        return [_plain(row) for row in rows.to_dicts()]

    return _Now(read("acknowledged", list(_STANDING)), read("refusals"), read("held"), _absent(run, tables, skus))


def _absent(run: Run, tables: Tables, skus: pl.Series) -> Row | None:
    """Return since when no source has the SKU, in any store, and when it is archived; ``None`` when one has it.

    :returns: ``since`` (Unix seconds) and ``first_run``; ``runs_missed``, complete runs that missed it, the last of
        them ``last_run``; ``after``, how many a SKU must miss to be archived; and ``left``, how many are left until
        then.
    """
    for row in tables.read("absent", [run.settings.retailer], skus=skus).to_dicts():
        missed, after = int(row["runs_missed"]), run.settings.archive.after
        return {
            "since": row["first_missed_at"].timestamp(),
            "first_run": row["first_run"],
            "last_run": row["last_run"],
            "runs_missed": missed,
            "after": after,
            "left": max(0, after - missed),
        }
    return None


def _events(run: Run, tables: Tables, sku: str, store: str) -> list[Row]:
    runs = [str(record["run_id"]) for record in journal.newest(run, RUNS)]
    rows = tables.read("events", runs, list(_EVENT), skus=pl.Series([sku]))
    if store:
        rows = rows.filter(pl.col("store_id") == store)
    return [_plain(row) for row in rows.sort("at", descending=True).to_dicts()]


def _plain(row: Mapping[str, Any]) -> Row:
    """Return the row with times as Unix seconds, fit for JSON."""
    return {name: value.timestamp() if hasattr(value, "timestamp") else value for name, value in row.items()}


def _line(last: Run | None, store: str, now: _Now, events: list[Row]) -> Row:
    """Return a store's story in one line: what the last run said of the item, else what Amazon has."""
    mine = [event for event in events if last and (event["run_id"], event["store_id"]) == (last.run_id, store)]
    codes = [event["code"] for event in mine if event["code"]]
    verdict = _of_event(mine, now)
    return {"store_id": store, **explain(verdict, codes, mine[0]["message"] if mine else ""), **_state(now)}


def _of_event(mine: list[Row], now: _Now) -> Verdict:
    said = {event["what"] for event in mine}
    if not said:
        return _standing(now)
    # A row may be told of twice: refused first, acknowledged when it was sent again.
    for what, verdict in _OF_EVENT.items():
        if what in said:
            return verdict
    return Verdict.UNKNOWN


#: What an event says, strongest first.
_OF_EVENT = {
    "acknowledged": Verdict.IN_STEP,
    "archived": Verdict.ARCHIVED,
    "refused": Verdict.REFUSED,
    "archive_refused": Verdict.ARCHIVE_REFUSED,
    "failed": Verdict.FAILED,
    "archive_failed": Verdict.FAILED,
    "unknown": Verdict.UNKNOWN,
    "archive_unknown": Verdict.UNKNOWN,
    "held": Verdict.HELD,
    "in_doubt": Verdict.IN_DOUBT,
    "suspended": Verdict.SUSPENDED,
    "rejected": Verdict.REJECTED,
}


def _standing(now: _Now) -> Verdict:
    """Return the verdict of an item of which the last run said nothing: it was unchanged, or in no source."""
    if now.held:
        return Verdict.HELD
    states = {row["state"] for row in now.acknowledged}
    if "ACTIVE" in states:
        return _leaving(now) if now.absent else Verdict.IN_STEP
    if "ARCHIVED" in states:
        return Verdict.ARCHIVED
    return Verdict.REFUSED if now.refusals else Verdict.ABSENT


def _leaving(now: _Now) -> Verdict:
    """Return the verdict of an item that no source has in any store, and that Amazon has."""
    refused = any(row["content_hash"] == ARCHIVE for row in now.refusals)
    return Verdict.ARCHIVE_REFUSED if refused else Verdict.LEAVING


def _state(now: _Now) -> Row:
    first = {"acknowledged": now.acknowledged, "held": now.held}
    return {**{name: rows[0] if rows else None for name, rows in first.items()}, "refusals": now.refusals}


def _story(run: Run, last: Run, store: str, sku: str, now: _Now, events: list[Row]) -> Row:
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
    mine = [event for event in events if (event["run_id"], event["store_id"]) == (last.run_id, store)]
    mine = mine or trace.left(last, plan, store, sku)  # the run's events are written when it settles
    verdict = _verdict(last, steps, plan, bool(manifest), mine, now)
    codes = [line["code"] for line in lines["rejects"]] if verdict is Verdict.REJECTED else _codes(verdict, steps, mine)
    said = next((one["message"] for one in reversed(steps["attempts"]) if one["message"]), "")
    said = said or next((event["message"] for event in mine if event["message"]), "")
    return {"store_id": store, **explain(verdict, codes, said), "steps": steps, **_state(now)}


def _codes(verdict: Verdict, steps: Row, mine: list[Row]) -> list[str]:
    if verdict is Verdict.HELD and steps["candidate"].get("hold"):
        return [steps["candidate"]["hold"]]
    found = [one["code"] for one in steps["attempts"] if one["code"]] + [event["code"] for event in mine]
    return [code for code in dict.fromkeys(found) if code]


def _verdict(run: Run, steps: Row, plan: Row, prepared: bool, mine: list[Row], now: _Now) -> Verdict:
    """Return what became of the item in ``run``, the last that read it, from the end of its way to the beginning."""
    if steps["batch"]:
        return _sent(run, steps["attempts"])
    if mine:
        return _of_event(mine, now)
    if steps["rejects"]:
        return Verdict.REJECTED
    if steps["source"]:
        if not prepared or not plan:
            return Verdict.UNDER_WAY
        return _standing(now)
    return _gone(now) if plan else Verdict.UNDER_WAY


def _gone(now: _Now) -> Verdict:
    """Return the verdict of an item that no source has."""
    states = {row["state"] for row in now.acknowledged}
    if "ACTIVE" in states:
        return _leaving(now) if now.absent else Verdict.LEFT
    return Verdict.ARCHIVED if states else Verdict.ABSENT


def _sent(run: Run, attempts: list[Row]) -> Verdict:
    outcomes = {one["outcome"] for one in attempts}
    for what in ("acknowledged", "archived", "refused", "archive_refused", "failed", "archive_failed"):
        if what in outcomes:
            return _OF_EVENT[what]
    open_ones = [one for one in attempts if one["state"] not in ("REJECTED", "FAILED", "REFUSED")]
    if any(one["state"] == "FAILED" for one in attempts) and not open_ones:
        return Verdict.FAILED
    if not open_ones:
        return Verdict.UNSENT if journal.books_of(run) else Verdict.DUE
    if outcomes & {"unknown", "archive_unknown"} or any(one["state"] == "UNKNOWN" for one in open_ones):
        return Verdict.UNKNOWN
    waited = run.clock.time() - max(one["sent_at"] for one in open_ones)
    return Verdict.OVERDUE if waited > run.settings.results.expect.total_seconds() else Verdict.SENT
