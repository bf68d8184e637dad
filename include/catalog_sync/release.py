"""Releasing held rows: what a person is shown, and what an approval is worth.

An approval names the hash of the held set of one plan. The run that releases it makes a fresh plan, restricted to the
rows that are still identical, and asks the audit trail first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog_sync.audit import What, after, find, last_answer, record
from catalog_sync.errors import BadInput, shorten
from catalog_sync.plan_summary import as_markdown

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: So many digits of the hash must be given, at least.
DIGITS = 12


def question(run: Run) -> dict[str, Any]:
    """Return what a person is asked about the plan of ``run``: ``rows``, ``hash``, ``subject``, ``body`` (Markdown).

    :raises BadInput: the run has no plan.
    """
    plan = run.plan
    held = plan["held"]
    codes = ", ".join(f"{rows:,} for `{code}`" for code, rows in held["by_code"].items())
    body = (
        f"Run `{run.run_id}` holds {held['rows']:,} rows ({codes}). *Approve* sends, or archives, exactly these rows, "
        f"as far as the sources still say the same, and nothing else. *Reject*, or no answer, keeps them held: the "
        f"next night derives them again.\n\nTo approve, enter this hash below: `{held['hash'][:DIGITS]}`\n\n"
        f"Every change stands in: {', '.join(f'`{run.lake.url(key)}`' for key in plan['lists']) or '–'}\n\n"
        f"{as_markdown(plan)}"
    )
    subject = f"Release {held['rows']:,} held rows to Amazon?"
    return {"rows": held["rows"], "hash": held["hash"], "subject": subject, "body": body}


def approve(run: Run, given: str, who: str, reason: str) -> None:
    """Record that ``who`` approves the held set of the plan of ``run``.

    :param given: the hash as typed, of which the first ``DIGITS`` digits are enough.
    :raises BadInput: the hash is not that of the held set.
    """
    wanted = run.plan["held"]["hash"]
    typed = given.strip().lower()
    if len(typed) < DIGITS or not wanted.startswith(typed):
        raise BadInput(
            f"hash = {shorten(given)!r}: the held set of run {run.run_id} has {wanted[:DIGITS]!r} (at least {DIGITS} "
            "digits are needed); nothing was released. Clear the task 'approve' to be asked again"
        )
    record(run, What.APPROVED, {"hash": wanted, "rows": run.plan["held"]["rows"], "reason": reason}, who)


def reject(run: Run, who: str, reason: str) -> str:
    """Record that ``who`` rejects the held set, or that nobody (an empty name) has answered; return which."""
    details = {"hash": run.plan["held"]["hash"], "rows": run.plan["held"]["rows"], "reason": reason}
    if who:
        record(run, What.REJECTED, details, who)
        return f"rejected by {who}"
    record(run, What.NOT_ANSWERED, details, "(nobody)")
    return "not answered: the rows stay held"


def require_approval(run: Run, by: str) -> None:
    """Raise unless the audit trail has the approval of the held set of ``run``, for the run ``by`` to send.

    The last answer counts: a rejection, or a question asked once more and not answered, withdraws the approval.
    One approval is worth one release: months later the same rows may be due again for another reason.

    :raises BadInput: nobody has approved it, the approval was withdrawn, or another run has sent rows of it.
    """
    entry = find(run, What.APPROVED)
    if entry is None or entry.details.get("hash") != run.plan["held"]["hash"]:
        raise BadInput(
            f"release = {run.run_id!r}: nobody has approved what this run holds; answer in release_held_changes"
        )
    answer = last_answer(run, entry)
    if answer.what != What.APPROVED:
        ended = f"{answer.what} by {answer.who}" if answer.what == What.REJECTED else answer.what
        raise BadInput(
            f"release = {run.run_id!r}: approved by {entry.who}, and then {ended} at {answer.at}: nothing is sent. The "
            "next night asks anew; to release it all the same, clear 'approve' in release_held_changes, then this plan"
        )
    for later in after(run.lake, entry):
        released = later.what in (What.UPLOAD, What.ARCHIVE) and later.details.get("release_of") == run.run_id
        if released and later.run_id != by:
            raise BadInput(
                f"release = {run.run_id!r}: run {later.run_id} has sent these rows at {later.at}; what is held since "
                "then is another question"
            )
