"""What an answer of Amazon's Catalog API means for the caller. No other module knows an HTTP status code.

    seen                                          verdict            then
    2xx with an ingestion id                      ACCEPTED           record it
    400 naming stores                             REJECTED_STORES    split by store
    400 to an archive that speaks of stores       REJECTED_STORES    archive nothing: the list of stores is wrong
    400 otherwise, 413                            REJECTED           halve until the row is found
    403                                           FORBIDDEN          stop sending; the message says where to look, and
                                                                     ``expired`` whether other credentials may help
    429; 500 that asks to retry                   RETRY_LATER        wait, honouring Retry-After
    500 otherwise                                 FAILED             no retry in this run
    2xx without an id, 500 that is not JSON,
    502, 503, 504, anything unexpected,
    connection lost or timed out after sending    AMBIGUOUS          it may be accepted: a new attempt, the first in
    doubt
    no connection was made                        NOT_SENT           safe to retry
    nothing: the circuit breaker is open          BREAKER_OPEN       wait until it lets a request through

Sources: Amazon's pages ``catalog_upload_test_cases`` (statuses and texts), ``get_catalog_upload_status`` (``errorMsg``)
and ``catalog_faq`` (403). Texts are matched loosely; where a page is silent the row above is this project's choice.
``health`` says of each answer what it tells of the service, for the circuit breaker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from catalog_sync.errors import shorten


class Verdict(StrEnum):
    """What the caller has to do, see the table above."""

    ACCEPTED = "ACCEPTED"
    REJECTED_STORES = "REJECTED_STORES"
    REJECTED = "REJECTED"
    FORBIDDEN = "FORBIDDEN"
    RETRY_LATER = "RETRY_LATER"
    FAILED = "FAILED"
    AMBIGUOUS = "AMBIGUOUS"
    NOT_SENT = "NOT_SENT"
    BREAKER_OPEN = "BREAKER_OPEN"
    #: Status only: Amazon does not know the ingestion id, or not as ours.
    UNKNOWN_INGESTION = "UNKNOWN_INGESTION"


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    ``http_status`` and ``retry_after`` (seconds) are ``None`` where there was none; ``sent_at`` is Unix time,
    ``latency`` seconds; ``message`` and ``evidence`` are short and hold no secret. ``expired``: Amazon refuses the
    credentials because they are too old, and nothing else about the request. ``named``: what may be a store's id in the
    text that refuses an archive.
    """

    verdict: Verdict
    ingestion_id: str = ""
    http_status: int | None = None
    message: str = ""
    retry_after: float | None = None
    latency: float = 0.0
    sent_at: float = 0.0
    evidence: str = ""
    expired: bool = False
    named: tuple[str, ...] = ()

    @property
    def throttled(self) -> bool:
        """Whether Amazon said that there were too many requests, which the tickets should never let happen."""
        return self.http_status == 429


@dataclass(frozen=True)
class StatusAnswer(Answer):
    """What came of a status call; with ``ACCEPTED``, ``processing_status`` is one of ``PROCESSING_STATES``.

    ``report_link`` is empty while there is none (U10); it is a presigned link, hence a secret.
    """

    processing_status: str = ""
    report_link: str = field(default="", repr=False)


class Health(StrEnum):
    """What an answer tells of Amazon's service."""

    WELL = "WELL"
    SICK = "SICK"
    SILENT = "SILENT"


#: ``processingStatus`` as documented on ``get_catalog_upload_status``.
PROCESSING_STATES = frozenset({"INQUEUE", "INPROGRESS", "DONE", "CANCELLED", "FATAL"})
#: An ingestion id is at most this long (``get_catalog_upload_status``).
MAX_ID = 255
#: A presigned link is some 2,000 characters long.
MAX_LINK = 8192
#: A ``Retry-After`` is honoured up to this many seconds; a busy task then gives way to a retry of the task.
MAX_RETRY_AFTER = 60.0
#: So much of the text that refuses an archive is searched for stores.
MAX_STORES_TEXT = 100_000
#: What is kept of Amazon's own text in the message of a 403.
MAX_FORBIDDEN_TEXT = 120
#: A clock that is off by more than this many seconds is told of with every 403 (AWS refuses signatures whose time is
#: off by more than five minutes, with some services fifteen).
MAX_SKEW = 300.0

# Documented: "One or more StoreID's present in the request is incorrect" and "List of store ID's present in the request
# are either incorrect/not associated with same retailer". A text that merely mentions a store id (its length, say) is
# no such.
_STORES = re.compile(r"store\s*_?id.*(incorrect|not associated|same retailer)", re.IGNORECASE | re.DOTALL)
_ANY_STORE = re.compile(r"stores?\b|store\s*_?id", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9._-]{1,255}")
_RETRY = "please retry again"
_ERROR_KEYS = ("errorMsg", "message", "Message")

# API Gateway quotes the canonical request, which holds the session token, when a signature does not match.
_QUOTED_REQUEST = re.compile(
    r"(the canonical string|authorization header:|the string-to-sign).*", re.IGNORECASE | re.DOTALL
)
_LINK = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_%-]{60,}")

# What API Gateway says with a 403 (AWS: "Troubleshooting HTTP 403 errors from API Gateway"), and where to look.
_CLOCK = "the clock of this host"
_EXPIRED = "token included in the request is expired"
_HINTS = (
    ("signature expired", _CLOCK),
    ("signature not yet current", _CLOCK),
    (_EXPIRED, "the credentials: they have expired; renew them or use role_arn"),
    ("token included in the request is invalid", "the credentials: AWS does not know the access key or session token"),
    ("signature we calculated", "the secret key of the credentials, and region_name in the connection's extra"),
    ("credential should be scoped", "region_name in the connection's extra: requests are signed for another region"),
    ("missing authentication token", "the base URL of the connection: the stage or path does not exist there"),
    ("explicit deny", "the permission: a policy denies execute-api:Invoke to this role"),
    ("not authorized to perform", "the permission: the role needs execute-api:Invoke on Amazon's API"),
)
_ANYWHERE = (
    "the role (role_arn), its permission execute-api:Invoke, Amazon's allowlisting of this account, and the clock"
)


def classify_ingestion(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
    """Return what the answer to an upload or archive request means; never raises.

    :param headers: the answer's headers, looked up in lower case.
    :param now: the Unix time of this host when the answer came.
    """
    document = _document(body)
    text = _text(document, body)
    if 200 <= status < 300:
        ingestion_id = document.get("ingestionId") if document else None
        # Half a character pair, which JSON can carry, could neither be stored nor asked about.
        if isinstance(ingestion_id, str) and 0 < len(ingestion_id) <= MAX_ID and ingestion_id.isprintable():
            return Answer(Verdict.ACCEPTED, ingestion_id, status)
        message = f"HTTP {status} without an ingestionId"
        return Answer(Verdict.AMBIGUOUS, http_status=status, message=message, evidence=_shown(body))
    if status in (400, 413):
        verdict = Verdict.REJECTED_STORES if status == 400 and _STORES.search(text) else Verdict.REJECTED
        return Answer(verdict, http_status=status, message=text)
    return _refusal(status, headers, document, text, now)


def classify_archive(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
    """Return what the answer to an archive request means, as ``classify_ingestion`` does; never raises.

    When a store is missing from the request, the text lists all stores of the retailer (``archive_catalog_api``); how
    is not documented, so every word of it with a digit may be a store.
    """
    answer = classify_ingestion(status, headers, body, now)
    document = _document(body)
    full = _plain_text(document, body)
    if status != 400 or not _ANY_STORE.search(full):
        return answer
    words = _WORD.findall(safe_text(full, MAX_STORES_TEXT))
    named = dict.fromkeys(word.strip("._-") for word in words if any(c.isdigit() for c in word))
    return replace(answer, verdict=Verdict.REJECTED_STORES, named=tuple(named))


def classify_status(status: int, headers: Mapping[str, str], body: bytes, now: float) -> StatusAnswer:
    """Return what the answer to a status call means; never raises. Parameters as for ``classify_ingestion``."""
    document = _document(body)
    text = _text(document, body)
    if 200 <= status < 300:
        state = document.get("processingStatus") if document else None
        if isinstance(state, str) and state in PROCESSING_STATES:
            return StatusAnswer(
                Verdict.ACCEPTED,
                http_status=status,
                processing_status=state,
                report_link=report_link(document or {}),
            )
        message = f"processingStatus = {shorten(state)!r} is none of {', '.join(sorted(PROCESSING_STATES))}"
        return StatusAnswer(Verdict.AMBIGUOUS, http_status=status, message=message)
    if status == 400:
        return StatusAnswer(Verdict.UNKNOWN_INGESTION, http_status=status, message=text)
    other = _refusal(status, headers, document, text, now)
    return StatusAnswer(
        other.verdict,
        http_status=status,
        message=other.message,
        retry_after=other.retry_after,
        expired=other.expired,
    )


def health(answer: Answer) -> Health:
    """Return what the answer to a request that was made tells of the service.

    *Sick* is what the next request would most likely meet again, at the price of 10,000 more rows that failed or are
    in doubt: every 5xx, whether or not its text asks to retry; a connection that could not be made, was lost or timed
    out; and a 2xx to an upload or archive that cannot be followed, since it names no ingestion.

    *Well* is what only the service itself can have said: it took the request, or found something in it (400). One bad
    batch must not keep the others from Amazon.

    *Silent* is the rest. A gateway answers 403, 413 and 429 before the service sees the request: they blame our
    permission, our body and our pace, each of which has a remedy of its own. Redirects and 404 blame our base URL. A
    status call that names a state we do not know is a change of Amazon's that hurts nobody else.
    """
    status = answer.http_status
    if status is None:
        return Health.SICK
    if answer.verdict is Verdict.ACCEPTED or status == 400:
        return Health.WELL
    lost = status < 300 and not isinstance(answer, StatusAnswer)
    return Health.SICK if lost or status >= 500 else Health.SILENT


def report_link(document: Mapping[str, Any]) -> str:
    """Return the link to the report in a status answer or a notice, a secret; empty where there is none.

    A link that no ledger could hold is none: the status API is asked for another.
    """
    link = document.get("reportDownloadLink")
    return link if isinstance(link, str) and len(link) <= MAX_LINK and link.isprintable() else ""


def link_is_dead(status: int) -> bool:
    """Tell whether S3 says that a presigned link no longer works: 403, as XML "Request has expired" or otherwise."""
    return status == 403


def safe_text(text: str, limit: int = 300) -> str:
    """Return ``text`` on one line, without what may be a credential, a signature or the query of a link."""
    text = _QUOTED_REQUEST.sub(r"\1 […]", text)
    text = _LINK.sub(r"\1?[…]", text)
    return shorten(" ".join(_LONG_TOKEN.sub("[…]", text).split()), limit)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, 0 to ``MAX_RETRY_AFTER``, or ``None``.

    Both forms are read: a number of seconds and an HTTP date (RFC 9110, section 10.2.3).
    """
    if not value:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value, re.ASCII):
        seconds = float(value)
    elif (date := _http_date(value)) is not None:
        seconds = date - now
    else:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _refusal(status: int, headers: Mapping[str, str], document: dict[str, Any] | None, text: str, now: float) -> Answer:
    after = retry_after(headers.get("retry-after"), now)
    if status == 403:
        message = _forbidden(text, headers.get("date"), now)
        return Answer(Verdict.FORBIDDEN, http_status=status, message=message, expired=_EXPIRED in text.lower())
    if status == 429:
        return Answer(Verdict.RETRY_LATER, http_status=status, message=text, retry_after=after)
    if status == 500 and document is not None:
        verdict = Verdict.RETRY_LATER if _RETRY in " ".join(text.lower().split()) else Verdict.FAILED
        return Answer(verdict, http_status=status, message=text, retry_after=after)
    known = status in (500, 502, 503, 504)
    hint = "" if known else ": not an answer that Amazon documents; look at the base URL of the connection"
    message = f"HTTP {status}{hint}: {text}"
    return Answer(Verdict.AMBIGUOUS, http_status=status, message=message, retry_after=after, evidence=text)


def _forbidden(text: str, date: str | None, now: float) -> str:
    lowered = text.lower()
    hint = next((where for sign, where in _HINTS if sign in lowered), _ANYWHERE)
    # Amazon's text is cut shorter than others, so that the advice survives wherever the message is kept.
    return f"{shorten(text, MAX_FORBIDDEN_TEXT)}. Look at {hint}{_skew(date, now, blamed=hint is _CLOCK)}"


def _skew(date: str | None, now: float, blamed: bool) -> str:
    """Return how far this host's clock is off by the answer's ``Date``, when that is to blame or may well be.

    It is told and not corrected: the tickets of all hosts hang on the clock, too, so that a request signed for another
    time than the host's would only hide what is broken.
    """
    server = _http_date(date) if date else None
    if server is None:
        return ", which this answer gives no time to compare with" if blamed else ""
    ahead = now - server
    if abs(ahead) <= MAX_SKEW and not blamed:
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    return f". Clock skew: this host is {abs(ahead):.0f} s {direction} Amazon; let it keep its time by NTP"


def _http_date(value: str) -> float | None:
    try:
        date: datetime = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _document(body: bytes) -> dict[str, Any] | None:
    """Return the body as a JSON object, or ``None`` when it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(document: dict[str, Any] | None, body: bytes) -> str:
    text = _error_text(document)
    return safe_text(text) if text else _shown(body)


def _plain_text(document: dict[str, Any] | None, body: bytes) -> str:
    """Return the whole text of an error; it may hold secrets."""
    return _error_text(document) or body[:MAX_STORES_TEXT].decode("utf-8", "replace")


def _error_text(document: dict[str, Any] | None) -> str:
    texts = (document.get(key) for key in _ERROR_KEYS) if document else ()
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _shown(body: bytes) -> str:
    return safe_text(body[:4096].decode("utf-8", "replace")) or "(empty answer)"


def is_worth_retrying(status: int) -> bool:
    """Tell whether a source's answer may be another one soon: 429 and server errors (RFC 9110, RFC 6585)."""
    return status == 429 or status >= 500
