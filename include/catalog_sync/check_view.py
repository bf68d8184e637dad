"""The result of a check for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from catalog_sync.check import CheckResult, Sample

_COLOR = {"rejected": "red", "warned": "yellow", "repaired": "cyan"}


def render(result: CheckResult, console: Console) -> None:
    """Print a table of the broken rules with advice, the first rows of each, and a line with the outcome.

    Values are data, never markup: they go in as plain text.
    """
    if result.findings:
        console.print(_rules(result))
    several = len({sample.file for finding in result.findings for sample in finding.samples}) > 1
    for finding in result.findings:
        console.print(Text.assemble("\n", (finding.code, _COLOR[finding.what]), f", {finding.what}, the first rows:"))
        for sample in finding.samples:
            console.print(Text(f"  {_line(sample, several)}"), soft_wrap=True)
    if result.findings:
        console.print()
    for field in result.elsewhere:
        console.print(Text(f"Rows without {field} were not judged for that: another source may give it."))
    verdict = Text("ok" if result.ok else "rejects", style="green" if result.ok else "red")
    console.print(Text.assemble(verdict, f": {result.path}: {_counts(result)}."))


def _counts(result: CheckResult) -> str:
    if not result.read:
        return "no rows; a run would change nothing because of it"
    text = f"{result.read:,} rows read, {result.accepted:,} would be accepted, {result.rejected:,} rejected"
    if result.collapsed:
        text += f", {result.collapsed:,} equal to another"
    return f"{text}; {result.repaired:,} of the accepted would be repaired"


def _rules(result: CheckResult) -> Table:
    table = Table(title=f"Rules broken, source {result.source}", title_justify="left")
    table.add_column("code", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("rows", no_wrap=True, justify="right")
    table.add_column("what to do")
    for finding in result.findings:
        what = Text(finding.what, style=_COLOR[finding.what])
        table.add_row(finding.code, what, f"{finding.rows:,}", Text(finding.advice))
    return table


def _line(sample: Sample, with_file: bool) -> str:
    where = f"{sample.file} " if with_file else ""
    where += f"row {sample.row}" if sample.row else "a row that the transform added"
    key = " ".join(part for part in (sample.store_id, sample.item_sku) if part)
    value = "empty" if not sample.value else f"{sample.value!r}"
    what = f"{sample.field} = {value}" if sample.field else value
    why = f" → {sample.after!r}" if sample.after is not None else f": {sample.message}"
    return f"{where}{f', {key}' if key else ''}: {what}{why}"
