"""Notices to the owners of sources: what was rejected, warned of and repaired in their rows, in their own words.

They are files of the run, ``notices/source-<name>.json``, ``.md`` and ``.csv``, and messages through the channels of
``notify.sources``. A source has the same faults every night until somebody mends them, so a message goes out only
when there is something new: a line that the last run over everything did not have. Which run that was stands in the
ledger: ``NOTICES#<retailer>`` / ``SOURCE#<name>``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.clock import iso, utc
from catalog_sync.contract.report import people_csv
from catalog_sync.keyed import within
from catalog_sync.markdown import cell, table
from catalog_sync.notify import Message, Severity
from catalog_sync.source_lines import KEPT, REJECTED, WHATS, Findings, findings

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Lines of each code that the text and the JSON list.
LISTED = 10
_TITLES = {"rejected": "Rejected: not sent", "warned": "Sent, but doubtful", "repaired": "Repaired, and sent"}
#: What makes a line the same as one of another night: not the row's number.
_SAME = ["what", "code", "store_id", "item_sku", "column", "before", "message"]
_SHOWN = {"row": "row", "store_id": "store", "item_sku": "SKU", "column": "column", "before": "value"}


def make_source_notices(run: Run) -> list[dict[str, Any]]:
    """Write the notices of this run, or return those that stand.

    :returns: for each source that was read ``source``, ``subject``, ``severity``, ``rows`` (by what and code), ``new``
        (lines by what) and ``files`` (lake keys).
    """
    made = run.lake.once(run.key("notices-parts/sources.json"), lambda: _make(run))
    if _over_everything(run):
        for one in made:
            _remember(run, one)
    return list(made)


def source_messages(run: Run, notices: list[dict[str, Any]]) -> Iterator[tuple[str, Message]]:
    """Yield a message for each notice that has something new, with the name under which it is sent once."""
    for one in notices if _over_everything(run) else ():
        if any(one["new"].values()):
            text = run.lake.get(one["files"]["md"]).decode()
            about = {"kind": "source", "source": one["source"], "run": run.run_id}
            yield f"source/{one['source']}", Message(Severity(one["severity"]), one["subject"], text, about=about)


def _over_everything(run: Run) -> bool:
    asked = run.options
    return not (asked.stores or asked.narrowed or asked.release or asked.dry_run)


def _make(run: Run) -> list[dict[str, Any]]:
    return [_write(run, name, found) for name, found in findings(run).items()]


def _write(run: Run, name: str, found: Findings) -> dict[str, Any]:
    lines = _with_new(run, name, found.lines)
    rows: dict[str, dict[str, int]] = {what: {} for what in WHATS}
    for (what, code), count in sorted(found.rows.items()):
        rows[what][code] = count
    new = dict(lines.filter("new").group_by("what").len().iter_rows())
    told = ", ".join(f"{found.total[what]:,} {what}" for what in WHATS if found.total[what]) or "nothing to mend"
    several = f"; {sum(new.values()):,} new" if new else ""
    notice: dict[str, Any] = {
        "source": name,
        "subject": f"Source {name}: {told}{several}",
        "severity": (Severity.WARNING if new.get(REJECTED) else Severity.INFO).value,
        "rows": rows,
        "new": {what: int(new.get(what, 0)) for what in WHATS},
        "made_at": iso(run.clock.time()),
    }
    stem = run.key(f"notices/source-{name}-{run.token()}")
    notice["files"] = {kind: f"{stem}.{kind}" for kind in ("md", "json", "csv", "parquet")}
    run.lake.put_frame(notice["files"]["parquet"], lines)
    run.lake.put(notice["files"]["csv"], people_csv(lines))
    run.lake.put(notice["files"]["md"], _as_markdown(run, notice, lines).encode())
    listed = {
        f"{what}/{code}": _listed(lines, what, code).drop("what", "code").to_dicts()
        for what in WHATS
        for code in rows[what]
    }
    whole = {**notice, "run_id": run.run_id, "listed": listed}
    run.lake.put(notice["files"]["json"], json.dumps(whole, ensure_ascii=False, indent=1).encode())
    return notice


def _with_new(run: Run, name: str, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines, those first that the last run over everything did not have (``new``)."""
    last = run.ledger.get(f"NOTICES#{run.settings.retailer}", f"SOURCE#{name}")
    if not last or not run.lake.exists(str(last["key"])):
        return lines.with_columns(new=pl.lit(True))
    plain = [pl.col(column).fill_null("") for column in _SAME]
    known = within(lines.select(plain).with_row_index("_n"), run.lake.get_frame(str(last["key"])).select(plain), _SAME)
    numbered = lines.with_row_index("_n").with_columns(new=~pl.col("_n").is_in(known["_n"].implode()))
    return numbered.drop("_n").sort(~pl.col("new"), maintain_order=True)


def _remember(run: Run, notice: Mapping[str, Any]) -> None:
    """Note that this run's lines are what the next run compares its own with; an older run changes nothing."""
    started = float(run.manifest["started_at"])
    run.ledger.update(
        f"NOTICES#{run.settings.retailer}",
        f"SOURCE#{notice['source']}",
        {"key": notice["files"]["parquet"], "run_id": run.run_id, "at": started},
        "attribute_not_exists(#at) OR #at < :started",
        {"started": started},
    )


def _listed(lines: pl.DataFrame, what: str, code: str) -> pl.DataFrame:
    return lines.filter(what=what, code=code).head(LISTED)


def _as_markdown(run: Run, notice: Mapping[str, Any], lines: pl.DataFrame) -> str:
    parts = [f"# {cell(notice['subject'], 200)}"]
    for what, codes in notice["rows"].items():
        if not codes:
            continue
        parts.append(f"## {_TITLES[what]}")
        new = dict(lines.filter("new", what=what).group_by("code").len().iter_rows())
        advice = dict(lines.filter(what=what).select("code", "what_to_do").unique().iter_rows())
        overview = [(code, rows, int(new.get(code, 0)), advice.get(code) or "") for code, rows in codes.items()]
        parts.append(table(("code", "rows", "new", "what to do"), overview, 300))
        for code in codes:
            parts.append(_examples(_listed(lines, what, code), what, code))
    started = utc(float(run.manifest["started_at"]))
    cut = f" (the first {KEPT:,})" if len(lines) == KEPT else ""
    all_lines = cell(run.lake.url(notice["files"]["csv"]), 500)
    parts.append(f"Run `{run.run_id}`, {started:%Y-%m-%d %H:%M} UTC. All lines{cut}: {all_lines}")
    return "\n\n".join(parts) + "\n"


def _examples(lines: pl.DataFrame, what: str, code: str) -> str:
    last = {"after": "became"} if what == "repaired" else {"message": "why"}
    files = {"file": "file"} if any(lines["file"]) else {}
    shown = {"new": "", **files, **_SHOWN, **last}
    marked = lines.with_columns(new=pl.when("new").then(pl.lit("new")).otherwise(pl.lit("")))
    rows = marked.select(list(shown)).with_columns(pl.col("row").cast(pl.String)).fill_null("").iter_rows()
    return f"`{code}`, for example:\n\n{table(shown.values(), rows)}"
