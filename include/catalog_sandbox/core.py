"""The simulated service itself, without HTTP: it accepts requests, moves them through their states and sends notices.

Everything that happens later is an event on one time line. ``advance`` runs what is due by the clock, ``flush`` sends
the notices that are ready; a server calls both from a thread, a simulation calls ``tick`` after moving its clock. All
methods are thread-safe.
"""

from __future__ import annotations

import heapq
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from catalog_sandbox import reports
from catalog_sandbox.catalog import Catalog
from catalog_sandbox.config import SandboxConfig
from catalog_sandbox.faults import Faults
from catalog_sandbox.ingestions import (
    CANCELLED,
    DONE,
    FATAL,
    INPROGRESS,
    TERMINAL,
    Ingestion,
    apply_archive,
    apply_upload,
    keep,
    kept,
)
from catalog_sandbox.links import Links

log = logging.getLogger(__name__)

Clock = Callable[[], float]
Publish = Callable[[str], None]


def _id() -> str:
    return str(uuid.uuid4())


class Core:
    """The state of the service.

    ``clock`` gives unix seconds and paces processing and links; ``publish`` sends one notice, given as the text of the
    SNS message; ``new_id`` makes ingestion ids (U7: opaque); ``secret`` signs report links. A ``lazy`` core runs what
    is due whenever it is asked something; a server's is not, so that no request waits for the processing of another.
    """

    def __init__(
        self,
        config: SandboxConfig,
        *,
        clock: Clock,
        publish: Publish,
        base_url: str = "http://sandbox.test",
        new_id: Callable[[], str] = _id,
        secret: bytes = b"sandbox",
        lazy: bool = True,
    ) -> None:
        self.config = config
        self.clock = clock
        self.base_url = base_url
        self._publish = publish
        self._new_id = new_id
        self._secret = secret
        self._lazy = lazy
        self._lock = threading.RLock()
        self._sending = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything and start again from the configuration."""
        with self._lock:
            self.faults = Faults(self.config.faults, self.config.seed)
            self.links = Links(self._secret, self.config.seconds(self.config.timing.link_life))
            self.catalog = Catalog()
            self._ingestions: dict[str, Ingestion] = {}
            self._events: list[tuple[float, int, Callable[[float], None]]] = []
            self._order = 0
            self._outbox: list[str] = []
            self._held: list[str] = []

    # --- requests

    def accept(self, operation: str, account: str, raw: bytes, items: int) -> Ingestion:
        """Take a valid request body in and return its ingestion, ``INQUEUE``."""
        stored = keep(raw)
        with self._lock:
            now = self.clock()
            fault = self.faults.draw("ingestion", operation)
            ingestion = Ingestion(self._new_id(), operation, account, items, now, stored, fault)
            self._ingestions[ingestion.id] = ingestion
            begin = now + self._spread(self.config.timing.queued, ingestion.id, "queued")
            self._at(begin, lambda due: self._begin(ingestion, due))
        self._catch_up()
        return ingestion

    def find(self, ingestion_id: str, account: str) -> Ingestion | None:
        """Return an ingestion of one of the account's retailers, or None (unknown to this caller)."""
        self._catch_up()
        with self._lock:
            ingestion = self._ingestions.get(ingestion_id)
            if ingestion is None:
                return None
            mine = set(self.config.accounts[account].retailers)
            return ingestion if mine & set(self.config.accounts[ingestion.account].retailers) else None

    def status(self, ingestion: Ingestion) -> tuple[str, str]:
        """Return the processing status and a fresh link to the report (U11), "" while there is none (U10)."""
        with self._lock:
            return ingestion.status, self._link(ingestion, "status")

    def report(self, ingestion_id: str) -> bytes | None:
        """Return the report's bytes, or None when there is none."""
        with self._lock:
            ingestion = self._ingestions.get(ingestion_id)
            return reports.read(ingestion.report) if ingestion and ingestion.report else None

    # --- time

    def next_due(self) -> float | None:
        """Return when the next event is due, in unix seconds, or None when nothing is to happen."""
        with self._lock:
            return self._events[0][0] if self._events else None

    def step(self) -> bool:
        """Run the next event if it is due; return whether there was one."""
        with self._lock:
            if not self._events or self._events[0][0] > self.clock():
                return False
            due, _, event = heapq.heappop(self._events)
            event(due)
            return True

    def advance(self) -> None:
        """Run every event that is due, in order."""
        while self.step():
            pass

    def _catch_up(self) -> None:
        if self._lazy:
            self.advance()

    def flush(self) -> None:
        """Send the notices that are ready."""
        with self._sending:
            with self._lock:
                ready, self._outbox = self._outbox, []
            for message in ready:
                self._publish(message)

    def tick(self) -> None:
        """Run what is due and send the notices that it made."""
        self.advance()
        self.flush()

    def _at(self, due: float, event: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (due, self._order, event))

    def _spread(self, seconds: float, ingestion_id: str, phase: str) -> float:
        jitter = self.config.timing.jitter * self.faults.jitter(f"{phase}/{ingestion_id}")
        return self.config.seconds(seconds * (1 + jitter))

    # --- processing

    def _begin(self, ingestion: Ingestion, due: float) -> None:
        ingestion.status, ingestion.started_at = INPROGRESS, due
        if ingestion.fault == "stuck":
            ingestion.body = None
            return
        plan = self.faults.plan
        delay = {"late": plan.late_by, "out_of_order": plan.overtaken_by}.get(ingestion.fault or "", 0.0)
        lasts = self._spread(self.config.timing.processing, ingestion.id, "processing")
        self._at(due + lasts + self.config.seconds(delay), lambda end: self._end(ingestion, end))

    def _end(self, ingestion: Ingestion, due: float) -> None:
        lines = self._process(ingestion, kept(ingestion.body or b""))
        ingestion.body = None
        ingestion.status = {"fatal": FATAL, "fatal_half": FATAL, "cancelled": CANCELLED}.get(
            ingestion.fault or "", DONE
        )
        ingestion.ended_at = due
        if ingestion.status == DONE:
            ingestion.populated_at = due + self.config.seconds(self.config.timing.propagation)
            ingestion.succeeded = sum(entry["status"] == reports.SUCCESS for entry in lines)
            ingestion.failed = ingestion.items - ingestion.succeeded
        if ingestion.status == DONE or self.config.failure_reports:
            self._write_report(ingestion, lines if ingestion.status == DONE else [])
        log.info("%s %s of %s items ended %s", ingestion.operation, ingestion.id, ingestion.items, ingestion.status)
        self._notify(ingestion, due)

    def _process(self, ingestion: Ingestion, body: dict[str, Any]) -> list[reports.Line]:
        if ingestion.fault in ("fatal", "cancelled"):
            return []
        part = ingestion.items // 2 if ingestion.fault == "fatal_half" else ingestion.items
        if ingestion.operation == "upload":
            return apply_upload(self.catalog, self.faults, body["catalogItems"][:part])
        return apply_archive(self.catalog, self.faults, body["itemSkus"][:part], tuple(body["allApplicableStores"]))

    def _write_report(self, ingestion: Ingestion, lines: list[reports.Line]) -> None:
        fault = self.faults.draw("report", ingestion.operation)
        short = self.config.failures_only or fault == "report_failures_only"
        report = reports.build(ingestion.id, ingestion.status, lines, ingestion.items, short)
        ingestion.report, ingestion.report_fault = reports.write(report, fault), fault

    # --- links and notices

    def _link(self, ingestion: Ingestion, operation: str) -> str:
        if ingestion.report is None:
            return ""
        fault = self.faults.draw("link", operation)
        if fault == "link_missing":
            return ""
        return self.links.make(self.base_url, ingestion.id, self.clock(), expired=fault == "link_expired")

    def _notify(self, ingestion: Ingestion, due: float) -> None:
        message = json.dumps(
            {
                "ingestionId": ingestion.id,
                "processingStatus": ingestion.status,
                "reportDownloadLink": self._link(ingestion, ingestion.operation),
            }
        )
        fault = self.faults.draw("notice", ingestion.operation)
        late = due + self.config.seconds(self.faults.plan.notice_late_by)
        if fault == "notice_reordered":
            self._held.append(message)
            self._at(late, lambda _: self._release(message))
        elif fault == "notice_late":
            self._at(late, lambda _: self._outbox.append(message))
        elif fault != "notice_lost":
            self._outbox.append(message)
            self._outbox.extend(self._held)
            self._held.clear()
        if fault == "notice_repeated":
            self._outbox.append(message)
            self._at(late, lambda _: self._outbox.append(message))

    def _release(self, message: str) -> None:
        if message in self._held:
            self._held.remove(message)
            self._outbox.append(message)

    # --- what the control plane shows

    def rows(self, store: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the catalog's items as received plus ``state`` and ``store``, store by store."""
        self._catch_up()
        with self._lock:
            stores = list(self.catalog.counts()) if store is None else [store]
        for name in stores:
            with self._lock:
                rows = self.catalog.packed(name)
            yield from (Catalog.opened(*row) for row in rows)

    def records(self) -> list[dict[str, Any]]:
        """Return every ingestion in the order of acceptance."""
        self._catch_up()
        with self._lock:
            return [ingestion.record() for ingestion in self._ingestions.values()]

    def health(self) -> dict[str, Any]:
        """Return counts that show the service is alive and what it holds."""
        self._catch_up()
        with self._lock:
            states: dict[str, int] = {}
            for ingestion in self._ingestions.values():
                states[ingestion.status] = states.get(ingestion.status, 0) + 1
            return {
                "status": "ok",
                "catalog": self.catalog.counts(),
                "ingestions": states,
                "open": sum(entry.status not in TERMINAL for entry in self._ingestions.values()),
                "injected": dict(self.faults.injected),
            }
