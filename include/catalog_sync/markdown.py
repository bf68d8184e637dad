"""Markdown of what others wrote: text that can be nothing but text, and tables of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def cell(value: object, most: int = 80) -> str:
    """Return a source's text as one cell of Markdown that can be nothing else."""
    text = "".join(c if c.isprintable() else " " for c in str(value))[:most]
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#!" else c for c in text)


def table(titles: Iterable[str], rows: Iterable[Iterable[Any]], most: int = 80) -> str:
    """Return a table: numbers to the right, texts as ``cell`` writes them, of at most so many characters."""
    titles, cells = list(titles), [list(row) for row in rows]
    numeric = [any(isinstance(row[n], int) for row in cells) for n in range(len(titles))]
    lines = [titles, ["---:" if right else "---" for right in numeric]]
    lines += [[f"{value:,}" if isinstance(value, int) else cell(value, most) for value in row] for row in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
