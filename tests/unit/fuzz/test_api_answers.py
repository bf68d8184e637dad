"""Whatever Amazon, or something between us and Amazon, answers: it is classified, and nothing else happens.

At three depths: the classification alone, the client over any answer, and the client over any bytes on the wire.
"""

from __future__ import annotations

import gzip
import ssl
from typing import Any

import httpcore
import httpx
import pytest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import HOSTILE_JSON, JSON, TEXT, damaged, documents, dumps, hostile_values, some

from catalog_sync.api.client import CatalogApi
from catalog_sync.api.outcomes import (
    MAX_ID,
    MAX_RETRY_AFTER,
    PROCESSING_STATES,
    Answer,
    Health,
    StatusAnswer,
    Verdict,
    classify_ingestion,
    classify_status,
    health,
)
from catalog_sync.attempts import AttemptKey, Attempts, State
from catalog_sync.breaker import Breaker, Passage
from catalog_sync.lease import Lease
from catalog_sync.ledger import LedgerTable

TLS = ssl.create_default_context()  # making one takes longer than an example
NOW = 1_790_000_000.0
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STATUS = st.integers(100, 599) | st.sampled_from([200, 201, 400, 403, 413, 429, 500, 502, 503, 504])
SAID = documents(
    ingestionId=some("ing-1") | st.text(max_size=300),
    processingStatus=some(*sorted(PROCESSING_STATES), "PENDING"),
    reportDownloadLink=some("https://reports.example/1?X-Amz-Signature=s"),
    errorMsg=some("please retry again", "StoreID's incorrect", "Invalid request body"),
    message=some("Signature expired: x", "The security token included in the request is expired"),
)
BODY = (hostile_values(SAID) | JSON.map(dumps) | HOSTILE_JSON).map(str.encode) | st.binary(max_size=60)
#: Headers that are read, with values near to what they should be, and others.
VALUE = TEXT | st.sampled_from(
    ["7", "-1", "1e9", "Mon, 21 Sep 2026 14:13:20 GMT", "Mon, 99 Foo 0 99:99:99 -9999", "\0"]
)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), VALUE, max_size=3)
#: The client's clock and the ledger are shared by the examples of a test.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

FOR_UPLOADS = set(Verdict) - {Verdict.UNKNOWN_INGESTION, Verdict.NOT_SENT, Verdict.BREAKER_OPEN}
FOR_STATUS = set(Verdict) - {Verdict.REJECTED, Verdict.REJECTED_STORES, Verdict.NOT_SENT, Verdict.BREAKER_OPEN}


def json_of(value: Any) -> bytes:
    return dumps(value).encode()


def is_sound(answer: Answer) -> None:
    """Hold an answer to what the rest relies on, whatever was answered."""
    assert answer.retry_after is None or 0 <= answer.retry_after <= MAX_RETRY_AFTER
    for told in (answer.message, answer.evidence):
        assert len(told) <= 600
        assert told.isprintable()
    assert (answer.verdict is Verdict.ACCEPTED) == (answer.message == "")
    assert health(answer) in Health
    if answer.verdict is Verdict.ACCEPTED:
        assert answer.http_status is not None
        assert 200 <= answer.http_status < 300
        assert health(answer) is Health.WELL
    if isinstance(answer, StatusAnswer):
        assert (answer.verdict is Verdict.ACCEPTED) == (answer.processing_status in PROCESSING_STATES)
        assert answer.report_link.isprintable()
        assert answer.report_link not in repr(answer) or len(answer.report_link) < 12
    else:
        assert (answer.verdict is Verdict.ACCEPTED) == (0 < len(answer.ingestion_id) <= MAX_ID)
        assert answer.ingestion_id.isprintable()


@given(STATUS, HEADERS, BODY)
@example(201, {}, b'{"ingestionId": "\\ud800"}')
@example(201, {}, b'{"ingestionId": "a\\u0000b"}')
@example(500, {"retry-after": "9" * 9}, b"{}")
@example(403, {"date": "Mon, 01 Jan 0001 00:00:00 +2359"}, b'{"message": "Signature expired"}')
def test_any_answer_to_an_upload_is_classified(status: int, headers: dict[str, str], body: bytes) -> None:
    """One of the verdicts, an id only with ACCEPTED, and texts that fit a log line."""
    RAN["answers to uploads"] += 1
    answer = classify_ingestion(status, headers, body, NOW)
    assert (type(answer), answer.http_status) == (Answer, status)
    assert answer.verdict in FOR_UPLOADS
    is_sound(answer)


@given(STATUS, HEADERS, BODY)
@example(200, {}, b'{"processingStatus": "DONE", "reportDownloadLink": "\\ud800"}')
@example(200, {}, b'{"processingStatus": ["DONE"]}')
def test_any_answer_to_a_status_call_is_classified(status: int, headers: dict[str, str], body: bytes) -> None:
    """One of the verdicts, a state only with ACCEPTED, and no link in any text."""
    RAN["answers to status calls"] += 1
    answer = classify_status(status, headers, body, NOW)
    assert (type(answer), answer.http_status) == (StatusAnswer, status)
    assert answer.verdict in FOR_STATUS
    is_sound(answer)


class Paper:
    """Tickets that are granted at once."""

    def take(self, operation: str, *, spare: bool = False) -> float:
        return 0.0


class Healthy:
    """A circuit breaker that is never open, and that judges each answer."""

    def ask(self) -> Passage:
        return Passage()

    def tell(self, passage: Passage, answer: Answer) -> None:
        assert health(answer) in Health


def client(clock: Any, transport: httpx.BaseTransport) -> CatalogApi:
    credentials = Credentials("AKIAEXAMPLE", SECRET, "session-token")
    breaker: Any = Healthy()
    tickets: Any = Paper()
    return CatalogApi(
        "https://amazon.example", credentials, "us-east-1", tickets, breaker, clock, transport=transport,
        renew=lambda: credentials,
    )  # fmt: skip


def calls(api: CatalogApi) -> None:
    """Make each kind of call, and hold its answer to what it must be."""
    for answer in (api.upload(b"{}"), api.archive(b"{}"), api.status("ing-1")):
        assert answer.verdict in Verdict
        is_sound(answer)
        assert SECRET not in repr(answer)
    api.close()


#: Header values as they travel: any bytes that HTTP allows in one, and what says that the body is packed.
RAW = st.lists(
    st.tuples(
        st.sampled_from([b"Content-Encoding", b"Content-Type", b"Retry-After", b"Date", b"Location", b"Set-Cookie"]),
        st.binary(max_size=20)
        | st.sampled_from([b"gzip", b"deflate", b"br", b"zstd", b"identity", b"gzip, gzip", b"7"]),
    ),
    max_size=4,
)


@SHARED
@given(STATUS, RAW, BODY, st.booleans())
def test_the_client_answers_whatever_is_answered(
    clock: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes, packed: bool
) -> None:
    """Any status, header and body, packed or only said to be packed: an answer, never an exception."""
    RAN["answers by HTTP"] += 1
    content = gzip.compress(body) if packed else body

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))

    calls(client(clock, httpx.MockTransport(answer)))


WHOLE = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n{"ingestionId": "ing-1"}'


@st.composite
def wire(draw: st.DrawFn) -> list[bytes]:
    """Bytes of an answer, damaged, or any bytes, in two pieces."""
    data = draw(damaged(WHOLE) | st.binary(max_size=80))
    middle = draw(st.integers(0, len(data)))
    return [piece for piece in (data[:middle], data[middle:]) if piece]


class Wire(httpx.HTTPTransport):
    """httpx's own transport, whose sockets answer what they are told to."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(verify=TLS)
        self._pool = httpcore.ConnectionPool(TLS, network_backend=httpcore.MockBackend(pieces))


@SHARED
@given(wire())
@example([])
@example([WHOLE])
@example([b"HTTP/1.1 100 Continue\r\n\r\n"])
@example([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
@example([b"HTTP/1.1 201 \xff\r\nContent-Length: -1\r\n\r\n"])
@example([b"HTTP/1.1 201 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"])
@example([b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_the_client_answers_whatever_is_on_the_wire(clock: Any, pieces: list[bytes]) -> None:
    """Any bytes, broken HTTP among them: an answer; nothing but a whole acceptance is ACCEPTED."""
    RAN["answers on the wire"] += 1
    calls(client(clock, Wire(pieces)))


def test_what_the_answers_are_compared_with_is_an_answer(clock: Any) -> None:
    """The unchanged bytes are an acceptance, so the fuzzing begins at the right place."""
    made = client(clock, Wire([WHOLE.replace(b": 23", b": 24")]))
    assert made.upload(b"{}").verdict is Verdict.ACCEPTED
    made.close()


@settings(SHARED, max_examples=30)
@given(STATUS, HEADERS, BODY)
@example(201, {}, json_of({"ingestionId": "é" * 255}))
@example(403, {}, json_of({"message": "\ud800"}))
def test_any_answer_can_be_recorded(
    dynamodb: Any, clock: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    """The ledger takes what is kept of an answer, whatever it was, and so does the breaker."""
    RAN["answers recorded"] += 1
    from catalog_sync.settings import Api

    ledger = LedgerTable(dynamodb, "Ledger", clock.sleep)
    attempts = Attempts(ledger, "acme", 1000.0)
    lease = Lease(ledger, "acme")
    number = lease.take("r1", clock.time())
    attempt = attempts.begin(AttemptKey("r1", 1, number), 0, 1, number, clock.time())
    answer = classify_ingestion(status, headers, body, NOW)
    breaker = Breaker(ledger, "acme", clock, Api())
    breaker.tell(Passage(), answer)
    if answer.verdict is Verdict.ACCEPTED:
        attempts.accepted(attempt, f"{answer.ingestion_id[:200]}{number}", clock.time(), 0.0)
    else:
        attempts.doubtful(attempt, answer)
        attempts.ended(attempt, State.REJECTED, clock.time(), answer)
    assert attempts.get(attempt.key) is not None


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.AMBIGUOUS])
def test_an_id_that_cannot_be_written_is_no_acceptance(verdict: Verdict) -> None:
    """Half a character pair cannot be stored or asked about; an unusual but printable id can."""
    name = {Verdict.ACCEPTED: "ing é/#1", Verdict.AMBIGUOUS: "ing-\ud800"}[verdict]
    assert classify_ingestion(201, {}, json_of({"ingestionId": name}), NOW).verdict is verdict
