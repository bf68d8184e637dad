"""The story of an item, and the list of runs, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog_sync.clock import utc
from catalog_sync.verdicts import NOBODY

Row = Mapping[str, Any]
#: Events that a terminal lists; ``--json`` has all.
_EVENTS = 15


def render(story: Row, out: Console) -> None:
    """Print the story that ``why.why`` returns."""
    run = story["run"]
    told = f"{run['run_id']} ({run['state']}, began {when(run['started_at'])})" if run else "no run has read it yet"
    _say(out, f"SKU {story['sku']}", f"last run that read it: {told}", "bold")
    if absent := story["absent"]:
        _say(out, "", absence(absent))
    if not story["stores"]:
        _say(out, "Nothing is known of it in any store", "look at the spelling, or name the store, too", "yellow")
    for one in story["stores"]:
        _verdict(out, one, run)
        if "steps" in one:
            _steps(out, one["steps"])
        _standing(out, one)
    if story["events"]:
        _table(out, "What happened", ("at", "store_id", "run_id", "what", "code", "message"), story["events"][:_EVENTS])


def absence(absent: Row) -> str:
    """Return in a sentence since when no source has the item, and when it is archived."""
    missed, after = absent["runs_missed"], absent["after"]
    then = f"it is archived after {after}" if absent["left"] else f"{after} were enough, so it is due to be archived"
    runs = f"{missed} complete run{'' if missed == 1 else 's'} without it"
    return f"No source has it, in any store, since {when(absent['since'])}: {runs}; {then}"


def render_runs(records: Sequence[Row], out: Console) -> None:
    """Print records of the journal, one a line."""
    columns = ("read", "rejected", "held", "sent", "acknowledged", "refused")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("began", "run", "kind", "state", *columns):
        table.add_column(title, justify="right" if title in columns else "left", no_wrap=title == "began")
    for one in records:
        counts = (f"{one.get('total', {}).get(column, 0):,}" for column in columns)
        kind = f"{one['kind']}{' (dry run)' if one['dry_run'] else ''}"
        table.add_row(when(one["started_at"]), Text(one["run_id"]), kind, one.get("state", "no books yet"), *counts)
    out.print(table)


def when(seconds: float | None) -> str:
    """Return a time for people, in UTC; ``–`` for none."""
    return f"{utc(seconds):%Y-%m-%d %H:%M} UTC" if seconds else "–"


def _verdict(out: Console, one: Row, run: Row | None) -> None:
    told_by = f"said by run {one['run_id']}" if run and one["run_id"] not in (None, run["run_id"]) else ""
    codes = f" ({', '.join(one['codes'])})" if one["codes"] else ""
    colour = "green" if one["who"] == NOBODY else "yellow"
    _say(out, f"\n{one['store_id'] or 'no store'}: {one['title']}{codes}", told_by, colour)
    if one["said"]:
        _say(out, "", f"  “{one['said']}”")
    _say(out, "", f"  Who acts: {one['who']}. {one['advice']}")


def _steps(out: Console, steps: Row) -> None:
    if not steps["source"]:
        _say(out, "", "  In the source: not in this run's sources")
    for row in steps["source"]:
        fields = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("source", "source_row"))
        _say(out, "", f"  In the source {row.get('source')}, row {row.get('source_row')}: {fields}")
    for line in steps["repairs"]:
        _say(out, "", f"  Repaired {line['code']}, {line['field']}: {line['before']!r} became {line['after']!r}")
    for kind, what in (("rejects", "Rejected"), ("warnings", "Warned")):
        for line in steps[kind]:
            value = f" = {line['value']!r}" if line["value"] else ""
            _say(out, "", f"  {what} {line['code']}, {line['field'] or 'row'}{value}: {line['message']}")
    if steps["candidate"]:
        _say(out, "", f"  Compared: {steps['candidate']['action']}")
    elif steps["source"] and not steps["rejects"]:
        _say(out, "", "  Compared: unchanged, or not due")
    if steps["batch"]:
        where = f"batch {steps['batch']['number']}, position {steps['batch']['position']}"
        _say(out, "", f"  Planned: {'in an archive: ' if steps['batch']['archive'] else ''}{where}")
    for one in steps["attempts"]:
        ended = f", ended {when(one['ended_at'])}" if one["ended_at"] else ""
        outcome = f"; the item: {one['outcome']} {one['code']}".rstrip() if one["outcome"] else ""
        _say(
            out, "", f"  Request {one['attempt']} of batch {one['batch']}: {one['state']}, sent {when(one['sent_at'])}"
            f"{ended}, ingestion {one['ingestion_id'] or '–'}{outcome}"
        )  # fmt: skip


def _standing(out: Console, one: Row) -> None:
    if row := one["acknowledged"]:
        dirty = "; it is sent again, since something about it is unproven" if row["dirty_until"] else ""
        _say(
            out, "", f"  Amazon has: {row['item_name']!r}, barcode {row['external_product_id']}, price "
            f"{row['standard_price'] or '–'}, {row['state']}, acknowledged {when(row['acknowledged_at'])} by ingestion "
            f"{row['ingestion_id']}{dirty}"
        )  # fmt: skip
    else:
        _say(out, "", "  Amazon has: nothing that it acknowledged to us")
    for row in one["refusals"]:
        _say(
            out, "", f"  Refused {len(row['ingestion_ids'])} times with one content, last {when(row['last_seen'])}: "
            f"{row['code']} {row['message']}"
        )  # fmt: skip
    if row := one["held"]:
        _say(out, "", f"  Held since {when(row['first_held_at'])} for {row['code']} ({row['action']})")


def _table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column.removesuffix("_id"), no_wrap=column == "at", overflow="fold")
    for row in rows:
        table.add_row(*(Text(when(row[column]) if column == "at" else str(row[column] or "")) for column in columns))
    out.print(table)


def _say(out: Console, head: str, rest: str = "", style: str = "") -> None:
    """Print texts as they are: what comes from a source is no markup."""
    text = Text(head, style=style)
    text.append(f"{': ' if head and rest else ''}{rest}", style="default")
    out.print(text, highlight=False)
