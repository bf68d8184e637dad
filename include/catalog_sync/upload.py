"""Sending batches: one attempt after the other, each recorded before it starts, until every row was sent or refused.

This runs in the upload tasks, so nothing here imports a frame library.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter

from catalog_sync.alarms import Alarms
from catalog_sync.api.client import CatalogApi
from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.attempts import Attempt, AttemptKey, Attempts, State
from catalog_sync.breaker import Breaker
from catalog_sync.errors import BadInput, CatalogSyncError, Misconfigured, RetryLater, shorten
from catalog_sync.lease import LEASE_SECONDS, Lease
from catalog_sync.ledger import ConditionFailed, LedgerTable
from catalog_sync.measures import RETRIES, stage
from catalog_sync.slices import is_sent, open_slice, slice_of
from catalog_sync.store_list import StoreList
from catalog_sync.tickets import Tickets

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Most requests that looking for bad rows in one batch may cost; then what is left of it is refused whole.
SEARCH_BUDGET = 40
#: Seconds of waiting inside the task before a busy API is left to a retry of the task.
PATIENCE = 60.0
#: Sends of one range whose end stays unknown before the task is left to a retry.
AMBIGUOUS_TRIES = 3
#: After a 403 the run's other upload tasks stop for this many seconds.
HALT_SECONDS = 600.0

#: Amazon rejected the request for something in it, so the range is searched for what is to blame.
_SEARCHED = frozenset({Verdict.REJECTED, Verdict.REJECTED_STORES})
_AGAIN = frozenset({Verdict.RETRY_LATER, Verdict.NOT_SENT, Verdict.BREAKER_OPEN, Verdict.AMBIGUOUS})

Range = tuple[int, int]


class UploadFailed(CatalogSyncError):
    """Amazon failed on a batch and advised no retry; its rows are derived again by the next run."""


def api_of(run: Run) -> CatalogApi:
    """Return the API client of the run's deployment, paced by the shared tickets."""
    tickets = Tickets(run.ledger.client, run.settings.ledger.table, run.clock, run.settings.api.rate)
    return CatalogApi.from_connection(run.settings, run.connections, run.clock, tickets, Breaker.of(run))


@stage("upload")
def upload(run: Run, batches: Iterable[int], api: CatalogApi | None = None) -> dict[str, Any]:
    """Send the given batches of the run's plan (numbers from 1), resuming where an earlier try stopped.

    :returns: ``batches``, ``items``, ``requests``, ``refused`` (rows that Amazon refused synchronously), ``throttled``
        (answers that there were too many requests, which the tickets should never let happen) and ``held_back`` (how
        often the open circuit breaker let no request through).
    :raises Superseded: a newer plan exists; nothing (more) was sent.
    :raises Misconfigured: Amazon answered 403, and sending of the whole run is halted; or it refuses the list of stores
        that an archive must carry.
    :raises RetryLater: the API stayed busy or unreachable.
    :raises UploadFailed: Amazon failed on a range and advised no retry; the other ranges were sent.
    """
    plan = run.plan
    api = api or api_of(run)
    total = {"batches": 0, "items": 0, "requests": 0, "refused": 0, "throttled": 0, "held_back": 0}
    failures: list[str] = []
    for number in batches:
        part = slice_of(plan, number)
        if part not in plan["numbers"]:
            plan = open_slice(run, part)
        sender = _BatchSender(run, api, plan["numbers"][part], plan["batch_list"][number - 1])
        sender.send_all()
        total["batches"] += 1
        total["items"] += sender.batch["items"]
        for count in ("requests", "refused", "throttled", "held_back"):
            total[count] += getattr(sender, count)
        failures += sender.failures
        _mark_sent(run, plan, number)
    if failures:
        raise UploadFailed("; ".join(failures))
    return total


def uncovered(items: int, attempts: Iterable[Attempt]) -> list[Range]:
    """Return the ranges of a batch that no attempt has brought to Amazon or to an end in this run.

    An attempt that is still SENDING (its process died, or its answer was lost) covers nothing: its range is sent again.
    Settling changes nothing about that: a task that is cleared after the end of its run finds the same gaps.
    """
    covered = sorted((a.start, a.stop) for a in attempts if a.end not in (State.SENDING, State.REJECTED))
    gaps, at = [], 0
    for start, stop in covered:
        if start > at:
            gaps.append((at, start))
        at = max(at, stop)
    if at < items:
        gaps.append((at, items))
    return gaps


def _mark_sent(run: Run, plan: dict[str, Any], number: int) -> None:
    """Count the batch as sent, once; whoever sends the last one of a slice gives up the lease."""
    now = run.clock.time()
    batch = plan["batch_list"][number - 1]
    changes = {
        "state": "SENT", "sent_at": now, "items": batch["items"], "bytes": batch["bytes"], "run_id": run.run_id,
        "expires_at": run.expires_at,
    }  # fmt: skip
    key, part = f"RUN#{run.run_id}", slice_of(plan, number)
    counter = "batches_sent" if part == 1 else f"batches_sent_of_{part}"
    # In one transaction: botocore repeats a write whose answer was lost, and a mere ADD would then count twice.
    mark = LedgerTable.update_request(key, f"BATCH#{number:05d}", changes, "attribute_not_exists(#sent_at)")
    try:
        run.ledger.transact([{"Update": mark}, {"Update": LedgerTable.add_request(key, "RUN", counter)}])
    except ConditionFailed:
        return  # an earlier try marked it, and perhaps a later slice is being sent by now
    sent = int((run.ledger.get(key, "RUN") or {}).get(counter, 0))
    if is_sent(plan, part, sent):
        Lease.of(run).release(plan["numbers"][part], run.run_id)


class _BatchSender:
    def __init__(self, run: Run, api: CatalogApi, plan_number: int, batch: dict[str, Any]) -> None:
        self.run = run
        self.api = api
        self.plan_number = plan_number
        self.batch = batch
        self.archives = batch.get("operation") == "archive"
        self.listed = "itemSkus" if self.archives else "catalogItems"
        self.attempts = Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())
        earlier = self.attempts.of_batch(run.run_id, batch["number"])
        self.next_number = max((a.key.number for a in earlier), default=0) + 1
        # What the search for bad rows has cost so far, also in earlier tries of this task.
        self.rejections = sum(a.item.get("verdict") in _SEARCHED for a in earlier)
        self.answers = sum(a.state is not State.SENDING and a.item.get("verdict") not in _AGAIN for a in earlier)
        self.work = deque(uncovered(batch["items"], earlier))
        self.requests = self.refused = self.throttled = self.held_back = 0
        self.failures: list[str] = []

    @cached_property
    def payload(self) -> bytes:
        data = self.run.lake.get_compressed(self.batch["key"])
        if hashlib.sha256(data).hexdigest() != self.batch["sha256"]:
            raise BadInput(
                f"{self.batch['key']}: its bytes are not those that were planned; nothing is sent. Start a new run"
            )
        return data

    @cached_property
    def items(self) -> list[Any]:
        return list(self.document[self.listed])

    @cached_property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.payload))

    def body(self, start: int, stop: int) -> bytes:
        if (start, stop) == (0, self.batch["items"]):
            return self.payload
        part = {**self.document, self.listed: self.items[start:stop]}
        return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()

    def send_all(self) -> None:
        """Send every range that is still due.

        :raises Misconfigured: Amazon refuses us, or the list of stores that an archive must carry.
        """
        if self.archives and self.work:
            StoreList.of(self.run).require(self.batch["stores"])
        while self.work:
            start, stop = self.work.popleft()
            if self.rejections and self.answers >= SEARCH_BUDGET:
                self._refuse_unsent(start, stop)
                continue
            attempt, answer = self._send_patiently(start, stop)
            self.answers += answer.verdict not in _AGAIN
            if answer.verdict is Verdict.REJECTED_STORES and self.archives:
                self._end(attempt, answer, State.REJECTED)
                run = self.run
                raise StoreList.of(run).refuse(self.batch["stores"], answer, run.run_id, run.clock.time())
            if answer.verdict in _SEARCHED:
                self._search(attempt, answer)
            elif answer.verdict is Verdict.FORBIDDEN:
                self._halt(answer)
            elif answer.verdict is Verdict.FAILED:
                self.failures.append(f"batch {self.batch['number']} rows {start}–{stop}: {answer.message}")
            elif answer.verdict in _AGAIN:
                raise RetryLater(
                    f"batch {self.batch['number']}: {answer.verdict.value}, and {PATIENCE:.0f} s of trying are not "
                    f"enough: {answer.message}",
                    after=answer.retry_after,
                )

    def _search(self, attempt: Attempt, answer: Answer) -> None:
        """Narrow a rejected range down: between stores when stores are to blame, else anywhere, and by halves."""
        start, stop = attempt.start, attempt.stop
        self.rejections += 1
        parts = self._between_stores(start, stop) if answer.verdict is Verdict.REJECTED_STORES else _halves(start, stop)
        if len(parts) > 1:
            self._end(attempt, answer, State.REJECTED)
            self.work.extendleft(reversed(parts))
        else:
            self._end(attempt, answer, State.REFUSED)
            self.refused += stop - start

    def _refuse_unsent(self, start: int, stop: int) -> None:
        """Book the range as refused: looking for the bad rows has cost enough requests."""
        why = f"{SEARCH_BUDGET} requests did not find every bad row of the batch; what was left is refused whole"
        log.error("Batch %s rows %s–%s: %s", self.batch["number"], start, stop, why)
        self._end(self._begin(start, stop), Answer(Verdict.REJECTED, message=why), State.REFUSED)
        self.refused += stop - start

    def _begin(self, start: int, stop: int) -> Attempt:
        key = AttemptKey(self.run.run_id, self.batch["number"], self.next_number)
        attempt = self.attempts.begin(key, start, stop, self.plan_number, self.run.clock.time())
        self.next_number += 1
        return attempt

    def _between_stores(self, start: int, stop: int) -> list[Range]:
        """Return two halves of the range's stores: one bad store of a hundred then costs 14 requests, not 100."""
        inner = [r["start"] for r in self.batch["ranges"] if start < r["start"] < stop]
        if not inner:
            return [(start, stop)]
        middle = inner[len(inner) // 2]
        return [(start, middle), (middle, stop)]

    def _halt(self, answer: Answer) -> None:
        now = self.run.clock.time()
        Alarms.of(self.run).refused("upload", answer, now)
        self.attempts.halt(self.run.run_id, answer.message, now + HALT_SECONDS)
        raise Misconfigured(
            f"Amazon refuses us (403): {answer.message}. Sending is halted; results are still collected"
        )

    def _send_patiently(self, start: int, stop: int) -> tuple[Attempt, Answer]:
        ambiguous = 0

        def enough(state: RetryCallState) -> bool:
            nonlocal ambiguous
            last = state.outcome.result()[1] if state.outcome else None
            ambiguous += bool(last and last.verdict is Verdict.AMBIGUOUS)
            advised = (last.retry_after or 0.0) if last else 0.0
            return state.idle_for + advised > PATIENCE or state.idle_for >= PATIENCE or ambiguous >= AMBIGUOUS_TRIES

        backoff = wait_exponential_jitter(initial=1, max=20, jitter=1)

        def pause(state: RetryCallState) -> float:
            last: Answer | None = state.outcome.result()[1] if state.outcome else None
            advised = (last.retry_after or 0.0) if last else 0.0
            return max(advised, backoff(state))

        retrying = Retrying(
            retry=retry_if_result(lambda result: result[1].verdict in _AGAIN),
            stop=enough,
            wait=pause,
            sleep=self.run.clock.sleep,
            before_sleep=self._count_retry,
            retry_error_callback=_last_result,
        )
        result: tuple[Attempt, Answer] = retrying(self._send_once, start, stop)
        return result

    def _send_once(self, start: int, stop: int) -> tuple[Attempt, Answer]:
        data = self.body(start, stop)
        attempt = self._begin(start, stop)
        key = attempt.key
        # Beyond that another run may have taken the lease, or the lease was given up after a repetition of this request
        # and the rows are no longer in doubt. The next attempt then asks for the lease again.
        held_for = min(LEASE_SECONDS, self.run.settings.results.give_up_after.total_seconds())
        send = self.api.archive if self.archives else self.api.upload
        answer = send(data, attempt.sent_at + held_for)
        held_back = answer.verdict is Verdict.BREAKER_OPEN
        self.held_back += held_back
        self.requests += not held_back
        self.throttled += answer.throttled
        if answer.verdict is Verdict.ACCEPTED and not self._accepted(attempt, answer):
            why = f"accepted as {shorten(answer.ingestion_id)!r}, which was another upload's id before"
            answer = replace(answer, verdict=Verdict.AMBIGUOUS, message=why)
        if answer.verdict is Verdict.ACCEPTED:
            log.info("Batch %s rows %s–%s: accepted as %s", key.batch, start, stop, answer.ingestion_id)
        elif answer.verdict is Verdict.AMBIGUOUS:
            self.attempts.doubtful(attempt, answer)
            log.warning(
                "Batch %s rows %s–%s: no telling whether Amazon has it: %s", key.batch, start, stop, answer.message
            )
        elif answer.verdict not in _SEARCHED:
            failed = answer.verdict is Verdict.FAILED
            self._end(attempt, answer, State.FAILED if failed else State.REJECTED)
            level = logging.ERROR if failed or answer.throttled else logging.WARNING
            log.log(level, "Batch %s rows %s–%s: %s: %s", key.batch, start, stop, answer.verdict.value, answer.message)
        return attempt, answer

    def _accepted(self, attempt: Attempt, answer: Answer) -> bool:
        return self.attempts.accepted(attempt, answer.ingestion_id, self.run.clock.time(), answer.latency)

    def _count_retry(self, state: RetryCallState) -> None:
        operation = "archive" if self.archives else "upload"
        RETRIES.add(operation=operation, reason=_last_result(state)[1].verdict.value)

    def _end(self, attempt: Attempt, answer: Answer, state: State) -> None:
        self.attempts.ended(attempt, state, self.run.clock.time(), answer)


def _halves(start: int, stop: int) -> list[Range]:
    middle = (start + stop) // 2
    return [(start, middle), (middle, stop)] if start < middle else [(start, stop)]


def _last_result(state: RetryCallState) -> Any:
    if state.outcome is None:
        raise RuntimeError("tenacity gave up before the first try")
    return state.outcome.result()
