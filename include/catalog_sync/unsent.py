"""Why rows of a plan were not sent, for the books: what kept the last requests for them from Amazon."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from catalog_sync.api.outcomes import Verdict
from catalog_sync.attempts import Attempt, State
from catalog_sync.breaker import Breaker
from catalog_sync.doubt import attempts_of, planned_between
from catalog_sync.lease import Lease
from catalog_sync.run import Kind
from catalog_sync.slices import slices_of
from catalog_sync.upload import uncovered

if TYPE_CHECKING:
    from catalog_sync.run import Run

_NEXT = ". Clear the upload tasks then, or let the next run send what is left"


def why_unsent(run: Run, plan: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that kept rows of the plan from being sent; none when nothing is known of it.

    A circuit breaker that is open now is told of as it stands, one that has closed since as the tasks met it. Of a plan
    that another run has outrun since, the last sentence says how what is left comes to Amazon.
    """
    reasons = []
    outrun = _outrun(run, plan)
    then = "" if outrun else _NEXT
    if left := slices_of(plan) - len(plan["numbers"]):  # these would take a number of their own
        reasons.append(f"{left} of {slices_of(plan)} slices were not begun: see the upload tasks{_NEXT}")
    item = run.ledger.get(f"RUN#{run.run_id}", "RUN") or {}
    if float(item.get("sending_at", 0)) < float(item.get("halted_until", 0)):  # and no task has gone on since
        reasons.append(f"sending was halted: {item['halted_why']}. Mend that{then}")
    last = max(_in_vain(run, plan), key=lambda attempt: attempt.sent_at, default=None)
    held_back = last is not None and last.item.get("verdict") == Verdict.BREAKER_OPEN.value
    if held_back and (state := Breaker.of(run).state()):
        reasons.append(f"{state}{then}")
    elif last is not None and last.item.get("verdict") != Verdict.FORBIDDEN.value:
        reasons.append(f"the last try ended with {last.item.get('verdict')}: {last.item.get('message')}{then}")
    return [*reasons, outrun] if outrun else reasons


def _outrun(run: Run, plan: dict[str, Any]) -> str:
    """Return what is to be done when another run has taken the lease since, which fences this plan; else nothing."""
    number, holder = max(plan["numbers"].values()), Lease.of(run).read()
    if holder.token == number or (holder.owner == run.run_id and holder.since <= number):
        return ""
    told = (
        f"run {holder.owner} has made plan {holder.token} since, so that clearing upload sends nothing of plan "
        f"{number} any more: "
    )
    if run.options.release:
        return f"{told}the next night asks anew about what is left"
    if run.options.kind in (Kind.BACKFILL, Kind.ROLLBACK):
        return f"{told}start it again for what is left"
    for other in map(run.of, planned_between(run, number, holder.token + 1)):
        if other.options.whole and other.options.kind is not Kind.ROLLBACK:
            return f"{told}run {other.run_id} has read everything since, and carries what is left"
    return f"{told}start nightly_catalog_sync by hand for what is left, or wait for the next night"


def _in_vain(run: Run, plan: dict[str, Any]) -> list[Attempt]:
    """Return the attempts that Amazon did not take, and whose rows no other attempt has brought to it."""
    found = []
    for number, attempts in groupby(attempts_of(run).of_run(run.run_id), key=lambda attempt: attempt.key.batch):
        mine = list(attempts)
        gaps = uncovered(plan["batch_list"][number - 1]["items"], mine)
        found += [
            attempt
            for attempt in mine
            if attempt.end is State.REJECTED
            and any(attempt.start < stop and start < attempt.stop for start, stop in gaps)
        ]
    return found
