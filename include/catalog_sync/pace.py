"""How a run's requests get on: batches by state, requests against the limit, and how long Amazon takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catalog_sync.attempts import ENDED, NOT_TAKEN, Attempt, State
from catalog_sync.doubt import attempts_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Upper edges, in seconds, of the bars that show how long Amazon took; the last bar has what took longer.
EDGES = (30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200)
#: Where a batch stands, by what its attempts say; in the order in which they are shown.
PHASES = ("waiting", "sending", "accepted", "in_queue", "in_progress", "reported", "acknowledged", "failed", "unknown")

_PHASE = {
    State.SENDING: "sending",
    State.ACCEPTED: "accepted",
    State.INQUEUE: "in_queue",
    State.INPROGRESS: "in_progress",
    State.DONE: "reported",
    State.UNKNOWN: "unknown",
}


def pace(attempts: Sequence[Attempt], sizes: Mapping[int, int]) -> dict[str, Any]:
    """Return how the uploads and archives of a run get on.

    :param attempts: the run's, by batch and number.
    :param sizes: how many items each batch has, by its number: rows to upload, or SKUs to archive.
    :returns: ``batches`` (how many in each of ``PHASES``), ``items_done`` of ``items`` (in requests that came to an
        end), ``requests`` (made), ``polls`` (status calls), ``minutes`` (``[minute, requests, busiest]``, a minute in
        Unix seconds, and the most requests that started within one of its seconds), ``busiest`` (the same of the whole
        run), ``took`` (``p50``, ``p95`` and ``most`` seconds from sending to Amazon's end, and ``bars``: counts by
        ``EDGES``), ``first_sent`` and ``last_ended``.
    """
    sent = sorted(attempt.sent_at for attempt in attempts)
    minutes = _minutes(sent)
    phases = _phases(attempts, len(sizes))
    return {
        "batches": {phase: phases[phase] for phase in PHASES},
        "items": sum(sizes.values()),
        "items_done": _covered(attempt for attempt in attempts if _is_over(attempt)),
        "requests": len(sent),
        "polls": sum(int(attempt.item.get("polls", 0)) for attempt in attempts),
        "minutes": minutes,
        "busiest": max((busiest for _, _, busiest in minutes), default=0),
        "took": _took(attempts),
        "first_sent": sent[0] if sent else None,
        "last_ended": max((float(a.item["ended_at"]) for a in attempts if "ended_at" in a.item), default=None),
    }


def pace_of(run: Run, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of a run.

    :param plan: its plan; empty when it has none (yet).
    """
    sizes = {int(batch["number"]): int(batch["items"]) for batch in plan.get("batch_list", ())}
    return pace(attempts_of(run).of_run(run.run_id), sizes)


def _covered(attempts: Iterable[Attempt]) -> int:
    """Return how many items the attempts carry, each counted once however often it was sent."""
    items, end = 0, (0, 0)
    for batch, start, stop in sorted((one.key.batch, one.start, one.stop) for one in attempts):
        first = max(start, end[1]) if batch == end[0] else start
        items += max(0, stop - first)
        end = (batch, max(stop, end[1]) if batch == end[0] else stop)
    return items


def _is_over(attempt: Attempt) -> bool:
    return attempt.end in ENDED or attempt.end in (State.REFUSED, State.FAILED)


def _phases(attempts: Iterable[Attempt], batches: int) -> Counter[str]:
    """Return how many batches are in each phase; of a batch that was sent in parts or again, the least one counts."""
    of_batch: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        of_batch.setdefault(attempt.key.batch, []).append(attempt)
    found = Counter(_phase_of(mine) for mine in of_batch.values())
    found["waiting"] += batches - len(of_batch)
    return found


def _phase_of(attempts: Iterable[Attempt]) -> str:
    mine = [_phase(attempt) for attempt in attempts if attempt.end is not State.REJECTED]
    return min(mine, key=PHASES.index) if mine else "waiting"


def _phase(attempt: Attempt) -> str:
    if attempt.end in (State.FATAL, State.CANCELLED) or attempt.end in NOT_TAKEN:
        return "failed"
    if attempt.state is State.SETTLED:
        return "acknowledged" if attempt.end is State.DONE else "unknown"
    return _PHASE[attempt.state]


def _minutes(sent: Sequence[float]) -> list[list[int]]:
    """Return a line for each minute in which an upload started; a second counts where its last upload started.

    :param sent: when each upload started, in order.
    """
    lines: dict[int, list[int]] = {}
    first = 0
    for last, at in enumerate(sent):
        while at - sent[first] >= 1.0:
            first += 1
        minute = int(at // 60) * 60
        line = lines.setdefault(minute, [minute, 0, 0])
        line[1] += 1
        line[2] = max(line[2], last - first + 1)
    return list(lines.values())


def _took(attempts: Iterable[Attempt]) -> dict[str, Any]:
    seconds = sorted(
        max(0.0, float(attempt.item["ended_at"]) - attempt.sent_at)
        for attempt in attempts
        if attempt.end in ENDED and "ended_at" in attempt.item
    )
    bars = Counter(sum(one > edge for edge in EDGES) for one in seconds)
    return {
        "p50": _percentile(seconds, 50),
        "p95": _percentile(seconds, 95),
        "most": round(seconds[-1]) if seconds else None,
        "bars": [bars[n] for n in range(len(EDGES) + 1)],
        "edges": list(EDGES),
    }


def _percentile(values: Sequence[float], percent: int) -> int | None:
    """Return the nearest-rank percentile in whole seconds."""
    return round(values[max(0, -(-len(values) * percent // 100) - 1)]) if values else None
