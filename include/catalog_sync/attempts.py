"""Attempts: every request to Amazon for a range of a batch's items, recorded before it is sent and followed to its end.

    SENDING → ACCEPTED → INQUEUE → INPROGRESS → DONE | CANCELLED | FATAL   (accepted by Amazon)
            → REJECTED | REFUSED | FAILED                                (answered, and not accepted)
    any open state → UNKNOWN                                            (given up on; a later DONE is legal)
    every end → SETTLED

REJECTED ranges may be sent again in this run (429, a store to find, a half to try); REFUSED rows are Amazon's
synchronous no to exactly these rows; FAILED is a 500 without retry advice. Transitions are conditional writes: a late
or repeated notice cannot move a state backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from catalog_sync.errors import CatalogSyncError, RetryLater, Superseded, shorten
from catalog_sync.lease import Lease
from catalog_sync.ledger import ConditionFailed, Item, LedgerTable, pack
from catalog_sync.measures import GIVEN_UP, RESULT_DELAY, UPLOADS_ENDED

if TYPE_CHECKING:
    from catalog_sync.api.outcomes import Answer


class State(StrEnum):
    """Where an attempt stands."""

    SENDING = "SENDING"
    ACCEPTED = "ACCEPTED"
    INQUEUE = "INQUEUE"
    INPROGRESS = "INPROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FATAL = "FATAL"
    REJECTED = "REJECTED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    SETTLED = "SETTLED"


#: How far each state that Amazon reports is along; a notice only ever moves forward.
PROGRESS = {State.INQUEUE: 1, State.INPROGRESS: 2, State.CANCELLED: 3, State.FATAL: 3, State.DONE: 3}
#: Amazon is still at work, as far as we know.
RUNNING = frozenset({State.ACCEPTED, State.INQUEUE, State.INPROGRESS})
#: Amazon has ended the ingestion.
ENDED = frozenset({State.DONE, State.CANCELLED, State.FATAL})
#: Amazon answered that it did not take the request.
NOT_TAKEN = frozenset({State.REJECTED, State.REFUSED, State.FAILED})
#: What may turn into each state that Amazon reports. UNKNOWN may still turn into an end.
_BEFORE = {
    State.INQUEUE: (State.ACCEPTED,),
    State.INPROGRESS: (State.ACCEPTED, State.INQUEUE),
    **{end: (State.ACCEPTED, State.INQUEUE, State.INPROGRESS, State.UNKNOWN) for end in ENDED},
}


@dataclass(frozen=True)
class AttemptKey:
    """Which attempt: the run, the batch's number (from 1), the attempt's number within the batch (from 1)."""

    run_id: str
    batch: int
    number: int

    @property
    def pk(self) -> str:
        """The partition key of the attempt's item."""
        return f"RUN#{self.run_id}"

    @property
    def sk(self) -> str:
        """The sort key of the attempt's item."""
        return f"ATTEMPT#{self.batch:05d}#{self.number:04d}"

    @property
    def pointer(self) -> str:
        """The sort key of the pointer to the attempt while it is open."""
        return f"{self.run_id}#{self.batch:05d}#{self.number:04d}"

    @property
    def name(self) -> str:
        """The attempt's name within its run, for keys in the lake."""
        return f"{self.batch:05d}-{self.number:04d}"


@dataclass(frozen=True)
class Attempt:
    """One attempt as the ledger holds it. The payload's items from ``start`` to before ``stop``."""

    key: AttemptKey
    state: State
    start: int
    stop: int
    plan_number: int
    sent_at: float
    item: Item

    @classmethod
    def of(cls, item: Item) -> Attempt:
        """Return the attempt of its ledger item."""
        return cls(
            key=AttemptKey(str(item["run_id"]), int(item["batch"]), int(item["attempt"])),
            state=State(item["state"]),
            start=int(item["start"]),
            stop=int(item["stop"]),
            plan_number=int(item["plan_number"]),
            sent_at=float(item["sent_at"]),
            item=item,
        )

    @property
    def ingestion_id(self) -> str:
        """Amazon's id of the ingestion; empty while none is known."""
        return str(self.item.get("ingestion_id", ""))

    @property
    def link(self) -> str:
        """The report's presigned link, while the ledger holds one."""
        return str(self.item.get("link", ""))

    @property
    def report_key(self) -> str:
        """The lake key of the archived report; empty before."""
        return str(self.item.get("report_key", ""))

    @property
    def rows(self) -> int:
        """How many items the attempt carries."""
        return self.stop - self.start

    @property
    def end(self) -> State:
        """The state, or for a settled attempt the one in which it was settled."""
        return State(self.item.get("ended_as", self.state.value))

    @property
    def in_doubt(self) -> bool:
        """Whether Amazon may apply it, or may have, without our knowing."""
        return self.state not in NOT_TAKEN and self.state is not State.SETTLED


class Attempts:
    """The attempts of one retailer.

    :param keep: seconds that settled items stay before TTL removes them.
    """

    def __init__(self, ledger: LedgerTable, retailer: str, keep: float) -> None:
        self.ledger = ledger
        self.retailer = retailer
        self.lease = Lease(ledger, retailer)
        self.keep = keep

    @property
    def _open(self) -> str:
        return f"OPEN#{self.retailer}"

    def of_batch(self, run_id: str, batch: int) -> list[Attempt]:
        """Return the batch's attempts in the order in which they were begun."""
        return [Attempt.of(item) for item in self.ledger.query(f"RUN#{run_id}", f"ATTEMPT#{batch:05d}#")]

    def of_run(self, run_id: str) -> list[Attempt]:
        """Return every attempt of the run, by batch and number."""
        return [Attempt.of(item) for item in self.ledger.query(f"RUN#{run_id}", "ATTEMPT#")]

    def get(self, key: AttemptKey) -> Attempt | None:
        """Return the attempt, or ``None``."""
        item = self.ledger.get(key.pk, key.sk)
        return Attempt.of(item) if item else None

    def open(self) -> Iterator[Attempt]:
        """Yield every attempt of the retailer that is not settled, of any run."""
        pointers: dict[str, set[str]] = {}
        for pointer in self.ledger.query(self._open):
            pointers.setdefault(str(pointer["run_id"]), set()).add(str(pointer["sk"]))
        for run_id, wanted in pointers.items():
            # Another run may have settled one since its pointer was read.
            found = (attempt for attempt in self.of_run(run_id) if attempt.key.pointer in wanted)
            yield from (attempt for attempt in found if attempt.state is not State.SETTLED)

    def by_ingestion(self, ingestion_id: str) -> Attempt | None:
        """Return the attempt that Amazon gave this ingestion id to, or ``None`` when it is not (yet) known."""
        pointer = self.ledger.get(f"INGESTION#{ingestion_id}", "ATTEMPT")
        if pointer is None:
            return None
        return self.get(AttemptKey(str(pointer["run_id"]), int(pointer["batch"]), int(pointer["attempt"])))

    def begin(self, key: AttemptKey, start: int, stop: int, plan_number: int, now: float) -> Attempt:
        """Record that the range is about to be sent, before it is; renews the lease.

        :raises Superseded: a newer plan was made, or sending of this run was halted.
        """
        item: Item = {
            "pk": key.pk, "sk": key.sk, "run_id": key.run_id, "batch": key.batch, "attempt": key.number,
            "state": State.SENDING.value, "start": start, "stop": stop, "plan_number": plan_number, "sent_at": now,
        }  # fmt: skip
        pointer = {"pk": self._open, "sk": key.pointer, "run_id": key.run_id, "sent_at": now}
        halted = LedgerTable.update_request(
            key.pk,
            "RUN",
            {"sending_at": now},
            "attribute_not_exists(#halted_until) OR #halted_until < :now",
            {"now": now},
        )
        fresh = "attribute_not_exists(pk)"

        try:
            self.ledger.transact(
                [
                    self.lease.renewal(plan_number, key.run_id, now),
                    {"Update": halted},
                    {"Put": {"Item": pack(item), "ConditionExpression": fresh}},
                    {"Put": {"Item": pack(pointer)}},
                ]
            )
        except ConditionFailed as failure:
            raise self._why_not(key, plan_number, failure) from None
        return Attempt.of(item)

    def _why_not(self, key: AttemptKey, plan_number: int, failure: ConditionFailed) -> CatalogSyncError:
        if failure.reasons[0]:
            holder = self.lease.read()
            return Superseded(
                f"run {key.run_id} holds plan {plan_number}, but run {holder.owner} has made plan {holder.token} "
                "since: nothing is sent; what is still due is derived anew by the next run about the whole catalog"
            )
        if failure.reasons[1]:
            run = self.ledger.get(key.pk, "RUN") or {}
            return Superseded(
                f"sending of run {key.run_id} is halted: {shorten(run.get('halted_why', ''), 300)}; mend it, wait ten "
                "minutes or start a new run"
            )
        # A task that Airflow took for dead and its successor: whichever tries again sees what the other has sent.
        return RetryLater(f"attempt {key.pointer} was begun by another process: what that does not send is sent then")

    def halt(self, run_id: str, why: str, until: float) -> None:
        """Stop every task of the run from sending until the time ``until``."""
        self.ledger.update(f"RUN#{run_id}", "RUN", {"halted_until": until, "halted_why": why})

    def accepted(self, attempt: Attempt, ingestion_id: str, now: float, latency: float) -> bool:
        """Record Amazon's ingestion id for the attempt, and the id's way back to it, in one transaction.

        :returns: whether it is the attempt's own. An id that was another attempt's before proves nothing: what is told
            of it may be told of the other one.
        :raises Superseded: the answer took longer than ``results.horizon``: the attempt has been settled as unknown.
        """
        key = attempt.key
        back = {
            "pk": f"INGESTION#{ingestion_id}", "sk": "ATTEMPT",
            "run_id": key.run_id, "batch": key.batch, "attempt": key.number,
        }  # fmt: skip
        changes = {
            "state": State.ACCEPTED.value, "ingestion_id": ingestion_id, "accepted_at": now,
            "latency_ms": round(latency * 1000),
        }  # fmt: skip
        open_states = {"a": State.SENDING.value, "b": State.UNKNOWN.value}
        update = LedgerTable.update_request(key.pk, key.sk, changes, "#state IN (:a, :b)", open_states)
        try:
            fresh = "attribute_not_exists(pk)"
            self.ledger.transact([{"Update": update}, {"Put": {"Item": pack(back), "ConditionExpression": fresh}}])
        except ConditionFailed as failure:
            if not failure.reasons[0]:
                return False
            raise Superseded(
                f"upload {key.name} of run {key.run_id} was accepted as {shorten(ingestion_id)!r} after it had been "
                "settled as unknown: its rows are sent again with the next run; nothing is to be done"
            ) from None
        notice = self.ledger.get(f"INGESTION#{ingestion_id}", "NOTICE")
        if notice:
            self.report(ingestion_id, State(notice["status"]), "", now, "early notice")
        return True

    def ended(self, attempt: Attempt, state: State, now: float, answer: Answer) -> None:
        """Record an answer that did not take the request (REJECTED, REFUSED or FAILED)."""
        changes = {"state": state.value, "ended_at": now, **_evidence(answer)}
        self.ledger.update(
            attempt.key.pk, attempt.key.sk, changes, "#state = :sending", {"sending": State.SENDING.value}
        )

    def doubtful(self, attempt: Attempt, answer: Answer) -> None:
        """Keep the evidence of an answer that tells nothing; the attempt stays SENDING and so in doubt."""
        self.ledger.update(attempt.key.pk, attempt.key.sk, _evidence(answer))

    def record_notice(self, ingestion_id: str, state: State, link: str, now: float) -> bool:
        """Make what a notice says durable, whether or not the id is known; tell whether it is a known attempt's.

        A notice that says less than an earlier one changes nothing. Its link is kept with a known attempt alone, which
        forgets it in time: an id that stays unknown (its answer was lost) would keep a secret for as long as the ledger
        keeps anything. The status API has another link for an id that becomes known later.
        """
        self.ledger.update(
            f"INGESTION#{ingestion_id}",
            "NOTICE",
            {
                "status": state.value, "rank": PROGRESS[state], "received_at": now,
                "expires_at": int(now + self.keep),
            },
            "attribute_not_exists(#rank) OR #rank < :rank",
            {"rank": PROGRESS[state]},
        )  # fmt: skip
        return self.report(ingestion_id, state, link, now, "notice")

    def report(self, ingestion_id: str, state: State, link: str, now: float, by: str) -> bool:
        """Move the attempt forward to what Amazon reports, keeping the link; tell whether the ingestion id is known.

        A state never moves back, and a fresh link replaces an old one until the report is archived.
        """
        attempt = self.by_ingestion(ingestion_id)
        if attempt is None:
            return False
        allowed = {f"s{n}": before.value for n, before in enumerate(_BEFORE[state])}
        changes: Item = {"state": state.value, "reported_at": now, "reported_by": by}
        if state in ENDED:
            changes |= {"ended_at": now}
        moved = self.ledger.update(
            attempt.key.pk, attempt.key.sk, changes, f"#state IN ({', '.join(f':{name}' for name in allowed)})", allowed
        )
        if moved and state in ENDED:
            UPLOADS_ENDED.add(state=state.value, by=by)
            RESULT_DELAY.took(now - attempt.sent_at, by=by)
        if link and (moved or attempt.state is state):
            as_reported = "attribute_not_exists(#report_key) AND #state = :state"
            changes = {"link": link, "link_at": now}
            self.ledger.update(attempt.key.pk, attempt.key.sk, changes, as_reported, {"state": state.value})
        return True

    def polled(self, attempt: Attempt, next_at: float) -> None:
        """Record a status poll and when the next one is due."""
        polls = int(attempt.item.get("polls", 0)) + 1
        self.ledger.update(attempt.key.pk, attempt.key.sk, {"polls": polls, "next_poll_at": next_at})

    def archived(self, attempt: Attempt, report_key: str, now: float) -> None:
        """Record where the report lies now and forget its link.

        Nothing is recorded of an attempt that was given up meanwhile: once its end is known again so is its report.
        """
        changes = {"report_key": report_key, "archived_at": now, "link": None, "link_at": None}
        self.ledger.update(attempt.key.pk, attempt.key.sk, changes, "#state = :state", {"state": attempt.state.value})

    def link_failed(self, attempt: Attempt, why: str) -> None:
        """Forget the attempt's link, which does not work, so that the status API is asked for a fresh one."""
        tries = int(attempt.item.get("link_tries", 0)) + 1
        changes = {"link": None, "link_at": None, "link_tries": tries, "link_error": shorten(why, 200)}
        self.ledger.update(attempt.key.pk, attempt.key.sk, changes, "#link = :failed", {"failed": attempt.link})

    def give_up(self, attempt: Attempt, now: float) -> None:
        """Mark an attempt whose result did not come in time as UNKNOWN, unless it ended meanwhile."""
        states = {f"s{n}": state.value for n, state in enumerate([State.SENDING, *sorted(RUNNING)])}
        changes = {"state": State.UNKNOWN.value, "given_up_at": now}
        given_up = self.ledger.update(
            attempt.key.pk,
            attempt.key.sk,
            changes,
            f"attribute_not_exists(#report_key) AND (#state IN ({', '.join(f':{name}' for name in states)})"
            " OR (#state = :done AND attribute_not_exists(#link)))",
            {**states, "done": State.DONE.value},
        )
        GIVEN_UP.add(int(given_up))

    def booked(self, attempt: Attempt, run_id: str) -> None:
        """Record that the run ``run_id`` has booked the attempt's rows as unknown for now."""
        self.ledger.update(attempt.key.pk, attempt.key.sk, {"booked_in": run_id})

    def settle(self, attempt: Attempt, run_id: str, now: float, late: dict[str, dict[str, int]] | None = None) -> bool:
        """Close the attempt: its outcomes are in the tables; tell whether this call did it and not another run's.

        :param run_id: the run that settles it.
        :param late: rows by store and outcome, for that run's books, when those of the attempt's own are closed. They
            are written with the end itself: of two runs that settle at once one books, and once.
        """
        expires = int(now + self.keep)
        key = attempt.key
        changes = {
            "state": State.SETTLED.value, "ended_as": attempt.state.value, "settled_at": now, "settled_in": run_id,
            "expires_at": expires, "link": None, "link_at": None,
        }  # fmt: skip
        settled = {"settled": State.SETTLED.value}
        writes: list[dict[str, Any]] = [
            {"Update": LedgerTable.update_request(key.pk, key.sk, changes, "#state <> :settled", settled)},
            {"Delete": {"Key": pack({"pk": self._open, "sk": key.pointer})}},
        ]
        if attempt.ingestion_id:
            back = LedgerTable.update_request(f"INGESTION#{attempt.ingestion_id}", "ATTEMPT", {"expires_at": expires})
            writes.append({"Update": back})
        if late is not None:
            booked = {
                "pk": f"RUN#{run_id}", "sk": f"LATE#{key.pointer}", "of_run": key.run_id, "counts": late,
                "expires_at": expires,
            }  # fmt: skip
            writes.append({"Put": {"Item": pack(booked)}})
        try:
            self.ledger.transact(writes)
        except ConditionFailed:
            return False
        return True


def _evidence(answer: Answer) -> Item:
    return {
        "verdict": answer.verdict.value,
        "latency_ms": round(answer.latency * 1000),
        "http_status": answer.http_status,
        "message": shorten(answer.message, 300),
        "evidence": answer.evidence or None,
    }
