"""The books of a run: every row that was read, once, in the column where it ended (invariant I6).

    read    = out of scope + merged away + collapsed + rejected + unchanged + suspended + in doubt + held + planned
    planned = sent + unsent
    sent    = acknowledged + refused + failed + unknown

    due     = suspended + in doubt + held + planned          (archives, in SKUs)
    planned = asked + unsent
    asked   = archived + refused + failed + unknown

Per store and in all; ``–`` where the store cannot be told. This module only adds and compares; ``account`` gathers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from catalog_sync.clock import utc

#: The columns in the order in which they are shown.
READ_INTO = (
    "out_of_scope", "merged_away", "collapsed", "rejected", "unchanged", "suspended", "in_doubt", "held", "planned",
)  # fmt: skip
PLANNED_INTO = ("sent", "unsent")
SENT_INTO = ("acknowledged", "refused", "failed", "unknown")
COLUMNS = ("read", *READ_INTO, *PLANNED_INTO, *SENT_INTO)

#: The same of archives, in SKUs: they are not among the rows that were read.
DUE_INTO = ("suspended", "in_doubt", "held", "planned")
ASKED_INTO = ("archived", "refused", "failed", "unknown")
ARCHIVES = ("due", *DUE_INTO, "asked", "unsent", *ASKED_INTO)

#: So many guards are told beside the numbers, those of all stores first: a note has a thousand characters.
GUARDS_TOLD = 4

Line = dict[str, int]


def line(counts: Mapping[str, int]) -> Line:
    """Return the counts as a full line of the books: absent columns are 0, unknown ones an error.

    :raises ValueError: a count has no column.
    """
    stray = set(counts) - set(COLUMNS)
    if stray:
        raise ValueError(f"books have no column {', '.join(sorted(stray))}; columns: {', '.join(COLUMNS)}")
    return {column: int(counts.get(column, 0)) for column in COLUMNS}


def total(lines: Iterable[Mapping[str, int]]) -> Line:
    """Return the sum of the lines, column by column."""
    all_lines = list(lines)
    return {column: sum(one.get(column, 0) for one in all_lines) for column in COLUMNS}


def problems(stores: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return what does not balance, a sentence each; empty when the books balance."""
    found = []
    for store, one in {**stores, "all stores": total(stores.values())}.items():
        for whole, parts in (("read", READ_INTO), ("planned", PLANNED_INTO), ("sent", SENT_INTO)):
            have, want = sum(one[part] for part in parts), one[whole]
            if have != want:
                found.append(f"{store}: {whole} = {want:,}, but its parts add up to {have:,} ({' + '.join(parts)})")
        found += [f"{store}: {column} = {one[column]}, less than nothing" for column in COLUMNS if one[column] < 0]
    return found


def archive_problems(archives: Mapping[str, int]) -> list[str]:
    """Return what does not balance in the books of archives; empty when there are none."""
    if not archives:
        return []
    sides = (("due", DUE_INTO), ("planned", ("asked", "unsent")), ("asked", ASKED_INTO))
    return [
        f"archives: {whole} = {archives[whole]:,}, but its parts add up to {have:,} ({' + '.join(parts)})"
        for whole, parts in sides
        if (have := sum(archives[part] for part in parts)) != archives[whole]
    ]


def catalog_problems(catalog: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return where ``active after`` is not ``active before + new + reactivated − archived``."""
    found = []
    for store, one in catalog.items():
        expected = one["active_before"] + one["new"] + one["reactivated"] - one["archived"]
        if one["active_after"] != expected:
            found.append(
                f"{store}: {one['active_after']:,} active items, but {one['active_before']:,} before + "
                f"{one['new']:,} new + {one['reactivated']:,} reactivated − {one['archived']:,} archived = {expected:,}"
            )
    return found


def as_markdown(books: Mapping[str, Any]) -> str:
    """Return the books as a Markdown table, a line per store and one in all, without columns of zeros."""
    stores: dict[str, Line] = {**books["stores"], "**all**": books["total"]}
    shown = [column for column in COLUMNS if column == "read" or any(one[column] for one in stores.values())]
    head = "| store | " + " | ".join(column.replace("_", " ") for column in shown) + " |"
    rule = "|---|" + "---:|" * len(shown)
    rows = [
        f"| {store} | " + " | ".join(f"{one[column]:,}" for column in shown) + " |" for store, one in stores.items()
    ]
    return "\n".join([head, rule, *rows])


def remarks(books: Mapping[str, Any]) -> list[str]:
    """Return what the books say beside their numbers, a sentence each: guards, held rows, and other runs' results."""
    told = [f"not found: {one}" for one in books.get("missing", ())]
    if books.get("held", {}).get("rows"):
        told.append(_held(books))
    if books.get("release_of"):
        told.append(f"released: what run {books['release_of']} held, as a person has approved")
    guards = () if books.get("release_of") else books.get("guards", ())
    told += [f"guard {one['code']}: {one['message']}" for one in guards[:GUARDS_TOLD]]
    if len(guards) > GUARDS_TOLD:
        told.append(f"{len(guards) - GUARDS_TOLD} more guards have tripped: the plan has them all")
    told += _leaving(books)
    for late in books.get("late", ()):
        told += [f"late, of run {late['of_run']}, {store}: {_flat(counts)}" for store, counts in late["stores"].items()]
    # Books that were made by an earlier version do not have these.
    for run_id, counts in books.get("booked_late", {}).items():
        told.append(f"of the unknown rows run {run_id} has booked: {_flat(counts)}")
    for run_id, one in books.get("abandoned", {}).items():
        counts = {column: one["total"][column] for column in COLUMNS if one["total"].get(column)}
        told.append(f"run {run_id} ended without books; they are made now, {one['state']}: {_flat(counts)}")
    return told


def _held(books: Mapping[str, Any]) -> str:
    """Return what is held, and what to do about it."""
    held = books["held"]
    codes = ", ".join(f"{rows:,} by {code}" for code, rows in held["by_code"].items())
    if books.get("dry_run"):
        return f"would be held: {codes}"
    source = "" if books.get("rollback") else ", or mend the source"
    since = f"{utc(held['since']):%Y-%m-%d %H:%M} UTC"
    return f"held: {codes}, the oldest since {since}; answer in release_held_changes{source}"


def _leaving(books: Mapping[str, Any]) -> list[str]:
    """Return what the books say of SKUs that leave; books that were made by an earlier version say nothing."""
    told = []
    archives, leaving, tasks = books.get("archives", {}), books.get("leaving", {}), books.get("tasks", {})
    if archives.get("due"):
        told.append(f"archives, in SKUs: {_flat({what: skus for what, skus in archives.items() if skus})}")
    if waiting := leaving.get("waiting"):
        runs = ", ".join(f"{skus:,} absent from {missed}" for missed, skus in waiting.items())
        told.append(f"SKUs that wait to be archived, after {leaving['after']} complete runs: {runs}")
    if stores := leaving.get("partial"):
        what = "rows that left their store, though not every store, and are not archived"
        if books.get("rollback"):
            what = "rows that cannot be rolled back, since Amazon archives in every store or none"
        told.append(f"{what}: {_flat(stores)}")
    if stores := leaving.get("closed"):
        told.append(
            f"rows that Amazon has in stores that are not configured, and that are not archived: {_flat(stores)}"
        )
    if tasks.get("rows"):
        told.append(
            f"tasks for the stores, where SKUs to archive are on a planogram: {tasks['rows']:,}, {tasks['url']}"
        )
    return told


def _flat(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{column.replace('_', ' ')} {rows:,}" for column, rows in counts.items())
