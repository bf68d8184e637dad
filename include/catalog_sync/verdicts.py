"""What can be said of an item in the end, who must act, and what they should do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from catalog_sync.advice import ADVICE
from catalog_sync.contract.codes import Code
from catalog_sync.guards import Guard

#: Who acts.
NOBODY, OWNER, ENGINEER, STORE = "nobody", "the owner of the source", "the data engineer", "the store"


class Verdict(StrEnum):
    """What became of an item."""

    IN_STEP = "in_step"
    DUE = "due"
    SENT = "sent"
    OVERDUE = "overdue"
    REFUSED = "refused"
    SUSPENDED = "suspended"
    REJECTED = "rejected"
    HELD = "held"
    IN_DOUBT = "in_doubt"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNSENT = "unsent"
    UNDER_WAY = "under_way"
    LEFT = "left"
    LEAVING = "leaving"
    ARCHIVE_REFUSED = "archive_refused"
    ARCHIVED = "archived"
    ABSENT = "absent"


#: What an event says, strongest first.
_OF_EVENT = {
    "acknowledged": Verdict.IN_STEP,
    "archived": Verdict.ARCHIVED,
    "refused": Verdict.REFUSED,
    "archive_refused": Verdict.ARCHIVE_REFUSED,
    "failed": Verdict.FAILED,
    "archive_failed": Verdict.FAILED,
    "unknown": Verdict.UNKNOWN,
    "archive_unknown": Verdict.UNKNOWN,
    "held": Verdict.HELD,
    "in_doubt": Verdict.IN_DOUBT,
    "suspended": Verdict.SUSPENDED,
    "rejected": Verdict.REJECTED,
}
#: Amazon's codes are not public: its message says what is wrong.
REFUSAL_ADVICE = (
    "Mend what Amazon's message names. Changed content is sent by the next run; unchanged it is tried once a night, "
    "and rests for a week after three refusals."
)


@dataclass(frozen=True)
class _Says:
    title: str
    who: str
    advice: str


_SAYS = {
    Verdict.IN_STEP: _Says("Amazon has it as the source last had it", NOBODY, "Nothing to do."),
    Verdict.DUE: _Says("Planned; its upload has not begun", NOBODY, "Wait: the run is at work."),
    Verdict.SENT: _Says(
        "Sent; Amazon has not reported yet", NOBODY, "Wait: Amazon usually reports within minutes (results.expect)."
    ),
    Verdict.OVERDUE: _Says(
        "Sent, and Amazon's report is late",
        ENGINEER,
        "Look at the page's 'Stuck and held'. The status API is asked after results.poll_after, and after "
        "results.give_up_after the row is sent again by the next run; call Amazon with the ingestion id if many wait.",
    ),
    Verdict.REFUSED: _Says("Amazon refused it", OWNER, REFUSAL_ADVICE),
    Verdict.SUSPENDED: _Says(
        "Not sent: Amazon refused the same content before",
        OWNER,
        "Mend the item in the source, and the next run sends it. To have it tried as it is, run backfill_catalog with "
        "this SKU and 'resend'.",
    ),
    Verdict.REJECTED: _Says("Rejected before it was sent: the row breaks a rule", OWNER, "Mend the row in the source."),
    Verdict.HELD: _Says(
        "Held: too much would change at once",
        ENGINEER,
        "Answer the question of release_held_changes, or mend the source; the next night derives it again.",
    ),
    Verdict.IN_DOUBT: _Says(
        "Not sent now: it was sent a short time ago and Amazon may still apply that",
        NOBODY,
        "Wait: the next run sends it once the earlier request is settled or results.give_up_after has passed.",
    ),
    Verdict.FAILED: _Says(
        "Sent, and the upload as a whole failed at Amazon",
        NOBODY,
        "The follow-up run or the next night sends it again. If it fails night after night, call Amazon with the "
        "ingestion id.",
    ),
    Verdict.UNKNOWN: _Says(
        "Sent, and no report told what became of it",
        NOBODY,
        "A late report settles it; else the next run sends it again, whatever Amazon has.",
    ),
    Verdict.UNSENT: _Says(
        "Planned, but not sent",
        ENGINEER,
        "Look at the red upload task of the run: its log says what kept it. The next run sends what is left.",
    ),
    Verdict.UNDER_WAY: _Says("The run that read it is still at work: it has no books yet", NOBODY, "Wait for its end."),
    Verdict.LEFT: _Says(
        "No source has it in this store any more; Amazon still does",
        OWNER,
        "If it should still be sold, put it back into the source. Amazon's row stays until the SKU has left every "
        "store and is archived.",
    ),
    Verdict.LEAVING: _Says(
        "No source has it any more, in any store: it is going to be archived",
        NOBODY,
        "If it should still be sold, its owner puts it back into the source before that. The books of the next runs "
        "say whether a guard holds the archive.",
    ),
    Verdict.ARCHIVE_REFUSED: _Says(
        "No source has it any more, and Amazon refused to archive it",
        STORE,
        "Take the item off the shelf, and give its place to another with the Planogram tool of the handheld, at every "
        "location. The next runs ask again; after three refusals once a week. If Amazon's message names something "
        "else, the data engineer mends that.",
    ),
    Verdict.ARCHIVED: _Says(
        "Archived at Amazon", NOBODY, "It becomes active again when a source has it and the next run sends it."
    ),
    Verdict.ABSENT: _Says(
        "Nothing is known of it",
        OWNER,
        "Look at the spelling of SKU and store. If it is right, no source has had the row: add it there.",
    ),
}
#: What is held for another reason than a guard on what a plan changes.
_HELD = {
    "BARCODE_WAITS": _Says(
        "Waits for its barcode: another SKU of the store gives it up in this run",
        NOBODY,
        "Nothing to do: the next run sends it.",
    ),
    **dict.fromkeys(
        (Guard.SOURCE_STALE.value, Guard.SOURCE_SHORT.value, Guard.SOURCE_EMPTY.value),
        _Says(
            "Held: a source it comes from is stale, short or empty",
            ENGINEER,
            "Mend the source's export. If it is right as it is, answer the question of release_held_changes.",
        ),
    ),
}


def of_events(events: Iterable[Mapping[str, Any]]) -> Verdict:
    """Return what the events of a run say of an item in one store.

    An item may be told of twice: refused first, acknowledged when it was sent again.
    """
    said = {event["what"] for event in events}
    return next((verdict for what, verdict in _OF_EVENT.items() if what in said), Verdict.UNKNOWN)


def of_requests(requests: Sequence[Mapping[str, Any]], over: bool, now: float, expect: float) -> Verdict:
    """Return what became of an item that a plan has in a batch.

    :param requests: those that carried it, as ``trace.attempts`` tells of them.
    :param over: whether the run has books.
    :param expect: seconds in which Amazon's report is expected.
    """
    outcomes = {one["outcome"] for one in requests}
    for what in ("acknowledged", "archived", "refused", "archive_refused", "failed", "archive_failed"):
        if what in outcomes:
            return _OF_EVENT[what]
    open_ones = [one for one in requests if one["state"] not in ("REJECTED", "FAILED", "REFUSED")]
    if any(one["state"] == "FAILED" for one in requests) and not open_ones:
        return Verdict.FAILED
    if not open_ones:
        return Verdict.UNSENT if over else Verdict.DUE
    if outcomes & {"unknown", "archive_unknown"} or any(one["state"] == "UNKNOWN" for one in open_ones):
        return Verdict.UNKNOWN
    return Verdict.OVERDUE if now - max(one["sent_at"] for one in open_ones) > expect else Verdict.SENT


def explain(verdict: Verdict, codes: Sequence[str] = (), said: str = "") -> dict[str, Any]:
    """Return ``verdict``, ``title``, ``who`` (must act), ``advice``, ``codes`` and ``said`` (the message with it).

    :param codes: the codes of the contract, of a guard or of Amazon that go with the verdict.
    :param said: the message that goes with them.
    """
    told = _SAYS[verdict]
    if verdict is Verdict.HELD:
        told = next((_HELD[code] for code in codes if code in _HELD), told)
    advice = " ".join(advice_of(code) for code in dict.fromkeys(codes)).strip() if verdict is Verdict.REJECTED else ""
    return {
        "verdict": verdict.value,
        "title": told.title,
        "who": told.who,
        "advice": advice or told.advice,
        "codes": list(dict.fromkeys(codes)),
        "said": said,
    }


def advice_of(code: str) -> str:
    """Return what to do about a code of the contract; empty for any other code."""
    return ADVICE[Code(code)] if code in set(Code) else ""
