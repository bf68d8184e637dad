"""The table of errors: what is seen, how it is classed, and what follows, line by line against the sandbox.

Every line is a night of eight rows in one batch. What the network alone can do (no connection, slow answers) is in
``tests/integration/test_client_against_sandbox.py``, what one request comes to in ``tests/unit/api``.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.unit.errors.retailer import STRANGE_STORE, Retailer, Row, both_stores, row, sent_side

from catalog_sandbox.faults import FAULTS
from catalog_sync.api.client import CatalogApi
from catalog_sync.errors import CatalogSyncError, Misconfigured, RetryLater
from catalog_sync.upload import AMBIGUOUS_TRIES, SEARCH_BUDGET, UploadFailed

EIGHT = both_stores()
#: A SKU in whose presence Amazon refuses a whole upload.
POISON = "SKU-666"


@dataclass(frozen=True)
class Line:
    """A line of the table.

    ``faults`` strike the uploads, one each. ``answers`` are the HTTP statuses in Amazon's record (0: the connection was
    dropped). ``attempts`` are the state and, where there is no ingestion to follow, the verdict. ``accepted``: how many
    requests Amazon took. ``raises``: what the upload task ends with. ``books``: what became of the planned rows.
    """

    seen: str
    faults: tuple[str, ...]
    answers: tuple[int, ...]
    attempts: tuple[str, ...]
    accepted: int
    books: dict[str, int]
    raises: type[CatalogSyncError] | None = None
    rows: tuple[Row, ...] = tuple(EIGHT)
    refused: tuple[str, ...] = ()
    state: str = "complete"

    def __str__(self) -> str:
        return f"{self.seen}: {', '.join(self.faults) or 'no fault'}"


def ambiguous(seen: str, fault: str, status: int, accepted: int) -> Line:
    """A line whose answer tells nothing: a new attempt is made, and the first stays in doubt."""
    attempts = ("SENDING AMBIGUOUS", "ACCEPTED")
    return Line(seen, (fault,), (status, 201), attempts, accepted, {"acknowledged": 8})


def busy(seen: str, fault: str, status: int) -> Line:
    """A line whose answer asks for another try: nothing was taken, nothing is in doubt."""
    return Line(seen, (fault,), (status, 201), ("REJECTED RETRY_LATER", "ACCEPTED"), 1, {"acknowledged": 8})


GATEWAY = "502, 503, 504, connection reset, time-out after sending"
NO_ID = "201 without an id, or a body that is not JSON"
TABLE = [
    Line("201 with an ingestion id", (), (201,), ("ACCEPTED",), 1, {"acknowledged": 8}),
    Line(
        "400 naming stores",
        (),
        (400, 201, 400),
        ("REJECTED REJECTED_STORES", "ACCEPTED", "REFUSED REJECTED_STORES"),
        1,
        {"acknowledged": 8, "refused": 2},
        rows=(*EIGHT, row(1, STRANGE_STORE), row(2, STRANGE_STORE)),
        refused=(f"{STRANGE_STORE}/SKU-1", f"{STRANGE_STORE}/SKU-2"),
    ),
    Line(
        "400 other",
        (),
        (400, 201, 400, 201, 400, 201, 400),
        (
            "REJECTED REJECTED",  # rows 0–8
            "ACCEPTED",  # 0–4
            "REJECTED REJECTED",  # 4–8
            "ACCEPTED",  # 4–6
            "REJECTED REJECTED",  # 6–8
            "ACCEPTED",  # 6
            "REFUSED REJECTED",  # 7
        ),
        3,
        {"acknowledged": 7, "refused": 1},
        rows=(*EIGHT[:4], row(0, "S2", item_no=POISON), *EIGHT[5:]),
        refused=(f"S2/{POISON}",),
    ),
    Line(
        "403",
        ("forbidden",),
        (403,),
        ("REJECTED FORBIDDEN",),
        0,
        {"unsent": 8},
        raises=Misconfigured,
        state="incomplete",
    ),
    busy("429", "throttled", 429),
    busy("500 whose text asks to retry", "server_error_retry", 500),
    Line(
        "500 otherwise",
        ("server_error_final",),
        (500,),
        ("FAILED FAILED",),
        0,
        {"failed": 8},
        raises=UploadFailed,
        state="incomplete",
    ),
    ambiguous(GATEWAY, "bad_gateway", 502, accepted=1),
    ambiguous(GATEWAY, "bad_gateway_after", 502, accepted=2),
    ambiguous(GATEWAY, "unavailable", 503, accepted=1),
    ambiguous(GATEWAY, "unavailable_after", 503, accepted=2),
    ambiguous(GATEWAY, "gateway_timeout", 504, accepted=1),
    ambiguous(GATEWAY, "gateway_timeout_after", 504, accepted=2),
    ambiguous(GATEWAY, "reset_before", 0, accepted=1),
    ambiguous(GATEWAY, "reset_after", 0, accepted=2),
    ambiguous(GATEWAY, "timeout_before", 0, accepted=1),
    ambiguous(GATEWAY, "timeout_after", 0, accepted=2),
    ambiguous(NO_ID, "no_id", 201, accepted=2),
    ambiguous(NO_ID, "not_json", 201, accepted=2),
]


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_each_line_of_the_table(retailer: Retailer, line: Line) -> None:
    """Amazon's answers, the attempts, how the task ends, the books, and Amazon's catalog after the next night."""
    retailer.faults(*line.faults, poison_skus=[POISON])
    retailer.plan(list(line.rows))
    errors = retailer.send()

    assert [entry.status for entry in retailer.requests()] == list(line.answers)
    assert retailer.seen() == list(line.attempts)
    assert [type(error) for error in errors] == ([line.raises] if line.raises else [])
    assert len(retailer.world.core.records()) == line.accepted
    doubtful = [attempt for attempt in retailer.attempts() if attempt.in_doubt and not attempt.ingestion_id]
    assert len(doubtful) == sum(seen == "SENDING AMBIGUOUS" for seen in line.attempts)

    books = retailer.finish()
    assert (books["state"], sent_side(books)) == (line.state, line.books)
    assert retailer.refusals() == dict.fromkeys(line.refused, "REQUEST_REFUSED")

    # With the fault over, what was not taken is derived again, and nothing that was refused, is.
    requests = len(retailer.requests())
    again = retailer.night("n2")
    left = len(line.rows) - line.books.get("acknowledged", 0) - len(line.refused)
    assert sent_side(again) == ({"acknowledged": left} if left else {})
    assert len(retailer.requests()) - requests == bool(left)
    assert len(retailer.world.active()) == len(line.rows) - len(line.refused)


@pytest.mark.parametrize("fault", ["no_id", "not_json"])
def test_an_answer_that_names_no_ingestion_is_kept_as_evidence(retailer: Retailer, fault: str) -> None:
    """What Amazon wrote instead of an id stands with the attempt, for whoever asks Amazon about it."""
    retailer.faults(fault)
    retailer.plan(EIGHT)
    retailer.send()
    first = retailer.attempts()[0].item
    assert (first["http_status"], first["message"]) == (201, "HTTP 201 without an ingestionId")
    assert first["evidence"] == {"no_id": "{}", "not_json": "<html><body>OK</body></html>"}[fault]


def test_one_poisonous_row_of_a_thousand_is_found(retailer: Retailer) -> None:
    """Halving needs about twice the binary logarithm of the batch's size, well within the bound."""
    retailer.faults(poison_skus=["SKU-777"])
    retailer.plan([row(n) for n in range(1000)])
    assert retailer.send() == []
    assert len(retailer.requests()) <= 2 * 10 + 1 < SEARCH_BUDGET
    assert sent_side(retailer.finish()) == {"acknowledged": 999, "refused": 1}
    assert retailer.refusals() == {"S1/SKU-777": "REQUEST_REFUSED"}


def test_the_search_costs_forty_requests_at_most(retailer: Retailer, caplog: pytest.LogCaptureFixture) -> None:
    """A batch of nothing but poison: after 40 requests it is refused whole, which is an error in the log."""
    retailer.faults(poison_skus=[f"SKU-{n}" for n in range(200)])
    retailer.plan([row(n) for n in range(200)])
    assert retailer.send() == []
    assert len(retailer.requests()) == SEARCH_BUDGET == 40
    (alert,) = {
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and "–200" in record.getMessage()
    }
    assert "40 requests did not find every bad row of the batch; what was left is refused whole" in alert
    books = retailer.finish()
    assert (books["state"], sent_side(books)) == ("complete", {"refused": 200})
    assert set(retailer.refusals()) == {f"S1/SKU-{n}" for n in range(200)}
    assert retailer.send() == []  # a cleared task finds nothing left to send
    assert len(retailer.requests()) == SEARCH_BUDGET


def test_one_bad_batch_does_not_keep_the_next_from_amazon(retailer: Retailer) -> None:
    """The search is bounded for each batch, and each has its own bound."""
    retailer.configure(api={"max_items": 100})
    retailer.faults(poison_skus=[f"BAD-{n}" for n in range(100)])
    retailer.plan([row(n, item_no=f"BAD-{n}" if n < 100 else f"GOOD-{n}") for n in range(200)])
    retailer.send()
    assert sent_side(retailer.finish()) == {"refused": 100, "acknowledged": 100}
    assert len(retailer.requests()) == SEARCH_BUDGET + 1


def test_403_stops_sending_at_once_and_results_are_still_collected(retailer: Retailer) -> None:
    """Of four batches the second meets a 403: no further request is made, and the first is acknowledged."""
    retailer.configure(api={"max_items": 2})
    retailer.faults({"fault": "forbidden", "operation": "upload", "skip": 1})
    retailer.plan(EIGHT)
    errors = retailer.send()
    assert [entry.status for entry in retailer.requests()] == [201, 403]
    assert [type(error).__name__ for error in errors] == ["Misconfigured", "Superseded", "Superseded"]
    for said in map(str, errors):
        for where in ("role_arn", "execute-api:Invoke", "allowlisting", "clock"):
            assert where in said
    books = retailer.finish()
    assert (books["state"], sent_side(books)) == ("incomplete", {"acknowledged": 2, "unsent": 6})
    assert any("sending was halted: User is not authorized" in problem for problem in books["problems"])


@pytest.mark.parametrize("fault", sorted(FAULTS["request"]))
def test_a_status_call_may_meet_every_line_of_the_table(retailer: Retailer, fault: str) -> None:
    """No notice comes, and the first poll fails in each of the ways: the next one brings the result."""
    retailer.plan(EIGHT)
    assert retailer.send() == []
    retailer.faults({"fault": fault, "operation": "status"}, rates={"notice_lost": 1.0})
    books = retailer.finish()
    assert (books["state"], sent_side(books)) == ("complete", {"acknowledged": 8})
    polls = [entry for entry in retailer.world.api.record.all() if entry.operation == "status"]
    assert [entry.fault for entry in polls][:2] == [fault, None]


def client(retailer: Retailer, **changes: Any) -> CatalogApi:
    """A client whose credentials, region or the like are other than they should be."""
    from botocore.credentials import Credentials

    from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
    from catalog_sync.breaker import Breaker
    from catalog_sync.tickets import Tickets

    run = retailer.run()
    tickets = Tickets(retailer.world.table, "Ledger", retailer.world.clock)
    made = {"base_url": "https://amazon.test", "credentials": Credentials(DEFAULT_KEY, DEFAULT_SECRET),
            "region": "us-east-1", "transport": retailer.world.wire}  # fmt: skip
    return CatalogApi(tickets=tickets, breaker=Breaker.of(run), clock=retailer.world.clock, **{**made, **changes})


def credentials(key: str, secret: str) -> Any:
    from botocore.credentials import Credentials

    return Credentials(key, secret)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"credentials": credentials("AKIASANDBOX0000000001", "another")}, "the secret key of the credentials"),
        ({"credentials": credentials("AKIANOBODY", "sandbox-secret")}, "AWS does not know the access key"),
        ({"region": "eu-west-1"}, "region_name"),
        ({"base_url": "https://amazon.test/stage"}, "the base URL"),
    ],
    ids=["secret", "key", "region", "base URL"],
)
def test_403_says_where_to_look(retailer: Retailer, changes: dict[str, Any], where: str) -> None:
    """The task's error names what to mend, and no secret."""
    retailer.plan(EIGHT)
    (error,) = retailer.send(client(retailer, **changes))
    assert isinstance(error, Misconfigured)
    assert where in str(error)
    assert "sandbox-secret" not in str(error)


@pytest.mark.parametrize(("off", "said"), [(1200, "1200 s behind"), (-1200, "1200 s ahead of")])
def test_a_wrong_clock_is_measured(retailer: Retailer, off: float, said: str) -> None:
    """A host whose clock is off is refused; the message says by how much, measured at Amazon's own answer."""
    world = retailer.world
    world.api._wall = lambda: world.clock.now + off
    retailer.plan(EIGHT)
    (error,) = retailer.send()
    assert isinstance(error, Misconfigured)
    assert "Look at the clock of this host" in str(error)
    assert f"this host is {said} Amazon" in str(error)


@pytest.mark.parametrize(("advised", "least", "most"), [(None, 1, 3), (0, 1, 3), (17, 17, 18), (3600, 60, 61)])
def test_429_waits_as_long_as_amazon_asks(
    retailer: Retailer, caplog: Any, advised: int | None, least: float, most: float
) -> None:
    """``Retry-After`` is honoured up to a minute; without it, a second and some jitter. It is counted and alerts."""
    retailer.faults("throttled", retry_after=advised)
    retailer.plan(EIGHT)
    run = retailer.run()
    from catalog_sync.upload import upload

    made = upload(run, [1], retailer.world.client(run))
    assert (made["throttled"], made["requests"]) == (1, 2)
    first, second = retailer.requests()
    assert least <= second.time - first.time <= most + 0.5
    assert [record.levelname for record in caplog.records if "Too Many Requests" in record.getMessage()] == ["ERROR"]


def test_429_for_ever_is_left_to_a_retry_of_the_task(retailer: Retailer) -> None:
    """After a minute of trying; nothing is in doubt, the breaker stays closed, and the next try goes on."""
    retailer.faults(rates={"throttled": 1.0})
    retailer.plan(EIGHT)
    began = retailer.world.clock.now
    (error,) = retailer.send()
    assert isinstance(error, RetryLater)
    assert 60 <= retailer.world.clock.now - began < 120
    assert set(retailer.seen()) == {"REJECTED RETRY_LATER"}
    retailer.faults()
    assert retailer.send() == []
    assert sent_side(retailer.finish()) == {"acknowledged": 8}


def test_a_server_that_asks_to_retry_is_asked_less_and_less_often(retailer: Retailer) -> None:
    """Pauses double from a second up to 20, each with jitter of its own, and a minute of them is enough for a task."""
    retailer.faults(rates={"server_error_retry": 1.0})
    retailer.configure(api={"max_items": 1000, "breaker": {"failures": 50}})
    retailer.plan(EIGHT)
    (error,) = retailer.send()
    assert isinstance(error, RetryLater)
    times = [entry.time for entry in retailer.requests()]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    for number, pause in enumerate(pauses):
        assert min(2**number, 20) <= pause <= min(2**number + 1, 20) + 0.5
    assert len({round(pause % 1, 2) for pause in pauses[:4]}) > 1
    assert 5 <= len(pauses) <= 8
    assert sum(pauses) < 90
    retailer.faults()
    assert retailer.send() == []
    assert sent_side(retailer.finish()) == {"acknowledged": 8}


def test_an_answer_that_stays_lost_is_left_to_a_retry_of_the_task(retailer: Retailer) -> None:
    """Each try may have been taken, so three are enough for one task; all stay in doubt."""
    retailer.faults(*["gateway_timeout_after"] * AMBIGUOUS_TRIES)
    retailer.plan(EIGHT)
    (error,) = retailer.send()
    assert isinstance(error, RetryLater)
    assert retailer.seen() == ["SENDING AMBIGUOUS"] * AMBIGUOUS_TRIES
    assert retailer.send() == []
    assert sent_side(retailer.finish()) == {"acknowledged": 8}


def test_500_without_advice_dirties_its_rows_even_when_the_source_goes_back(retailer: Retailer) -> None:
    """Nobody knows what Amazon did before it failed: the rows are sent again as they were acknowledged before."""
    assert sent_side(retailer.night("n1", EIGHT)) == {"acknowledged": 8}
    retailer.faults("server_error_final")
    assert sent_side(retailer.night("n2", [{**r, "descr": "Other"} for r in EIGHT])) == {"failed": 8}
    assert retailer.refusals() == {}
    assert sent_side(retailer.night("n3", EIGHT)) == {"acknowledged": 8}


def test_a_lost_connection_before_the_request_is_no_doubt(retailer: Retailer) -> None:
    """No connection: nothing was sent, so the attempt is over, and another is made."""
    wire, refused = retailer.world.wire, iter([httpx.ConnectError("refused")])

    class Refusing(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if error := next(refused, None):
                raise error
            return wire.handle_request(request)

    retailer.plan(EIGHT)
    assert retailer.send(client(retailer, transport=Refusing())) == []
    assert retailer.seen() == ["REJECTED NOT_SENT", "ACCEPTED"]
