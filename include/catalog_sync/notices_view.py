"""A run's notices for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

if TYPE_CHECKING:
    from catalog_sync.lake import Lake


def render(lake: Lake, made: Mapping[str, list[dict[str, Any]]], console: Console) -> None:
    """Print the notices (see ``tell.read_notices``), each with where it was sent."""
    notices = [*made["stores"], *made["sources"]]
    for one in notices:
        console.print(Markdown(lake.get(one["files"]["md"]).decode()))
        sent = ", ".join(f"{channel} {when}" for channel, when in one["sent"].items())
        console.print(Text(f"sent: {sent or 'through no channel'}"))
    if not notices:
        console.print("nobody was told anything: nothing changed, or nothing was settled")
