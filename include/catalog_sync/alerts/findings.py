"""What a run's books say that a person must know: judged once, when the run has been accounted for.

A run about a part of the catalog can find that something is wrong, and knows nothing of what the whole is like: only a
run about all of it ends what an earlier one has begun. A release ends the alert about held rows once nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from catalog_sync.alarms import Alarms, is_lost, without_notice
from catalog_sync.alerts.book import Finding
from catalog_sync.alerts.kinds import Kind
from catalog_sync.attempts import Attempt, State
from catalog_sync.errors import shorten
from catalog_sync.guards import Guard, too_many
from catalog_sync.run import Kind as RunKind

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Rows that Amazon does not have as they should be, and that no later part of the run mends.
DRIFTING = ("suspended", "in_doubt", "unsent", "failed", "unknown")
_SOURCES = {
    Guard.SOURCE_STALE.value: Kind.SOURCE_STALE,
    Guard.SOURCE_SHORT.value: Kind.SOURCE_SHORT,
    Guard.SOURCE_EMPTY.value: Kind.SOURCE_SHORT,
}
_BROKEN = (State.FATAL, State.CANCELLED, State.FAILED)


@dataclass
class Judgement:
    """What was found, and the kinds that were judged: what is open of these and was not found is over."""

    findings: list[Finding] = field(default_factory=list)
    kinds: set[Kind] = field(default_factory=set)
    #: Whether the run was about the whole catalog.
    whole: bool = False


@dataclass(frozen=True)
class Seen:
    """What the run has left: its books and its attempts. ``whole``: it was about the whole catalog."""

    run: Run
    books: dict[str, Any]
    attempts: list[Attempt]
    whole: bool


def judge(run: Run, books: dict[str, Any]) -> Judgement:
    """Return what the books of a run say that a person must know.

    :param books: what ``account`` has returned, of a run that is no dry run.
    """
    from catalog_sync.doubt import attempts_of
    from catalog_sync.held import nothing_is_held

    options = run.options
    whole = options.whole
    made = Judgement(whole=whole)
    seen = Seen(run, books, attempts_of(run).of_run(run.run_id), whole)
    _note_allowed(seen)
    for kinds, find in _JUDGES:
        if (found := find(seen)) is not None:
            made.findings += found
            made.kinds.update(kinds if whole else ())
    if options.release and books["state"] == "complete" and nothing_is_held(run):
        made.kinds.add(Kind.ROWS_HELD)
    return made


def _ended(seen: Seen) -> list[Finding]:
    kind = {"incomplete": Kind.RUN_INCOMPLETE, "unbalanced": Kind.BOOKS_UNBALANCED}.get(seen.books["state"])
    if kind is None:
        return []
    why = "; ".join(shorten(problem, 300) for problem in seen.books["problems"][:5])
    return [Finding(kind, f"run {seen.run.run_id}: {why}", seen.run.options.kind.value)]


def _held(seen: Seen) -> list[Finding] | None:
    from catalog_sync.held import nothing_is_held

    held = seen.books["held"]
    if not held.get("rows") or nothing_is_held(seen.run):  # a release may have sent it since
        return [] if "rows" in held else None
    codes = ", ".join(f"{code} {rows:,}" for code, rows in held["by_code"].items())
    what = f"{held['rows']:,} rows are held ({codes}): answer in release_held_changes, or mend the source"
    return [Finding(Kind.ROWS_HELD, what, since=held["since"])]


def _sources(seen: Seen) -> list[Finding] | None:
    if not seen.books["plan"] or seen.run.options.kind is RunKind.ROLLBACK:  # which reads no source
        return None
    guards = seen.books["guards"]
    found = [Finding(_SOURCES[one["code"]], one["message"], one["source"]) for one in guards if one["code"] in _SOURCES]
    empty = [one["store"] for one in guards if one["code"] == Guard.STORE_EMPTY]
    if empty:
        named = f"{', '.join(empty[:10])}{' …' if len(empty) > 10 else ''}"
        what = f"loaded before, and without a row in any source: {len(empty):,} stores ({named}); nothing was removed"
        found.append(Finding(Kind.STORE_EMPTY, what))
    return found


def _refused(seen: Seen) -> list[Finding] | None:
    total, limit = seen.books["total"], seen.run.settings.alerts.refused
    refused, sent = total["refused"], total["sent"]
    if not sent:
        return None
    found = []
    if too_many(refused, sent, limit):
        share = f"{100 * refused / sent:.1f} %; the limit is {limit.percent:g} %"
        what = f"run {seen.run.run_id}: Amazon refused {refused:,} of {sent:,} rows, {share}"
        found.append(Finding(Kind.ROWS_REFUSED, what))
    whole = [one for one in seen.attempts if one.end is State.REFUSED and one.rows > 1]
    if whole:
        rows, said = sum(one.rows for one in whole), shorten(whole[0].item.get("message", ""), 200)
        what = f"run {seen.run.run_id}: {rows:,} rows were refused together, without a report: {said}"
        found.append(Finding(Kind.BATCH_REFUSED, what))
    return found


def _broken(seen: Seen) -> list[Finding] | None:
    if not seen.books["plan"]:
        return None
    broken = [one for one in seen.attempts if one.end in _BROKEN]
    if not broken:
        return []
    rows, ends = sum(one.rows for one in broken), ", ".join(sorted({one.end.value for one in broken}))
    said = shorten(next((one.item["message"] for one in broken if one.item.get("message")), ""), 200)
    what = (
        f"run {seen.run.run_id}: {len(broken):,} uploads with {rows:,} rows ended {ends}{f' ({said})' if said else ''}"
    )
    return [Finding(Kind.UPLOADS_FAILED, f"{what}; the next run derives the rows again")]


def _drifts(seen: Seen) -> list[Finding] | None:
    if not (seen.books["plan"] and seen.whole):
        return None
    total, limit = seen.books["total"], seen.run.settings.alerts.drift
    rows, read = sum(total[column] for column in DRIFTING), total["read"]
    if not too_many(rows, read, limit):
        return []
    parts = ", ".join(f"{column.replace('_', ' ')} {total[column]:,}" for column in DRIFTING if total[column])
    share = f"{100 * rows / read:.1f} %; the limit is {limit.percent:g} %"
    what = f"Amazon does not have {rows:,} of {read:,} rows as they should be ({parts}), {share}"
    return [Finding(Kind.DRIFT, what)]


def _notices(seen: Seen) -> list[Finding] | None:
    from catalog_sync.doubt import attempts_of

    lost, done = without_notice(seen.run, attempts_of(seen.run))
    if not done:
        return None
    what = f"no notice came for {lost:,} of {done:,} uploads; the status API had to be asked"
    return [Finding(Kind.LOST_SUBSCRIPTION, what)] if is_lost(lost, done) else []


def _note_allowed(seen: Seen) -> None:
    """Note when Amazon last took an upload of this run: a refusal that was noted before is over."""
    taken = [float(one.item["accepted_at"]) for one in seen.attempts if "accepted_at" in one.item]
    if taken:
        Alarms.of(seen.run).allowed("upload", max(taken))


#: Which kinds each judge knows all about; one that returns ``None`` has nothing to judge by.
_JUDGES: tuple[tuple[tuple[Kind, ...], Callable[[Seen], list[Finding] | None]], ...] = (
    ((Kind.RUN_INCOMPLETE, Kind.BOOKS_UNBALANCED), _ended),
    ((Kind.ROWS_HELD,), _held),
    ((Kind.SOURCE_STALE, Kind.SOURCE_SHORT, Kind.STORE_EMPTY), _sources),
    ((Kind.ROWS_REFUSED, Kind.BATCH_REFUSED), _refused),
    ((Kind.UPLOADS_FAILED,), _broken),
    ((Kind.DRIFT,), _drifts),
    ((Kind.LOST_SUBSCRIPTION,), _notices),
)
