"""``python -m catalog_sync alerts``: what is wrong now, and silence for what is known."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog_sync.alerts.book import AlertBook
from catalog_sync.alerts.kinds import Severity
from catalog_sync.alerts.standing import standing
from catalog_sync.clock import Clock, utc
from catalog_sync.durations import parse_duration
from catalog_sync.errors import BadInput, shorten
from catalog_sync.settings import Settings

#: How long a silence lasts unless told otherwise.
SILENCE = "8h"
#: No silence lasts longer: a slip of the finger would hide an alert for good.
LONGEST = timedelta(days=365)


def add_to(commands: Any) -> None:
    """Add the command to the parser's commands."""
    shown = commands.add_parser("alerts", help="show what is wrong now and since when, or silence an alert")
    shown.add_argument("--recent", action="store_true", help="also show what was over in the last seven days")
    shown.add_argument("--silence", default="", metavar="NAME", help="tell nobody of this alert (its name, or *) …")
    shown.add_argument(
        "--for", dest="length", default=SILENCE, metavar="8h", help=f"… for so long (default: {SILENCE})"
    )
    shown.add_argument("--reason", default="", help="… and why")
    shown.add_argument("--wake", default="", metavar="NAME", help="end a silence")


def run(args: argparse.Namespace, book: AlertBook, config: Settings, clock: Clock, who: str) -> dict[str, Any]:
    """Do what the arguments ask for, and return what is wrong now as JSON.

    :param who: the user, for the record of a silence.
    :returns: ``open`` and ``recent`` (alerts), ``silences``, and ``told``: a sentence on what was changed.
    :raises BadInput: there is no such alert, or the length is none or more than ``LONGEST``.
    """
    told = ""
    if args.silence:
        until = clock.time() + _seconds(args.length)
        book.silence(args.silence, until, who, args.reason)
        told = f"{args.silence} is silent until {_at(until)}"
    elif args.wake:
        told = f"{args.wake} is silent no more" if book.wake(args.wake) else f"{args.wake} was not silent"
    made = standing(book, config, clock.time())
    return {**made, "recent": made["recent"] if args.recent else [], "told": told}


def render(made: dict[str, Any], out: Console) -> None:
    """Print what ``run`` has returned as a person reads it."""
    if made["told"]:
        out.print(made["told"], highlight=False, markup=False)
    for title, alerts in (("Open", made["open"]), ("Over", made["recent"])):
        if alerts:
            out.print(_table(title, alerts))
    for one in made["silences"]:
        why = f": {one['reason']}" if one["reason"] else ""
        out.print(
            f"silent: {one['name']} until {_at(one['until'])}, by {one['by']}{why}", highlight=False, markup=False
        )
    if not made["open"]:
        out.print("[green]no alert is open[/]")


def _table(title: str, alerts: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "alert", "since", "until" if title == "Over" else "seen", "what", "runbook"):
        table.add_column(column, no_wrap=column in ("", "since"), overflow="fold")
    for one in alerts:
        color = "red" if one["severity"] == Severity.CRITICAL else "yellow"
        mark = f"[{color}]{one['severity']}[/]{' (silent)' if one['silent'] else ''}"
        last = one["recovered_at"] or one["last_seen"]
        cells = (one["name"], _at(one["since"]), _at(last), one["what"], one["runbook"])
        table.add_row(mark, *(escape(cell) for cell in cells))
    return table


def _seconds(text: str) -> float:
    try:
        parsed: Any = parse_duration(text)
    except ValueError as error:
        raise BadInput(f"--for {shorten(text)!r}: {error}") from None
    if parsed > LONGEST:
        raise BadInput(f"--for {shorten(text)!r}: a silence lasts at most {LONGEST.days}d; nothing was silenced")
    return float(parsed.total_seconds())


def _at(seconds: float) -> str:
    return f"{utc(seconds):%Y-%m-%d %H:%M} UTC"
