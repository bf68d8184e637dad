"""What the probe found, for a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from catalog_sync.probe import Check, Status

_COLOR = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


def table_of(checks: list[Check]) -> Table:
    """Return the checks as a table."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("check", "", "seen", "what to do"):
        table.add_column(title, no_wrap=title in ("check", ""), overflow="fold")
    for one in checks:
        table.add_row(
            Text(one.name), Text(one.status.value, style=_COLOR[one.status]), Text(one.seen), Text(one.advice)
        )
    return table
