"""The real client, tickets, notices and reports against the real sandbox: sockets, signatures, limits and all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import httpx
import polars as pl
import pytest

from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.faults import FaultPlan, Scripted
from catalog_sandbox.server import Sandbox
from catalog_sync import reports
from catalog_sync.api.client import CatalogApi
from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.breaker import Breaker
from catalog_sync.clock import SystemClock
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.ledger import LedgerTable
from catalog_sync.notices import BadNotice, Certificates, Confirmation, Notice, confirm, parse, verify
from catalog_sync.settings import Settings
from catalog_sync.tickets import Tickets

CONFIG = SandboxConfig(stage="prod", confirmation="required")
TOPIC = CONFIG.topic_arn
ROLE = "arn:aws:iam::123456789012:role/CatalogApiCaller"
STRANGER = "arn:aws:iam::123456789012:role/SomebodyElse"
SETTINGS = Settings.model_validate(
    {
        "retailer": "acme",
        "stores": {"ids": ["SEA-001"]},
        "lake": "lake",
        "results": {"queue": "q", "topic_arn": TOPIC, "certificate_hosts": ["127.0.0.1"]},
        "sources": [{"name": "erp", "kind": "file", "path": "x.csv", "format": "csv"}],
        "mapping": {"item_sku": "sku", "store_id": "store"},
    }
)


class AheadClock:
    """Amazon's time: the real one, moved ahead by a test so that processing and expiry need no waiting."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


AMAZON_TIME = AheadClock()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox under a stage path, with the ledger's table."""
    with Sandbox.start(CONFIG, clock=AMAZON_TIME) as running:
        client(running, "dynamodb").create_table(
            TableName="Ledger",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield running


@pytest.fixture(autouse=True)
def fresh(sandbox: Sandbox) -> None:
    """Each test begins with an empty catalog and orders its own faults; the rate limit remembers."""
    sandbox.core.reset()
    sandbox.core.faults.replace(FaultPlan())


def client(sandbox: Sandbox, service: str) -> Any:
    """Return a client of one of the sandbox's AWS services."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=sandbox.aws_url,
        aws_access_key_id="123456789012",
        aws_secret_access_key="x",
    )


def api_of(
    sandbox: Sandbox,
    *,
    base: str | None = None,
    extra: dict[str, Any] | None = None,
    timeout: float = 60.0,
    **connection: Any,
) -> CatalogApi:
    """Return the client that a connection makes."""
    environ = {
        "AIRFLOW_CONN_CATALOG_API": json.dumps(
            {
                "conn_type": "http",
                "host": base or sandbox.api_url,
                "login": DEFAULT_KEY,
                "password": DEFAULT_SECRET,
                "extra": {"region_name": "us-east-1", **(extra or {})},
                **connection,
            }
        ),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
            {"conn_type": "aws", "login": "123456789012", "password": "x", "extra": {"endpoint_url": sandbox.aws_url}}
        ),
    }
    clock = SystemClock()
    tickets = Tickets(client(sandbox, "dynamodb"), "Ledger", clock)
    settings = SETTINGS.model_copy(
        update={"api": SETTINGS.api.model_copy(update={"timeout": timedelta(seconds=timeout)})}
    )
    breaker = Breaker(LedgerTable(client(sandbox, "dynamodb"), "Ledger"), settings.retailer, clock, settings.api)
    return CatalogApi.from_connection(settings, EnvironmentConnections(environ), clock, tickets, breaker)


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[CatalogApi]:
    """The client with static keys."""
    with api_of(sandbox) as made:
        yield made


def item(sku: str = "TEST-001", store: str = "SEA-001", **changes: Any) -> dict[str, Any]:
    return {
        "item_sku": sku,
        "external_product_id": "123456789012",
        "item_name": "Test Product",
        "store_id": store,
        **changes,
    }


def body(*items: Any) -> bytes:
    return json.dumps({"catalogItems": items}).encode()


def test_an_upload_is_accepted_below_a_stage_path(sandbox: Sandbox, api: CatalogApi) -> None:
    """Static keys, a stage path and the right region: Amazon accepts, and then knows the ingestion."""
    answer = api.upload(body(item()))

    assert answer.verdict is Verdict.ACCEPTED, answer
    assert answer.ingestion_id
    assert sandbox.api_url.endswith("/prod")
    assert api.status(answer.ingestion_id).verdict is Verdict.ACCEPTED


def test_a_large_body_arrives_whole(sandbox: Sandbox, api: CatalogApi) -> None:
    """10,000 items with characters beyond ASCII verify and are all counted."""
    items = [item(f"SKU-{n}", item_name=f"Crème {n}") for n in range(10_000)]

    answer = api.upload(json.dumps({"catalogItems": items}, ensure_ascii=False).encode())

    assert answer.verdict is Verdict.ACCEPTED, answer
    (entry,) = [entry for entry in sandbox.api.record.all() if entry.ingestion_id == answer.ingestion_id]
    assert entry.items == 10_000


@pytest.mark.parametrize("login", [{}, {"login": "", "password": ""}], ids=["own keys", "aws connection"])
def test_an_assumed_role_may_call(sandbox: Sandbox, login: dict[str, str]) -> None:
    """The allowlisted role is assumed through STS, and its session signs."""
    with api_of(sandbox, extra={"role_arn": ROLE, "external_id": "acme"}, **login) as api:
        answer = api.upload(body(item()))

    assert answer.verdict is Verdict.ACCEPTED, answer


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"password": "wrong"}, "secret key"),
        ({"login": "AKIANOBODY"}, "access key"),
        ({"extra": {"region_name": "eu-west-1"}}, "region_name"),
        ({"extra": {"role_arn": STRANGER}}, "execute-api:Invoke"),
    ],
    ids=["secret", "key", "region", "role"],
)
def test_a_refused_caller_is_told_where_to_look(sandbox: Sandbox, changes: dict[str, Any], where: str) -> None:
    """Wrong secret, unknown key, wrong region and a role that is not allowlisted are told apart, without the secret."""
    with api_of(sandbox, **changes) as api:
        answer = api.upload(body(item()))

    assert (answer.verdict, answer.http_status) == (Verdict.FORBIDDEN, 403)
    assert where in answer.message
    assert DEFAULT_SECRET not in repr(answer)


def test_a_wrong_base_url_is_told(sandbox: Sandbox) -> None:
    """Without the stage path the gateway knows no such route; the message points at the base URL."""
    with api_of(sandbox, base=sandbox.control_url) as api:
        answer = api.upload(body(item()))

    assert answer.verdict is Verdict.FORBIDDEN
    assert "base URL" in answer.message


def test_nobody_listens(sandbox: Sandbox) -> None:
    """A refused connection means that nothing was sent."""
    with api_of(sandbox, base="http://127.0.0.1:9") as api:
        answer = api.upload(body(item()))

    assert answer.verdict is Verdict.NOT_SENT


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (body(item(store="INVALID_STORE_ID")), Verdict.REJECTED_STORES),
        (body(item(), item("TEST-002", "GBX-001")), Verdict.REJECTED_STORES),
        (body(item(), item("TEST-002", "INVALID_STORE_ID")), Verdict.REJECTED_STORES),
        (b'{"invalidField": []}', Verdict.REJECTED),
        (body({"item_sku": "TEST-001"}), Verdict.REJECTED),
        (body(*(item(f"S{n}") for n in range(10_001))), Verdict.REJECTED),
        (body(item(item_name="x" * 256)), Verdict.REJECTED),
        (body(item(store="S" * 256)), Verdict.REJECTED),
        (b"not json", Verdict.REJECTED),
        (b"x" * (11 * 1024 * 1024), Verdict.REJECTED),
    ],
    ids=[
        "bad store",
        "two retailers",
        "mixed",
        "no items",
        "no fields",
        "too many",
        "too long",
        "long store",
        "no json",
        "huge",
    ],
)  # fmt: skip
def test_each_documented_refusal(api: CatalogApi, content: bytes, verdict: Verdict) -> None:
    """The documented failure cases 1 to 7, and a body that is too large, say what to do with the batch."""
    answer = api.upload(content)

    assert answer.verdict is verdict, answer
    assert answer.message


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("throttled", Verdict.RETRY_LATER),
        ("forbidden", Verdict.FORBIDDEN),
        ("server_error_retry", Verdict.RETRY_LATER),
        ("server_error_final", Verdict.FAILED),
        ("bad_gateway", Verdict.AMBIGUOUS),
        ("unavailable", Verdict.AMBIGUOUS),
        ("gateway_timeout", Verdict.AMBIGUOUS),
        ("gateway_timeout_after", Verdict.AMBIGUOUS),
        ("timeout_before", Verdict.AMBIGUOUS),
        ("timeout_after", Verdict.AMBIGUOUS),
        ("reset_before", Verdict.AMBIGUOUS),
        ("reset_after", Verdict.AMBIGUOUS),
        ("no_id", Verdict.AMBIGUOUS),
        ("not_json", Verdict.AMBIGUOUS),
    ],
)
def test_each_fault_is_classified(sandbox: Sandbox, fault: str, verdict: Verdict) -> None:
    """Every fault that the sandbox knows gets its verdict, and the next request on the same client works again."""
    sandbox.core.faults.replace(FaultPlan(script=(Scripted(fault=fault),), hold=3))

    with api_of(sandbox, timeout=1.0) as api:
        assert api.upload(body(item())).verdict is verdict
        assert api.upload(body(item())).verdict is Verdict.ACCEPTED


def archiving(stores: Iterable[str]) -> bytes:
    """The body of a request that archives one SKU in these stores."""
    return json.dumps({"itemSkus": ["TEST-001"], "allApplicableStores": list(stores)}).encode()


def test_an_archive_must_name_every_store(api: CatalogApi) -> None:
    """A complete list of stores is accepted; an incomplete one is refused, and the answer names stores."""
    stores = CONFIG.retailers["acme"]

    assert api.archive(archiving(stores)).verdict is Verdict.ACCEPTED
    refused = api.archive(archiving(stores[1:]))
    assert refused.verdict in (Verdict.REJECTED, Verdict.REJECTED_STORES)
    assert stores[0] in refused.message


def test_an_unknown_ingestion(api: CatalogApi) -> None:
    """Asking for an id that Amazon never gave is told apart."""
    assert api.status("no-such-ingestion").verdict is Verdict.UNKNOWN_INGESTION


def received(sqs: Any, queue: str) -> str:
    """Return the next message's body, waiting for it."""
    (message,) = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=10)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return str(message["Body"])


def test_from_subscription_to_outcome(sandbox: Sandbox, api: CatalogApi) -> None:
    """Confirm the subscription, upload, verify the notice, fetch the report, judge the rows; then the link dies."""
    sqs = client(sandbox, "sqs")
    queue = sqs.create_queue(QueueName="JWOCatalogIngestionStatusQueue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    httpx.post(f"{sandbox.control_url}/sandbox/subscribe", json={"queueArn": arn}).raise_for_status()

    with httpx.Client() as http:
        certificates = Certificates(http, SETTINGS.results.certificate_hosts, TOPIC)
        asked = parse(received(sqs, queue), topic_arn=TOPIC)
        assert isinstance(asked, Confirmation)
        confirm(asked, certificates)

        sandbox.core.faults.replace(FaultPlan(refuse_skus=("TEST-002",)))
        items = [item(), item("TEST-002", external_product_id="4011")]
        answer = api.upload(body(*items))
        AMAZON_TIME.ahead += 600

        text = received(sqs, queue)
        notice = parse(text, topic_arn=TOPIC)
        assert isinstance(notice, Notice)
        assert notice.envelope is not None
        verify(notice.envelope, certificates)
        with pytest.raises(BadNotice):
            verify({**notice.envelope, "Message": text}, certificates)

    assert (notice.ingestion_id, notice.status) == (answer.ingestion_id, "DONE")
    report = reports.parse(reports.fetch(notice.report_link), ingestion_id=answer.ingestion_id)
    sent = pl.DataFrame(items).select("store_id", "item_sku")
    judged = reports.outcomes(report, sent)
    assert judged["outcome"].to_list() == ["acknowledged", "refused"]
    assert judged["code"].to_list()[1]
    assert (report.total, report.succeeded, report.failed) == (2, 1, 1)

    AMAZON_TIME.ahead += 3601
    with pytest.raises(reports.LinkExpired):
        reports.fetch(notice.report_link)
    fresh = api.status(answer.ingestion_id)
    assert fresh.processing_status == "DONE"
    assert reports.parse(reports.fetch(fresh.report_link), ingestion_id=answer.ingestion_id).total == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("report_unavailable", reports.RetryLater),
        ("report_error_page", reports.NotAReport),
        ("report_truncated", reports.NotAReport),
        ("link_expired", reports.LinkExpired),
    ],
)
def test_each_broken_report(sandbox: Sandbox, api: CatalogApi, fault: str, error: type[Exception]) -> None:
    """A report that is away, cut, expired or an error page is never taken for one."""
    # The link in the notice and the one from the status call.
    sandbox.core.faults.replace(FaultPlan(script=(Scripted(fault=fault, times=2),)))
    answer = api.upload(body(item()))
    AMAZON_TIME.ahead += 600
    sandbox.core.tick()
    link = api.status(answer.ingestion_id).report_link

    with pytest.raises(error):
        reports.parse(reports.fetch(link), ingestion_id=answer.ingestion_id)


@pytest.mark.parametrize(
    "fault", ["report_fields_missing", "report_unknown_fields", "report_unlisted", "report_failures_only"]
)
def test_each_incomplete_report(sandbox: Sandbox, api: CatalogApi, fault: str) -> None:
    """Of an incomplete or changed report no row is acknowledged that Amazon's catalog does not hold (I1)."""
    items = [item(f"SKU-{n}", external_product_id=str(4000 + n)) for n in range(40)]
    refused = tuple(str(one["item_sku"]) for one in items[::4])
    sandbox.core.faults.replace(FaultPlan(script=(Scripted(fault=fault),), refuse_skus=refused))
    answer = api.upload(body(*items))
    AMAZON_TIME.ahead += 600
    sandbox.core.tick()
    link = api.status(answer.ingestion_id).report_link

    report = reports.parse(reports.fetch(link), ingestion_id=answer.ingestion_id)
    judged = reports.outcomes(report, pl.DataFrame(items).select("store_id", "item_sku"))

    held = {row["item_sku"] for row in sandbox.core.rows("SEA-001")}
    acknowledged = set(judged.filter(pl.col("outcome") == "acknowledged")["item_sku"])
    assert acknowledged <= held
    assert not acknowledged & set(refused)
    assert judged.height == 40
    if fault == "report_failures_only":
        assert len(acknowledged) == 30


def test_many_callers_cause_no_429(sandbox: Sandbox) -> None:
    """Three callers at full speed, uploads and status calls mixed, never exceed the limit that is enforced (I3)."""
    answers: list[Answer] = []

    def call(send: Callable[[CatalogApi], Answer]) -> None:
        with api_of(sandbox) as api:
            answers.extend(send(api) for _ in range(8))

    sends: list[Callable[[CatalogApi], Answer]] = [
        lambda api: api.upload(body(item())),
        lambda api: api.upload(body(*(item(f"SKU-{n}") for n in range(3000)))),
        lambda api: api.status("unknown"),
    ]
    threads = [threading.Thread(target=call, args=(send,)) for send in sends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 24
    assert {answer.verdict for answer in answers} == {Verdict.ACCEPTED, Verdict.UNKNOWN_INGESTION}
