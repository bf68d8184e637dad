"""A plan that a person can read: per store and in all, what would be sent, what is held and why, with before and after.

``summarize`` makes the JSON that stands in the plan, ``as_markdown`` the text that people see, ``changes_csv`` the list
of every change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.books import DUE_INTO
from catalog_sync.changes import CHANGES, price_moves
from catalog_sync.clock import utc
from catalog_sync.contract.report import people_csv
from catalog_sync.fields import KEY
from catalog_sync.markdown import cell, table
from catalog_sync.tickets import SPAN

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: The columns of the table of stores, with what they are called.
COLUMNS = {
    "active": "Amazon has",
    "new": "new",
    "changed": "changed",
    "reactivated": "reactivated",
    "resent": "sent again",
    "unchanged": "unchanged",
    "suspended": "suspended",
    "rejected": "rejected",
    "in_doubt": "in doubt",
    "held": "held",
    "planned": "to send",
}
_ACTIONS = ("active", "new", "changed", "reactivated", "resent")
#: The largest price moves, and the changes of each field, that are shown.
LARGEST, SAMPLE = 10, 3
#: Percent between the bars of the histogram of price moves; what lies beyond the first and last has a bar of its own.
STEPS = (-50, -20, -10, -5, 0, 5, 10, 20, 50, 100)
_BAR = 24
#: Stores and guards that the Markdown lists; the JSON has all.
_STORES_SHOWN, _GUARDS_SHOWN = 50, 30
#: What makes a store worth looking at, when not all are shown.
_BUSY = ("held", "new", "changed", "reactivated", "rejected", "resent", "planned")


def summarize(
    run: Run, prepared: Iterable[Mapping[str, Any]], counts: Mapping[str, Mapping[str, int]], batches: int
) -> dict[str, Any]:
    """Return what the plan does as JSON.

    :param prepared: the manifests of ``prepare``.
    :param counts: the plan's counts by store.
    :returns: ``stores`` and ``total`` (rows by ``COLUMNS``), ``fields`` (rows by changed field), ``prices`` (``up``,
        ``down``, ``histogram``, ``largest``), ``sample`` (changes, some of each field), ``requests`` and ``seconds``
        (the least time that they take at the rate limit).
    """
    prepared = list(prepared)
    stores: dict[str, Counter[str]] = {}
    fields: Counter[str] = Counter()
    for manifest in prepared:
        for store, actions in manifest["actions"].items():
            stores.setdefault(store, Counter()).update({what: actions.get(what, 0) for what in _ACTIONS})
            fields.update(actions.get("fields", {}))
    for store, line in counts.items():
        stores.setdefault(store, Counter()).update({what: line.get(what, 0) for what in COLUMNS if what in line})
    lines = {store: {what: one[what] for what in COLUMNS} for store, one in sorted(stores.items())}
    seen = _Seen()
    for manifest in prepared:
        for key in manifest["changes"]:
            seen.add(run.lake.get_frame(key))
    return {
        "stores": lines,
        "total": {what: sum(one[what] for one in lines.values()) for what in COLUMNS},
        "fields": dict(fields.most_common()),
        "prices": seen.prices(),
        "sample": seen.sample.sort("field", *KEY).to_dicts(),
        "requests": batches,
        "seconds": round(batches * SPAN / run.settings.api.rate, 1),
    }


@dataclass
class _Seen:
    """What is shown of all changes, gathered from one part after the other."""

    bars: list[int] = field(default_factory=lambda: [0] * (len(STEPS) + 1))
    up: int = 0
    down: int = 0
    other: int = 0
    largest: pl.DataFrame = field(default_factory=lambda: price_moves(pl.DataFrame(schema=CHANGES)))
    sample: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CHANGES))

    def add(self, changed: pl.DataFrame) -> None:
        """Look at some more changes."""
        moves = price_moves(changed)
        percent = moves["percent"]
        self.up += int((percent > 0).sum())
        self.down += int((percent < 0).sum())
        self.other += percent.null_count()
        for low, high, number in zip((None, *STEPS), (*STEPS, None), range(len(self.bars)), strict=True):
            above = pl.lit(True) if low is None else pl.col("percent") >= low
            below = pl.lit(True) if high is None else pl.col("percent") < high
            self.bars[number] += moves.filter(above & below & pl.col("percent").is_not_null()).height
        both = pl.concat([self.largest, moves])
        order = both.sort(pl.col("percent").abs(), *KEY, descending=[True, False, False], nulls_last=True)
        self.largest = order.head(LARGEST)
        first = pl.int_range(pl.len()).over("field") < SAMPLE
        self.sample = pl.concat([self.sample, changed.filter(first)]).filter(first)

    def prices(self) -> dict[str, Any]:
        """Return the price moves as JSON."""
        spans = zip((None, *STEPS), (*STEPS, None), self.bars, strict=True)
        return {
            "up": self.up,
            "down": self.down,
            "without_percentage": self.other,
            "histogram": [{"from": low, "to": high, "rows": rows} for low, high, rows in spans],
            "largest": self.largest.to_dicts(),
        }


def changes_csv(marked: pl.DataFrame, changed: pl.DataFrame) -> bytes:
    """Return one line for each field that changes, or for each other row that is due, as CSV for a spreadsheet.

    :param marked: rows with ``KEY``, ``action``, ``booked`` and ``hold``.
    :param changed: lines of ``changes``, at least of those rows.
    """
    rows = marked.select(*KEY, "action", "booked", "hold").join(changed, on=list(KEY), how="left")
    return people_csv(rows)


def as_markdown(plan: Mapping[str, Any]) -> str:
    """Return the plan as Markdown: what it does in a sentence, the guards, and the tables."""
    summary = plan["summary"]
    leaving = _leaving(plan.get("leaving", {}))
    parts = [_headline(plan), _rollback(plan), _asked(plan), _guards(plan), _stores(summary), leaving]
    if summary["fields"]:
        parts.append("### Changed fields\n\n" + table(("field", "rows"), summary["fields"].items()))
        parts.append(_price_text(summary["prices"]))
        sample = [
            (one["store_id"], one["item_sku"], one["field"], one["before"], one["after"]) for one in summary["sample"]
        ]
        parts.append("### For example\n\n" + table(("store", "SKU", "field", "before", "after"), sample))
    return "\n\n".join(part for part in parts if part)


def _headline(plan: Mapping[str, Any]) -> str:
    summary, held = plan["summary"], plan["held"]
    name = "Plan (dry run)" if plan["dry_run"] else f"Plan {plan['plan_number']}"
    text = (
        f"## {name}\n\n**{plan['rows']:,} rows to send** in {_counted(summary['requests'], 'request')}, "
        f"{summary['seconds']:g} s at the rate limit."
    )
    if held["rows"]:
        since = f"{utc(held['since']):%Y-%m-%d %H:%M} UTC"
        text += f" **{held['rows']:,} rows are held**, the oldest since {since}; their hash is `{held['hash'][:12]}`."
    return text


def _asked(plan: Mapping[str, Any]) -> str:
    """Say what the run was asked for, and what of that is not there."""
    told = [f"Asked for: {cell(plan['asked'], 600)}."] if plan.get("asked") else []
    return "\n\n".join([*told, *(f"**Not found:** {cell(one, 600)}." for one in plan.get("missing", ()))])


def _guards(plan: Mapping[str, Any]) -> str:
    lines = [f"- `{one['code']}` {cell(one['message'], 400)}" for one in plan["guards"][:_GUARDS_SHOWN]]
    if len(plan["guards"]) > _GUARDS_SHOWN:
        lines.append(f"- … {len(plan['guards']) - _GUARDS_SHOWN} more, in plan.json")
    return "### Guards that tripped\n\n" + "\n".join(lines) if lines else ""


def _rollback(plan: Mapping[str, Any]) -> str:
    """Say to what a rollback goes back, what of that cannot be, and what comes after it."""
    target, leaving = plan.get("rollback"), plan.get("leaving", {})
    if not target:
        return ""
    cannot = [f"{rows:,} rows of {store}, which is not configured" for store, rows in target["not_configured"].items()]
    cannot += [
        f"{rows:,} rows that {store} did not have then, while other stores did: Amazon archives in every store or none"
        for store, rows in leaving["partial"].items()
    ]
    if leaving["elsewhere"]:
        cannot.append(f"{leaving['elsewhere']:,} SKUs of no store then, which stores that are not chosen have now")
    total = plan["summary"]["total"]
    for what, words in (("rejected", "break the rules of today"), ("suspended", "were refused by Amazon lately")):
        if total[what]:
            cannot.append(f"{total[what]:,} rows that {words}")
    told = "\n".join(f"- {cell(one, 300)}" for one in cannot)
    return (
        f"### Rollback\n\nTo {cell(target['words'], 300)}. **The next night goes forward again** to what the sources "
        "say, unless the source is mended before, or `nightly_catalog_sync` is paused."
        + (f"\n\nThis cannot be rolled back:\n\n{told}" if told else "")
    )


def _leaving(leaving: Mapping[str, Any]) -> str:
    """Return what leaves: SKUs to archive and why others wait, partial leavers and closed stores."""
    if not leaving:
        return ""
    books, after = leaving["books"], leaving["after"]
    rows = [(f"SKUs to archive: {what.replace('_', ' ')}", books[what]) for what in DUE_INTO if books[what]]
    rows += [(f"SKUs absent from {runs} of {after} complete runs", skus) for runs, skus in leaving["waiting"].items()]
    rows += [(f"rows that left {store}, though not every store", n) for store, n in leaving["partial"].items()]
    rows += [(f"rows of {store}, which is not configured", n) for store, n in leaving["closed"].items()]
    if not rows:
        return ""
    why = f"\n\nNothing is archived in this run: {cell(leaving['why_not'], 400)}." if leaving["why_not"] else ""
    return "### Leaving\n\n" + table(("what", ""), rows[:_STORES_SHOWN]) + why


def _stores(summary: Mapping[str, Any]) -> str:
    shown = {what: title for what, title in COLUMNS.items() if summary["total"][what]}
    if not shown:
        return "Nothing was read, and nothing changes."
    lines = summary["stores"]
    busiest = sorted(lines, key=lambda store: [-lines[store][what] for what in _BUSY])[:_STORES_SHOWN]
    rows = [(store, *(lines[store][what] for what in shown)) for store in sorted(busiest)]
    if len(lines) > _STORES_SHOWN:
        rows.append((f"… {len(lines) - _STORES_SHOWN} more with less to see", *("" for _ in shown)))
    rows.append(("all", *(summary["total"][what] for what in shown)))
    return "### Stores\n\n" + table(("store", *shown.values()), rows)


def _price_text(prices: Mapping[str, Any]) -> str:
    moved = prices["up"] + prices["down"] + prices["without_percentage"]
    if not moved:
        return ""
    most = max(bar["rows"] for bar in prices["histogram"]) or 1
    bars = [
        (_span(bar), bar["rows"], "█" * max(1, round(_BAR * bar["rows"] / most)))
        for bar in prices["histogram"]
        if bar["rows"]
    ]
    largest = [
        (one["store_id"], one["item_sku"], one["before"], one["after"], _percent(one["percent"]))
        for one in prices["largest"]
    ]
    return (
        f"### Price moves\n\n{prices['up']:,} up, {prices['down']:,} down, {prices['without_percentage']:,} that "
        "appear, disappear or were 0.\n\n"
        + (table(("move", "rows", ""), bars) + "\n\n" if bars else "")
        + "The largest:\n\n"
        + table(("store", "SKU", "before", "after", "move"), largest)
    )


def _span(bar: Mapping[str, Any]) -> str:
    if bar["from"] is None:
        return f"below {bar['to']} %"
    return f"{bar['from']:+} % and more" if bar["to"] is None else f"{bar['from']:+} to {bar['to']:+} %"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+,.1f} %"
