"""Collecting results: notices first, then polls of what is late, and the reports archived before their links die.

The ledger says what is awaited and when a round is over, never what this consumer happened to receive: several may
drain one queue. A step imports no frame library, so the triggerer can run it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync.alarms import Alarms
from catalog_sync.api.client import CatalogApi
from catalog_sync.api.outcomes import Verdict
from catalog_sync.attempts import ENDED, RUNNING, Attempt, Attempts, State
from catalog_sync.errors import CatalogSyncError, Misconfigured, RetryLater, shorten
from catalog_sync.inbox import Inbox, Received
from catalog_sync.lease import Lease
from catalog_sync.measures import (
    DEAD_LETTERS,
    NOTICE_DELAY,
    NOTICES,
    QUEUE,
    REPORTS,
    STAGE,
    UPLOADS_AGE,
    UPLOADS_LATE,
    UPLOADS_OPEN,
)
from catalog_sync.metrics import wanted
from catalog_sync.notices import Notice, Unsubscribed

if TYPE_CHECKING:
    import httpx

    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: Most status polls in one step, so that a step stays short and notices are not kept waiting.
POLLS_PER_STEP = 10
#: A drain takes one step an hour where nothing comes, and then also asks for what was given up on.
POLLS_PER_DRAIN = 100
#: Seconds between two looks at how many messages and uploads wait, for the metrics.
LOOK_EVERY = 60.0


@dataclass(frozen=True)
class Progress:
    """Where collecting stands, after one step.

    ``open``: uploads whose end or report link is awaited; ``waiting``: reports that can be archived now; ``received``
    and ``polled``: messages and status answers of this step; ``round_over``: archive now; ``finished``: nothing is
    left to do; ``held_back``: status calls are due, and the open circuit breaker lets none through.
    """

    open: int
    waiting: int
    received: int
    polled: int
    round_over: bool
    finished: bool
    held_back: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the progress as JSON-able counts."""
        return asdict(self)


class Collector:
    """Collects the results of one run; a run of kind ``collect`` instead drains the queue for whoever sent.

    :param api: the API client, by default that of the deployment.
    :param inbox: the queue of notices, by default that of the deployment.
    :param transport: what carries the downloads of reports, by default the network.
    """

    def __init__(
        self,
        run: Run,
        api: CatalogApi | None = None,
        inbox: Inbox | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        from catalog_sync.run import Kind

        self.run = run
        self.transport = transport
        self.attempts = Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())
        self.alarms = Alarms.of(run)
        self.drains = run.asked.kind is Kind.COLLECT
        self.held_back = False
        self._looked_at = 0.0
        self._noted_allowed = False
        if api is not None:
            self.api = api
        if inbox is not None:
            self.inbox = inbox

    @cached_property
    def api(self) -> CatalogApi:
        """The API client."""
        from catalog_sync.upload import api_of

        return api_of(self.run)

    @cached_property
    def inbox(self) -> Inbox:
        """The queue of notices."""
        return Inbox.of(self.run)

    def awaited(self) -> list[Attempt]:
        """Return the attempts whose results this collector is after."""
        return list(self.attempts.open()) if self.drains else self.attempts.of_run(self.run.run_id)

    def step(self) -> Progress:
        """Receive and record notices, poll what is late, give up on what is too late; tell where that leaves us."""
        attempts = self.awaited()
        # Nobody waits in a night in which nothing was sent.
        received = self._receive(patient=self.drains or any(_is_open(a) for a in attempts))
        attempts = self.awaited()
        polled = self._poll(attempts)
        self._give_up(self.awaited())  # read again: the poll may have brought what was awaited
        attempts = self.awaited()
        now = self.run.clock.time()
        results = self.run.settings.results
        waiting = [a for a in attempts if _waits(a)]
        self._measure(attempts, now)
        still = sum(_is_open(a) for a in attempts)
        oldest = min((float(a.item.get("link_at", now)) for a in waiting), default=now)
        # A drain ends with the queue; a run waits for all that it sent.
        nothing_comes = received == 0 if self.drains else still == 0
        full = len(waiting) >= results.archive_batch or now - oldest >= results.archive_after.total_seconds()
        return Progress(
            open=still,
            waiting=len(waiting),
            received=received,
            polled=polled,
            round_over=nothing_comes or full,
            finished=nothing_comes and not waiting,
            held_back=self.held_back,
        )

    def left(self) -> int:
        """Return of how many uploads the end, the link or the report is missing now, whoever else archives, too."""
        return sum(_is_open(attempt) or _waits(attempt) for attempt in self.awaited())

    def archive(self) -> dict[str, int]:
        """Archive every report that waits, of any run; a link that does not work is dropped and asked for anew."""
        with STAGE.timed(self.run.clock, stage="archive_reports"):
            done = self._archive_all()
        for result, count in done.items():
            REPORTS.add(count, result=result)
        return done

    def _archive_all(self) -> dict[str, int]:
        archived = failed = 0
        for attempt in self.attempts.open():
            if not _waits(attempt):
                continue
            try:
                self._archive(attempt)
                archived += 1
            except Misconfigured:
                raise
            except CatalogSyncError as error:
                failed += 1
                log.warning("Report of %s: %s", attempt.ingestion_id, error)
                self.attempts.link_failed(attempt, str(error))
                if attempt.key.run_id == self.run.run_id and self._is_too_late(attempt):
                    self.attempts.give_up(attempt, self.run.clock.time())
        return {"archived": archived, "failed": failed}

    def _archive(self, attempt: Attempt) -> None:
        from catalog_sync import reports

        data = reports.fetch(attempt.link, transport=self.transport, clock=self.run.clock)
        reports.parse(data, ingestion_id=attempt.ingestion_id)
        key = report_key(attempt)
        self.run.lake.create_compressed(key, data)
        self.attempts.archived(attempt, key, self.run.clock.time())

    def _receive(self, patient: bool) -> int:
        try:
            return self._drain_inbox(patient)
        except RetryLater as error:
            if self.drains:
                raise
            # The status API carries the run.
            log.error("%s; uploads without a notice are asked for after results.poll_after", error)
            self.run.clock.sleep(self.run.settings.results.wait.total_seconds())
            return 0

    def _drain_inbox(self, patient: bool) -> int:
        total, newest = 0, 0.0
        for message in self.inbox.receive(patient):
            total += 1
            self._record(message)
            if message.done and not isinstance(message.said, Unsubscribed):
                newest = max(newest, message.said.published_at or self.run.clock.time())
        if newest:
            self.alarms.subscribed(newest)
        if self.inbox.buried:
            for why, count in self.inbox.buried.items():
                DEAD_LETTERS.add(count, why=why.value)
            self.alarms.buried(self.inbox.buried)
            self.inbox.buried.clear()
        return total

    def _record(self, message: Received) -> None:
        """Make durable what the message says, and only then let it be deleted (I2)."""
        said, now = message.said, self.run.clock.time()
        try:
            if isinstance(said, Notice):
                known = self.attempts.record_notice(said.ingestion_id, State(said.status), said.report_link, now)
                NOTICES.add(what="known" if known else "early")
                if since := said.published_at or message.sent_at:
                    NOTICE_DELAY.took(now - since)
                if not known:
                    log.info("Notice for %s came before we know that ingestion; it is kept", said.ingestion_id)
            elif isinstance(said, Unsubscribed):
                NOTICES.add(what="unsubscribed")
                self.alarms.unsubscribed(said.published_at or now)
        except (ClientError, BotoCoreError, RetryLater) as error:
            message.failed(f"ledger: {type(error).__name__}: {shorten(error, 200)}")
            return
        message.recorded()

    def _poll(self, attempts: list[Attempt]) -> int:
        now, before, self.held_back = self.run.clock.time(), self.held_back, False
        # Those that waited longest first, so that none is starved.
        due = sorted((a for a in attempts if self._is_asked_for(a) and self._due_at(a) <= now), key=self._due_at)
        due = due[: POLLS_PER_DRAIN if self.drains else POLLS_PER_STEP]
        if not due:
            return 0
        # While somebody sends, status calls keep to one ticket in nine.
        spare = Lease.of(self.run).read().held_until > now
        polled = 0
        for attempt in due:
            answer = self.api.status(attempt.ingestion_id, spare=spare)
            if answer.verdict is Verdict.BREAKER_OPEN:
                self.held_back = True  # notices are still received; what is late stays due
                log.log(logging.DEBUG if before else logging.WARNING, "No status calls: %s", answer.message)
                break
            polled += 1
            self.attempts.polled(attempt, self.run.clock.time() + self._interval(attempt))
            if answer.verdict is Verdict.ACCEPTED:
                self._note_allowed()
                self.attempts.report(
                    attempt.ingestion_id,
                    State(answer.processing_status),
                    answer.report_link,
                    self.run.clock.time(),
                    "status",
                )
                continue
            log.warning("Status of %s: %s: %s", attempt.ingestion_id, answer.verdict.value, answer.message)
            if answer.verdict is Verdict.FORBIDDEN:
                self.alarms.refused("status", answer, self.run.clock.time())
                self._noted_allowed = False
                break
        return polled

    def _note_allowed(self) -> None:
        """Note once that Amazon answers us: a refusal that was noted before is over."""
        if not self._noted_allowed:
            self.alarms.allowed("status", self.run.clock.time())
        self._noted_allowed = True

    def _measure(self, attempts: list[Attempt], now: float) -> None:
        """Tell the metrics what waits: now and then, since it asks SQS, and when nothing does any more."""
        ages = [now - attempt.sent_at for attempt in attempts if _is_open(attempt)]
        if not wanted() or (ages and now - self._looked_at < LOOK_EVERY):
            return
        self._looked_at = now
        expected = self.run.settings.results.expect.total_seconds()
        UPLOADS_OPEN.set(len(ages))
        UPLOADS_LATE.set(sum(age > expected for age in ages))
        UPLOADS_AGE.set(max(ages, default=0.0))
        with suppress(RetryLater):  # receiving has said so
            for queue, messages in self.inbox.waiting().items():
                QUEUE.set(messages, queue=queue)

    def _is_asked_for(self, attempt: Attempt) -> bool:
        """Whether the status API may tell something new; of what its run gave up on, no notice may ever come."""
        given_up = attempt.state is State.UNKNOWN and bool(attempt.ingestion_id)
        return _is_open(attempt) or (self.drains and given_up)

    def _due_at(self, attempt: Attempt) -> float:
        if "next_poll_at" in attempt.item:
            return float(attempt.item["next_poll_at"])
        if attempt.state in ENDED:  # only the link is missing
            return 0.0
        return attempt.sent_at + self.run.settings.results.poll_after.total_seconds()

    def _interval(self, attempt: Attempt) -> float:
        results = self.run.settings.results
        doubled = results.poll_every.total_seconds() * 2 ** min(int(attempt.item.get("polls", 0)), 20)
        return float(min(doubled, results.poll_after.total_seconds()))

    def _give_up(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if self.drains and attempt.state is State.DONE:
                continue  # only the link is missing, and no run waits: it can be asked for until the horizon
            if _is_open(attempt) and self._is_too_late(attempt):
                log.error("No result for %s in time: its rows are unknown until one comes", attempt.ingestion_id)
                self.attempts.give_up(attempt, self.run.clock.time())

    def _is_too_late(self, attempt: Attempt) -> bool:
        return self.run.clock.time() - attempt.sent_at > self.run.settings.results.give_up_after.total_seconds()


def report_key(attempt: Attempt) -> str:
    """Return where the attempt's report is archived. Amazon's id is opaque: an unsafe one is replaced by its hash."""
    name = attempt.ingestion_id
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
        name = hashlib.sha256(name.encode()).hexdigest()
    return f"runs/{attempt.key.run_id}/reports/{name}.json.zst"


def _waits(attempt: Attempt) -> bool:
    return attempt.state in ENDED and bool(attempt.link) and not attempt.report_key


def _is_open(attempt: Attempt) -> bool:
    """Whether Amazon still works on it, or it is done and we lack the link to its report."""
    if attempt.state in RUNNING:
        return True
    return attempt.state is State.DONE and not attempt.link and not attempt.report_key
