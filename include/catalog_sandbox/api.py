"""The three operations over HTTP, without a web framework: a request in, an answer out, or the connection dropped.

In this order, as a gateway in front of a service does: route, signature, allowlist, size, rate limit, then the faults
on order, then the request itself. Every request that names an operation is in the record.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from catalog_sandbox.core import Core
from catalog_sandbox.faults import AFTER
from catalog_sandbox.identities import Identities
from catalog_sandbox.limits import RateLimiter
from catalog_sandbox.links import error_xml
from catalog_sandbox.signature import Forbidden, Signed, verify
from catalog_sandbox.validation import (
    INVALID_BODY,
    UNKNOWN_INGESTION,
    Invalid,
    check_archive,
    check_status,
    check_upload,
)

#: The paths of the operations (``catalog_validations``).
PATHS = {
    "/v1/catalog/upload": "upload",
    "/v1/catalog/archive": "archive",
    "/v1/catalog/getCatalogUploadStatus": "status",
}
#: The payload limit of an API Gateway REST API: 10 MB. That JWO has it is an assumption (S1).
MAX_BODY = 10 * 1024 * 1024

#: U4: the retryable text contains "please retry again", the other one does not.
RETRY_TEXT = "Internal server error, please retry again"
FINAL_TEXT = "Internal server error"

_GATEWAY = {"bad_gateway": 502, "unavailable": 503, "gateway_timeout": 504}
_GATEWAY_TEXT = {502: "Internal server error", 503: "Service Unavailable", 504: "Endpoint request timed out"}


class Dropped(Exception):
    """The connection ends without an answer: at once (a reset), or after ``hold`` seconds (a time-out)."""

    def __init__(self, fault: str, hold: float) -> None:
        super().__init__(fault)
        self.timeout = fault.startswith("timeout")
        self.hold = hold if self.timeout else 0.0


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: Any) -> Answer:
        """Return an answer with a JSON body."""
        return cls(status, json.dumps(value).encode())


@dataclass
class Entry:
    """One line of the record of requests. ``time`` is real unix seconds, ``status`` 0 for a dropped connection.

    ``sha256`` is that of the body as it arrived, so that an auditor can tell which payload a request carried.
    """

    time: float
    operation: str
    sha256: str
    status: int = 0
    items: int = 0
    ingestion_id: str | None = None
    account: str | None = None
    fault: str | None = None

    def public(self) -> dict[str, Any]:
        """Return the line as the control plane shows it, without what does not apply."""
        optional = {"ingestion_id": self.ingestion_id, "account": self.account, "fault": self.fault}
        known = {
            "time": self.time,
            "operation": self.operation,
            "status": self.status,
            "items": self.items,
            "sha256": self.sha256,
        }
        return {**known, **{key: value for key, value in optional.items() if value is not None}}


@dataclass
class Record:
    """All requests since the start or the last reset. Thread-safe."""

    _entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Entry) -> None:
        """Append a request."""
        with self._lock:
            self._entries.append(entry)

    def all(self) -> list[Entry]:
        """Return the requests in the order of their arrival."""
        with self._lock:
            return sorted(self._entries, key=lambda entry: entry.time)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._entries.clear()


class Api:
    """Answers API requests. ``wall`` is real time in unix seconds: rate limit and signatures follow it."""

    def __init__(self, core: Core, identities: Identities, wall: Callable[[], float]) -> None:
        self._core = core
        self._identities = identities
        self._wall = wall
        self._limiter = RateLimiter(core.config.rate_limit)
        self.record = Record()

    def now(self) -> float:
        """Return the real time, in unix seconds."""
        return self._wall()

    def reset(self) -> None:
        """Forget the requests so far."""
        self._limiter = RateLimiter(self._core.config.rate_limit)
        self.record.clear()

    def answer(self, request: Signed, arrived: float | None = None) -> Answer:
        """Return the answer to a request that arrived at this real time (default: now).

        Raises Dropped when a fault ends the connection instead.
        """
        prefix = f"/{self._core.config.stage}" if self._core.config.stage else ""
        operation = PATHS.get(request.path.removeprefix(prefix)) if request.path.startswith(prefix) else None
        if operation is None or request.method != "POST":
            return Answer.json(403, {"message": "Missing Authentication Token"})  # as API Gateway does
        digest = hashlib.sha256(request.body).hexdigest()
        entry = Entry(self._wall() if arrived is None else arrived, operation, digest)
        try:
            answer = self._guarded(request, entry)
            entry.status = answer.status
            return answer
        finally:
            self.record.add(entry)

    def _guarded(self, request: Signed, entry: Entry) -> Answer:
        try:
            identity = verify(request, region=self._core.config.region, now=entry.time, lookup=self._identities.lookup)
            self._identities.admit(identity)
        except Forbidden as error:
            return Answer.json(403, {"message": str(error)})
        entry.account = identity.account
        if len(request.body) > MAX_BODY:
            return Answer.json(413, {"message": f"HTTP content length exceeded {MAX_BODY} bytes."})
        if not self._limiter.admits(identity.account, entry.time):
            return Answer.json(429, {"errorMsg": "Too Many Requests"})
        entry.fault = self._core.faults.draw("request", entry.operation)
        if entry.fault and entry.fault not in AFTER:
            return self._fault(entry.fault)
        answer = self._handle(request.body, entry, identity.account)
        return self._fault(entry.fault, answer.status) if entry.fault and answer.status < 300 else answer

    def _fault(self, fault: str, accepted: int = 0) -> Answer:
        name = fault.removesuffix("_after").removesuffix("_before")
        if name in ("timeout", "reset"):
            raise Dropped(name, self._core.faults.plan.hold)
        if name in _GATEWAY:
            status = _GATEWAY[name]
            return Answer.json(status, {"message": _GATEWAY_TEXT[status]})
        advised = self._core.faults.plan.retry_after
        advice = {} if advised is None else {"Retry-After": f"{advised}"}
        return {
            "throttled": Answer(429, b'{"errorMsg": "Too Many Requests"}', headers=advice),
            "forbidden": Answer.json(403, {"message": "User is not authorized to access this resource"}),
            "server_error_retry": Answer.json(500, {"errorMsg": RETRY_TEXT}),
            "server_error_final": Answer.json(500, {"errorMsg": FINAL_TEXT}),
            "no_id": Answer.json(accepted, {}),
            "not_json": Answer(accepted, b"<html><body>OK</body></html>", "text/html"),
        }[name]

    def _handle(self, raw: bytes, entry: Entry, account: str) -> Answer:
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        try:
            if entry.operation == "status":
                return self._status(body, entry, account)
            return self._accept(raw, body, entry, account)
        except Invalid as error:
            return Answer.json(400, {"errorMsg": str(error)})

    def _accept(self, raw: bytes, body: Any, entry: Entry, account: str) -> Answer:
        field = "catalogItems" if entry.operation == "upload" else "itemSkus"
        size = body.get(field) if isinstance(body, dict) else None
        entry.items = len(size) if isinstance(size, list) else 0
        if entry.operation == "archive":
            check_archive(body, self._core.config, account)
        elif self._core.faults.poisons(check_upload(body, self._core.config, account)):
            raise Invalid(INVALID_BODY)
        entry.ingestion_id = self._core.accept(entry.operation, account, raw, entry.items).id
        return Answer.json(201, {"ingestionId": entry.ingestion_id})

    def _status(self, body: Any, entry: Entry, account: str) -> Answer:
        ingestion = self._core.find(check_status(body), account)
        if ingestion is None:
            raise Invalid(UNKNOWN_INGESTION)
        entry.ingestion_id = ingestion.id
        status, link = self._core.status(ingestion)
        return Answer.json(200, {"processingStatus": status, "reportDownloadLink": link})

    def report(self, ingestion_id: str, query: dict[str, str]) -> Answer:
        """Answer the download of a report, as S3 does."""
        problem = self._core.links.problem(ingestion_id, query, self._core.clock())
        if problem:
            return Answer(403, problem.encode(), "application/xml")
        fault = self._core.faults.draw("fetch")
        if fault == "report_unavailable":
            return Answer(503, error_xml("SlowDown", "Please reduce your request rate.").encode(), "application/xml")
        if fault == "report_error_page":
            return Answer(200, b"<html><body><h1>We are sorry</h1></body></html>", "text/html")
        report = self._core.report(ingestion_id)
        if report is None:
            missing = error_xml("NoSuchKey", "The specified key does not exist.")
            return Answer(404, missing.encode(), "application/xml")
        return Answer(200, report)
