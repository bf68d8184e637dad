"""The running sandbox: real sockets, moto's AWS services, notices that reach a queue, connections that break."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from catalog_sandbox.config import SandboxConfig
from catalog_sandbox.server import Sandbox

INCLUDE = Path(__file__).parents[2] / "include"

ITEM = {
    "item_sku": "TEST-001",
    "external_product_id": "123456789012",
    "item_name": "Test Product",
    "store_id": "SEA-001",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox under a stage path; what it processes is done as soon as the pump runs."""
    with Sandbox.start(SandboxConfig.model_validate({"stage": "prod", "time_scale": 10_000})) as running:
        yield running


@pytest.fixture
def aws(sandbox):
    """Return a maker of clients for the sandbox's AWS services."""
    keys = {"aws_access_key_id": "123456789012", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return lambda service: boto3.client(service, endpoint_url=sandbox.aws_url, **keys)


def send(sandbox, credentials, operation="upload", body=None):
    """Send a signed request as an integrator would."""
    url = f"{sandbox.api_url}/v1/catalog/{operation}"
    content = json.dumps(body or {"catalogItems": [ITEM]}).encode()
    request = AWSRequest("POST", url, data=content, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    return httpx.post(url, content=content, headers=dict(request.headers.items()), timeout=10)


def receive(sqs, url):
    """Return the next message of a queue."""
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=5).get("Messages", [])
    assert found, "no message came"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
    return json.loads(found[0]["Body"])


@pytest.fixture
def session(aws):
    """Return the credentials of a session of the allowlisted role, from the sandbox's STS."""
    arn = "arn:aws:iam::123456789012:role/CatalogApiCaller"
    found = aws("sts").assume_role(RoleArn=arn, RoleSessionName="CatalogAPI")["Credentials"]
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def test_from_upload_to_report(sandbox, aws, session):
    """Subscribe, confirm, upload with an assumed role, receive the signed notice, verify it, download the report."""
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName="JWOCatalogIngestionStatusQueue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    answer = httpx.post(f"{sandbox.control_url}/sandbox/subscribe", json={"queueArn": arn})
    assert answer.json() == {"queue": arn, "status": "Complete"}
    confirmation = receive(sqs, url)
    assert confirmation["Type"] == "SubscriptionConfirmation"
    assert httpx.get(confirmation["SubscribeURL"]).status_code == 200
    assert httpx.get(confirmation["SubscribeURL"]).status_code == 400  # the token is used up

    accepted = send(sandbox, session)
    assert accepted.status_code == 201
    envelope = receive(sqs, url)
    certificate = x509.load_pem_x509_certificate(httpx.get(envelope["SigningCertURL"]).content)
    fields = ("Message", "MessageId", "Timestamp", "TopicArn", "Type")
    text = "".join(f"{key}\n{envelope[key]}\n" for key in fields)
    signature = base64.b64decode(envelope["Signature"])
    certificate.public_key().verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
    notice = json.loads(envelope["Message"])
    assert notice["ingestionId"] == accepted.json()["ingestionId"]
    status = send(sandbox, session, "getCatalogUploadStatus", accepted.json()).json()
    assert status["processingStatus"] == "DONE"
    assert httpx.get(status["reportDownloadLink"]).json()["summary"]["succeeded"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset_before", httpx.ReadError),
        ("reset_after", httpx.ReadError),
        ("timeout_before", httpx.RemoteProtocolError),
        ("timeout_after", httpx.RemoteProtocolError),
    ],
)
def test_connections_break_on_the_wire(sandbox, session, fault, error):
    """A reset is a TCP reset; a time-out is a connection that ends without an answer after the hold."""
    plan = {"script": [{"fault": fault}], "hold": 0}
    httpx.put(f"{sandbox.control_url}/sandbox/faults", json=plan).raise_for_status()
    before = len(sandbox.core.records())
    with pytest.raises(error):
        send(sandbox, session)
    assert len(sandbox.core.records()) - before == fault.endswith("after")


def test_a_queue_must_be_named(sandbox):
    """Subscribing without a queue's ARN is a 400 that shows the body wanted."""
    for body in (b"{}", b"", b'{"queueArn": "x"}'):
        assert httpx.post(f"{sandbox.control_url}/sandbox/subscribe", content=body).status_code == 400


def test_the_api_can_restart(sandbox, session):
    """The HTTP part stops and starts again on its port; what the sandbox knows stays."""
    accepted = send(sandbox, session).json()
    address, before = sandbox.api_url, len(sandbox.core.records())
    sandbox.stop_api()
    with pytest.raises(httpx.ConnectError):
        send(sandbox, session)
    sandbox.start_api()
    assert (sandbox.api_url, len(sandbox.core.records())) == (address, before)
    assert send(sandbox, session, "getCatalogUploadStatus", accepted).status_code == 200


def test_a_restart_on_order(sandbox, session, aws):
    """Both ports are away for the seconds asked for, open connections are cut, and what was held is there after it."""
    accepted = send(sandbox, session).json()
    queue = aws("sqs").create_queue(QueueName="kept")["QueueUrl"]
    before = len(sandbox.core.records())
    with httpx.Client(base_url=sandbox.control_url) as http:
        assert http.get("/sandbox/health").is_success
        assert http.post("/sandbox/restart", params={"down": 0.5}).json() == {"down": 0.5}
        _until(lambda: not _listens(sandbox.control_url) and not _listens(sandbox.aws_url))
        with pytest.raises(httpx.HTTPError):
            http.get("/sandbox/health")
    _until(lambda: _listens(sandbox.control_url) and _listens(sandbox.aws_url))
    assert len(sandbox.core.records()) == before
    assert send(sandbox, session, "getCatalogUploadStatus", accepted).status_code == 200
    assert aws("sqs").get_queue_url(QueueName="kept")["QueueUrl"] == queue
    assert httpx.post(f"{sandbox.control_url}/sandbox/restart", params={"down": -1}).status_code == 422


def _until(true: Callable[[], bool]) -> None:
    """Wait until something is true, and fail after a quarter of a minute."""
    wait = threading.Event().wait
    assert any(true() or wait(0.02) for _ in range(750))


def _listens(url: str) -> bool:
    """Tell whether anybody accepts connections there."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def test_a_port_that_is_taken(sandbox):
    """A taken port, of the API or of AWS, is an error that names it; nothing hangs."""
    for port in ("port", "aws_port"):
        taken = int(sandbox.control_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=f"{taken}.*choose another port"):
            Sandbox.start(**{port: taken})


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command():
    """The command starts a sandbox that answers on both ports, and ends with status 0 on SIGTERM."""
    port, aws_port = free_port(), free_port()
    command = [sys.executable, "-m", "catalog_sandbox", "--port", str(port), "--aws-port", str(aws_port)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(INCLUDE)}
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line
        assert httpx.get(f"http://127.0.0.1:{port}/sandbox/health").json()["status"] == "ok"
        assert httpx.get(f"http://127.0.0.1:{aws_port}/moto-api/").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
