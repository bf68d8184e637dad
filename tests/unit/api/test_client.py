"""The API client: one signed request for one ticket, and an answer for whatever happens."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from catalog_sync.api.client import MAX_ANSWER, CatalogApi
from catalog_sync.api.outcomes import Answer, StatusAnswer, Verdict
from catalog_sync.breaker import Passage
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import Misconfigured
from catalog_sync.settings import Settings

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
BASE = "https://catalog.example.com/prod"
BODY = b'{"catalogItems":[{"item_sku":"A"}]}'


class Paper:
    """Tickets that are granted at once and remembered."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bool]] = []

    def take(self, operation: str, *, spare: bool = False) -> float:
        self.taken.append((operation, spare))
        return 0.0


class Healthy:
    """A circuit breaker that is never open."""

    def ask(self) -> Passage:
        return Passage()

    def tell(self, passage: Passage, answer: Answer) -> None:
        pass


@pytest.fixture
def tickets() -> Paper:
    return Paper()


@pytest.fixture
def make(clock: Any, tickets: Paper) -> Callable[..., CatalogApi]:
    """Return a function that makes a client of ``base`` whose requests are answered by ``handle``."""

    def client(
        handle: Callable[[httpx.Request], httpx.Response], base: str = BASE, credentials: Any = None
    ) -> CatalogApi:
        return CatalogApi(
            base,
            credentials or Credentials("AKIAEXAMPLE", SECRET, "session-token"),
            "eu-west-1",
            tickets,  # type: ignore[arg-type]
            Healthy(),  # type: ignore[arg-type]
            clock,
            transport=httpx.MockTransport(handle),
        )

    return client


def accept(request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"ingestionId": "ing-1"})


def test_an_upload_is_one_signed_json_post(make: Any, tickets: Paper) -> None:
    """An upload takes one ticket and posts the very bytes, signed for ``execute-api`` in the configured region."""
    seen: list[httpx.Request] = []

    answer = make(lambda request: seen.append(request) or accept(request)).upload(BODY)

    (request,) = seen
    assert answer.verdict is Verdict.ACCEPTED
    assert answer.ingestion_id == "ing-1"
    assert tickets.taken == [("upload", False)]
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/v1/catalog/upload")
    assert request.content == BODY
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["x-amz-security-token"] == "session-token"
    assert "/eu-west-1/execute-api/aws4_request" in request.headers["authorization"]


@pytest.mark.parametrize("base", [BASE, f"{BASE}/", "https://catalog.example.com", "http://127.0.0.1:8090/a%20b"])
def test_what_is_sent_is_what_was_signed(make: Any, base: str) -> None:
    """The signature verifies against the request as it travels: host with port, stage path, body and all."""
    seen: list[httpx.Request] = []
    make(lambda request: seen.append(request) or accept(request), base).upload(BODY)

    (request,) = seen
    scope = re.search(r"SignedHeaders=([^,]+), Signature=(\w+)", request.headers["authorization"])
    assert scope
    signed = scope[1].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "content-type"} <= set(signed)
    again = AWSRequest("POST", str(request.url), {n: request.headers[n] for n in signed}, request.content)
    again.context["timestamp"] = request.headers["x-amz-date"]
    verifier = SigV4Auth(Credentials("AKIAEXAMPLE", SECRET, "session-token"), "execute-api", "eu-west-1")
    text = verifier.string_to_sign(again, verifier.canonical_request(again))
    assert verifier.signature(text, again) == scope[2]


#: The body of an archive request.
ARCHIVED = b'{"itemSkus":["A","B"],"allApplicableStores":["S1","S2"]}'


def test_an_archive_names_the_skus_and_every_store(make: Any, tickets: Paper) -> None:
    """An archive request has Amazon's two keys and its own path."""
    seen: list[httpx.Request] = []

    answer = make(lambda request: seen.append(request) or accept(request)).archive(ARCHIVED)

    assert answer.ingestion_id == "ing-1"
    assert str(seen[0].url) == f"{BASE}/v1/catalog/archive"
    assert seen[0].content == ARCHIVED
    assert tickets.taken == [("archive", False)]


def test_a_status_call_returns_state_and_link(make: Any, tickets: Paper) -> None:
    """A status call posts the ingestion id, keeps to spare tickets when asked, and returns state and link."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"processingStatus": "DONE", "reportDownloadLink": "https://r"})

    answer = make(handle).status("ing-1", spare=True)

    assert isinstance(answer, StatusAnswer)
    assert (answer.verdict, answer.processing_status, answer.report_link) == (Verdict.ACCEPTED, "DONE", "https://r")
    assert str(seen[0].url) == f"{BASE}/v1/catalog/getCatalogUploadStatus"
    assert json.loads(seen[0].content) == {"ingestionId": "ing-1"}
    assert tickets.taken == [("status", True)]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (httpx.ConnectError("refused"), Verdict.NOT_SENT),
        (httpx.ConnectError("[Errno -2] Name or service not known"), Verdict.NOT_SENT),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), Verdict.NOT_SENT),
        (httpx.ConnectTimeout("slow"), Verdict.NOT_SENT),
        (httpx.PoolTimeout("busy"), Verdict.NOT_SENT),
        (httpx.ProxyError("407"), Verdict.NOT_SENT),
        (httpx.WriteError("broken pipe"), Verdict.AMBIGUOUS),
        (httpx.WriteTimeout("slow"), Verdict.AMBIGUOUS),
        (httpx.ReadError("reset"), Verdict.AMBIGUOUS),
        (httpx.ReadTimeout("slow"), Verdict.AMBIGUOUS),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), Verdict.AMBIGUOUS),
        (httpx.DecodingError("not gzip"), Verdict.AMBIGUOUS),
    ],
)
def test_a_lost_connection_is_an_answer_too(make: Any, error: httpx.HTTPError, verdict: Verdict) -> None:
    """Only what failed before the first byte is NOT_SENT; anything later may have been accepted. Nothing is raised."""

    def handle(request: httpx.Request) -> httpx.Response:
        raise error

    api = make(handle)
    for answer in (api.upload(BODY), api.status("ing-1")):
        assert answer.verdict is verdict
        assert answer.http_status is None
        assert type(error).__name__ in answer.message
        assert "catalog.example.com" in answer.message


def test_latency_and_time_of_sending_are_measured(make: Any, clock: Any) -> None:
    """``sent_at`` is when the request started, ``latency`` what it took, by the clock given; also for a lost answer."""

    def slow(request: httpx.Request) -> httpx.Response:
        clock.sleep(2.5)
        if b"lost" in request.content:
            raise httpx.ReadTimeout("slow")
        return accept(request)

    api = make(slow)
    began = clock.time()
    first, second = api.upload(BODY), api.upload(b"lost")

    assert (first.sent_at, first.latency) == (began, 2.5)
    assert (second.sent_at, second.latency) == (began + 2.5, 2.5)


def test_a_huge_answer_is_not_read_to_its_end(make: Any) -> None:
    """No more than a bounded part of an answer is read; what is cut is no acceptance."""
    read = 0

    def flood() -> Any:
        nonlocal read
        yield b'{"ingestionId": "ing-1", "x": "'
        while read < 100 * MAX_ANSWER:
            read += 65536
            yield b"x" * 65536

    answer = make(lambda request: httpx.Response(201, content=flood())).upload(BODY)

    assert answer.verdict is Verdict.AMBIGUOUS
    assert read <= MAX_ANSWER + 2 * 65536


def test_a_trickling_answer_is_given_up(make: Any, clock: Any) -> None:
    """An answer that keeps coming, a little at a time, does not hold the task for ever."""

    def trickle() -> Any:
        for _ in range(10_000):
            clock.sleep(50)
            yield b" "

    answer = make(lambda request: httpx.Response(201, content=trickle())).upload(BODY)

    assert answer.verdict is Verdict.AMBIGUOUS
    assert answer.latency < 300


def test_a_compressed_answer_is_read(make: Any) -> None:
    """A gzip answer is understood although none is asked for."""
    content = gzip.compress(b'{"ingestionId": "ing-1"}')
    response = httpx.Response(201, content=content, headers={"Content-Encoding": "gzip"})

    assert make(lambda request: response).upload(BODY).verdict is Verdict.ACCEPTED


def test_cookies_are_not_kept(make: Any) -> None:
    """What one answer sets goes with no later request; one that could not be sent back would end them all."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        cookies = [(b"Set-Cookie", b"route=1"), (b"Set-Cookie", b"\x80")]
        return httpx.Response(201, headers=cookies, json={"ingestionId": "ing-1"})

    api = make(handle)
    assert [api.upload(BODY).verdict for _ in range(2)] == [Verdict.ACCEPTED] * 2
    assert "cookie" not in seen[1].headers


def test_a_redirect_is_not_followed(make: Any) -> None:
    """A signed request is never repeated at another address."""
    calls = []

    def handle(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(307, headers={"Location": "https://elsewhere.example.com/"})

    assert make(handle).upload(BODY).verdict is Verdict.AMBIGUOUS
    assert len(calls) == 1


class Broken:
    """Credentials that cannot be renewed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_frozen_credentials(self) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"), Verdict.FORBIDDEN),
        (ClientError({"Error": {"Code": "Throttling", "Message": "slow"}}, "AssumeRole"), Verdict.NOT_SENT),
        (ParamValidationError(report="Invalid length for parameter ExternalId"), Verdict.FORBIDDEN),
        (EndpointConnectionError(endpoint_url="https://sts"), Verdict.NOT_SENT),
    ],
)
def test_without_credentials_nothing_is_sent(make: Any, tickets: Paper, error: Exception, verdict: Verdict) -> None:
    """A role that may not be assumed is FORBIDDEN, an STS that is down NOT_SENT; no ticket is spent on either."""
    answer = make(accept, credentials=Broken(error)).upload(BODY)

    assert answer.verdict is verdict
    assert "role_arn" in answer.message
    assert tickets.taken == []


def test_credentials_that_sts_calls_expired_are_read_anew(make: Any, tickets: Paper) -> None:
    """When the keys that assume the role have ended, others are asked for before anything is sent; once."""
    expired = ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "old"}}, "AssumeRole")
    api = make(accept, credentials=Broken(expired))
    given: list[Any] = [Broken(expired), Credentials("AKIAEXAMPLE", SECRET)]
    api._renew = lambda: given.pop(0)
    assert api.upload(BODY).verdict is Verdict.FORBIDDEN
    assert tickets.taken == []
    assert len(given) == 1

    api = make(accept, credentials=Broken(expired))
    api._renew = lambda: given.pop(0)
    assert api.upload(BODY).verdict is Verdict.ACCEPTED
    assert tickets.taken == [("upload", False)]


@pytest.mark.parametrize("of", ["breaker", "tickets"])
def test_without_the_ledger_nothing_is_sent(make: Any, tickets: Paper, of: str) -> None:
    """When DynamoDB gives neither leave nor a ticket, the answer is certain: NOT_SENT; leave to probe is given back."""
    back: list[Passage] = []

    def fails(*given: object, **more: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.test")

    api = make(lambda request: pytest.fail("a request was sent"))
    broken, method = (api._breaker, "ask") if of == "breaker" else (api._tickets, "take")
    setattr(broken, method, fails)
    api._breaker.give_back = back.append
    answer = api.upload(BODY)
    assert (answer.verdict, "EndpointConnectionError" in answer.message) == (Verdict.NOT_SENT, True)
    assert back == ([] if of == "breaker" else [Passage()])


def test_neither_secret_nor_body_is_logged(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, with httpx's own logs, there is no secret, signature, token or body in the log."""
    with caplog.at_level(logging.DEBUG):
        answer = make(accept).upload(BODY)

    everything = caplog.text + repr(answer)
    assert "upload of 35 bytes: ACCEPTED (HTTP 201, ingestion 'ing-1')" in everything
    for secret in (SECRET, "session-token", "AWS4-HMAC-SHA256", "item_sku"):
        assert secret not in everything


def test_a_closed_client_is_closed_once(make: Any) -> None:
    """The client is a context manager, and closing it twice does no harm."""
    with make(accept) as api:
        assert api.upload(BODY).verdict is Verdict.ACCEPTED
    api.close()
    with pytest.raises(RuntimeError, match="closed"):
        api.upload(BODY)


def settings() -> Settings:
    return Settings.model_validate(
        {
            "retailer": "acme",
            "stores": {"ids": ["S1"]},
            "lake": "lake",
            "results": {"queue": "q", "topic_arn": "arn:aws:sns:us-east-1:123456789012:T"},
            "sources": [{"name": "erp", "kind": "file", "path": "x.csv", "format": "csv"}],
            "mapping": {"item_sku": "sku", "store_id": "store"},
        }
    )


def connected(clock: Any, tickets: Paper, connection: dict[str, Any], seen: list[httpx.Request]) -> CatalogApi:
    environ = {"AIRFLOW_CONN_CATALOG_API": json.dumps({"conn_type": "http", **connection})}
    environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps({"conn_type": "aws", "login": "AKIAOWN", "password": "own"})
    transport = httpx.MockTransport(lambda request: seen.append(request) or accept(request))  # type: ignore[func-returns-value]
    return CatalogApi.from_connection(
        settings(),
        EnvironmentConnections(environ),
        clock,
        tickets,  # type: ignore[arg-type]
        Healthy(),  # type: ignore[arg-type]
        transport,
    )


def test_a_connection_makes_a_client(clock: Any, tickets: Paper) -> None:
    """Host, region and keys come from the connection; the URL keeps its stage path."""
    seen: list[httpx.Request] = []
    connection = {"host": f"{BASE}/", "login": "AKIAAPI", "password": "p", "extra": {"region_name": "ap-south-1"}}

    connected(clock, tickets, connection, seen).upload(BODY)

    assert str(seen[0].url) == f"{BASE}/v1/catalog/upload"
    assert "Credential=AKIAAPI/" in seen[0].headers["authorization"]
    assert "/ap-south-1/execute-api/" in seen[0].headers["authorization"]


def test_without_keys_the_aws_connection_signs(clock: Any, tickets: Paper) -> None:
    """A connection without a login signs with the credentials of the AWS connection, in its own region."""
    seen: list[httpx.Request] = []

    connected(clock, tickets, {"host": BASE, "extra": {"region_name": "ap-south-1"}}, seen).upload(BODY)

    assert "Credential=AKIAOWN/" in seen[0].headers["authorization"]
    assert "/ap-south-1/execute-api/" in seen[0].headers["authorization"]


def test_a_role_is_assumed(dynamodb: Any, clock: Any, tickets: Paper) -> None:
    """With ``role_arn`` requests are signed with the role's own session."""
    seen: list[httpx.Request] = []
    extra = {
        "region_name": "us-east-1",
        "role_arn": "arn:aws:iam::123456789012:role/CatalogApiCaller",
        "external_id": "acme",
    }

    connected(clock, tickets, {"host": BASE, "extra": extra}, seen).upload(BODY)

    assert "Credential=AKIAOWN/" not in seen[0].headers["authorization"]
    assert seen[0].headers["x-amz-security-token"]


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ({"host": BASE}, "region_name is missing"),
        ({"host": "http://catalog.example.com", "extra": {"region_name": "us-east-1"}}, "https base URL"),
        ({"host": "ftp://catalog.example.com", "extra": {"region_name": "us-east-1"}}, "https base URL"),
        ({"host": "", "extra": {"region_name": "us-east-1"}}, "https base URL"),
    ],
)
def test_an_incomplete_connection_is_a_configuration_error(
    clock: Any, tickets: Paper, connection: dict[str, Any], message: str
) -> None:
    """A connection without a region or a secure base URL is refused by name."""
    with pytest.raises(Misconfigured, match=message) as caught:
        connected(clock, tickets, connection, [])
    assert "catalog_api" in str(caught.value)


def test_a_password_in_the_base_url_is_not_shown(clock: Any, tickets: Paper) -> None:
    """A base URL with a password in it is refused, and the message does not repeat the password."""
    connection = {"host": "https://user:hunter2@catalog.example.com", "extra": {"region_name": "us-east-1"}}

    with pytest.raises(Misconfigured) as caught:
        connected(clock, tickets, connection, [])
    assert "hunter2" not in str(caught.value)


def test_upload_tasks_load_no_frame_library() -> None:
    """Importing the client loads neither pandas nor Polars nor Arrow: hundreds of tasks pay for it."""
    include = str(Path(__file__).parents[3] / "include")
    code = (
        "import sys; import catalog_sync.api.client, catalog_sync.notices;"
        "print(sorted({'pandas', 'polars', 'pyarrow', 'numpy', 'airflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": include},
    )
    assert done.stdout.strip() == "[]"
