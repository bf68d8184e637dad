"""Messages through every kind of channel, to receivers that really listen."""

from __future__ import annotations

import email
import json
import logging
import threading
from collections.abc import Iterator
from email.message import Message as Mail
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from tests.integration.conftest import Deployment, Services

from catalog_airflow.channels import AirflowSender
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from catalog_sync import metrics, notify
from catalog_sync.notify import Message, Severity
from catalog_sync.notify_settings import Notify

MESSAGE = Message(
    Severity.WARNING,
    "Store SEA-001: 2 items were refused",
    "**2** items & more\n\n| SKU | name |\n|---|---|\n| A | Crème <b>brûlée</b> <!channel> {{ 7 * 7 }} |",
    link="https://airflow.example.com/runs/1",
    about={"store": "SEA-001"},
)
TOKEN = "token-that-nobody-may-see"


class Receiver:
    """An HTTP server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.posted.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook's other end."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Mailbox:
    """What a mail server was handed: envelope recipients and the message."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Mail]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep the mail."""
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=default)))
        return "250 OK"


class OnAnyPort(Controller):
    """A mail server on a port that the system chose; the controller looks at the port itself when it starts."""

    def _create_server(self) -> Any:
        self.bound = super()._create_server()
        return self._remember()

    async def _remember(self) -> Any:
        server = await self.bound
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server, and the connection to it."""
    box = Mailbox()
    controller = OnAnyPort(box, hostname="127.0.0.1", port=0)
    controller.start()
    extra = {"from_email": "catalog@example.com", "disable_ssl": True, "disable_tls": True, "retry_limit": 0}
    value = {"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(value))
    yield box
    controller.stop()


class Counted:
    """Metrics, kept."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def incr(self, stat: str, count: int = 1) -> None:
        """Count."""
        self.counts[stat] = self.counts.get(stat, 0) + count

    def gauge(self, stat: str, value: float) -> None:
        """Ignore."""

    def timing(self, stat: str, milliseconds: float) -> None:
        """Ignore."""


@pytest.fixture(autouse=True)
def counted() -> Iterator[Counted]:
    """Messages go through Airflow's hooks, and are counted."""
    kept = Counted()
    notify.send_to(AirflowSender())
    metrics.send_to(kept)
    yield kept
    notify.send_to(None)
    metrics.send_to(None)


def config(**channel: Any) -> Notify:
    """A configuration with one channel, ``c``."""
    return Notify.model_validate({"channels": {"c": channel}})


def webhook(monkeypatch: pytest.MonkeyPatch, url: str) -> Notify:
    """A channel that posts to the address."""
    value = {"conn_type": "http", "host": url, "extra": {"Authorization": f"Bearer {TOKEN}"}}
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(value))
    return config(kind="webhook", conn_id="hook", endpoint="/notices")


def test_a_webhook_gets_json(monkeypatch: pytest.MonkeyPatch, receiver: Receiver, counted: Counted) -> None:
    """The message as it is, with the headers of the connection."""
    assert notify.send(webhook(monkeypatch, receiver.url), ["c"], MESSAGE) == ["c"]
    ((path, headers, body),) = receiver.posted
    assert (path, headers["Authorization"]) == ("/notices", f"Bearer {TOKEN}")
    assert body == {
        "severity": "warning", "subject": MESSAGE.subject, "text": MESSAGE.text, "link": MESSAGE.link,
        "about": {"store": "SEA-001"},
    }  # fmt: skip
    assert counted.counts == {"catalog.messages.sent": 1}


def test_slack_gets_text_that_mentions_nobody(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """What looks like a mention in a product's name is text; nothing is rendered as a template."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SLACK_DEFAULT",
        json.dumps({"conn_type": "slackwebhook", "host": receiver.url, "password": f"T0/{TOKEN}"}),
    )
    assert notify.send(config(kind="slack"), ["c"], MESSAGE) == ["c"]
    ((path, _, body),) = receiver.posted
    assert path == f"/T0/{TOKEN}"
    assert body["text"].startswith("*Store SEA-001: 2 items were refused*\n\n*2* items &amp; more")
    assert "&lt;!channel&gt; {{ 7 * 7 }}" in body["text"]
    assert body["text"].endswith(MESSAGE.link)


def test_a_mail_is_a_page_without_foreign_tags(mailbox: Mailbox) -> None:
    """Markdown becomes HTML; HTML in a product's name stays text; the address is the store's."""
    channel = config(kind="email", to=["{store}@stores.example.com", "all@example.com"])
    assert notify.send(channel, ["c"], MESSAGE) == ["c"]
    ((to, mail),) = mailbox.mails
    assert to == ["SEA-001@stores.example.com", "all@example.com"]
    assert (mail["From"], mail["Subject"]) == ("catalog@example.com", MESSAGE.subject)
    page = mail.get_body().get_content()  # type: ignore[attr-defined]
    assert "<td>Crème &lt;b&gt;brûlée&lt;/b&gt; &lt;!channel&gt; {{ 7 * 7 }}</td>" in page
    assert '<a href="https://airflow.example.com/runs/1">' in page


def test_a_subject_cannot_smuggle_in_a_header(mailbox: Mailbox) -> None:
    """Line breaks become blanks, other control characters are replaced."""
    hostile = Message(Severity.INFO, "Store\r\nBcc: evil@example.com\n\nbody\x00", "text")
    assert notify.send(config(kind="email", to=["a@example.com"]), ["c"], hostile) == ["c"]
    ((to, mail),) = mailbox.mails
    assert (to, mail["Bcc"]) == (["a@example.com"], None)
    assert mail["Subject"] == "Store Bcc: evil@example.com body\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("store", ["x@evil.example, y", "a\r\nBcc: b", "", "{store}", "a b"])
def test_a_store_cannot_become_another_address(mailbox: Mailbox, counted: Counted, store: str) -> None:
    """A store id that makes no address is sent nowhere."""
    message = Message(Severity.INFO, "s", "t", about={"store": store} if store else {})
    assert notify.send(config(kind="email", to=["{store}@example.com"]), ["c"], message) == []
    assert (mailbox.mails, counted.counts) == ([], {"catalog.messages.failed": 1})


def test_sns_gets_text_subject_and_attributes(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is subscribed with a filter on the store gets that store's message and no other."""
    sns, sqs = services.aws.client("sns"), services.aws.client("sqs")
    topic = sns.create_topic(Name="notices")["TopicArn"]
    queue = sqs.create_queue(QueueName="notices")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    only = {"FilterPolicy": json.dumps({"store": ["SEA-001"]})}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=only)
    value = {"conn_type": "aws", "login": DEFAULT_KEY, "password": DEFAULT_SECRET}
    value["extra"] = {"endpoint_url": services.aws.endpoint_url}  # type: ignore[assignment]
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(value))
    channel = config(kind="sns", topic_arn=topic)
    long = Message(Severity.INFO, "Störe " * 40, "zeile ö\n" * 60_000, about={"store": "SEA-001"})
    other = Message(Severity.INFO, "x", "y", about={"store": "SEA-002"})
    assert [notify.send(channel, ["c"], message) for message in (MESSAGE, other, long)] == [["c"]] * 3
    got = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        got += [json.loads(message["Body"]) for message in messages]
    assert {(one["Subject"][:24], one["MessageAttributes"]["severity"]["Value"]) for one in got} == {
        (MESSAGE.subject[:24], "warning"), (("Store " * 40)[:24], "info"),
    }  # fmt: skip
    texts = sorted((one["Message"] for one in got), key=len)
    assert texts[0] == f"{MESSAGE.text}\n\n{MESSAGE.link}"
    assert texts[1].endswith("zeile ö\n\n\n… the rest does not fit into this message.")
    assert 200_000 < len(json.dumps(texts[1])) <= 250_000


def test_a_channel_that_fails_fails_nothing_and_gives_nothing_away(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, unreachable, without a connection: logged without address, token or text, and counted."""
    webhook(monkeypatch, receiver.url)
    monkeypatch.setenv("AIRFLOW_CONN_DEAD", json.dumps({"conn_type": "http", "host": f"http://127.0.0.1:1/{TOKEN}"}))
    monkeypatch.setenv(
        "AIRFLOW_CONN_SLACK", json.dumps({"conn_type": "slackwebhook", "password": f"{receiver.url}/{TOKEN}"})
    )
    channels = {
        "refuses": {"kind": "webhook", "conn_id": "hook"},
        "slack": {"kind": "slack", "conn_id": "slack"},
        "dead": {"kind": "webhook", "conn_id": "dead"},
        "absent": {"kind": "email", "to": ["a@example.com"], "conn_id": "nowhere"},
    }
    receiver.status = 500
    with caplog.at_level(logging.INFO):
        assert notify.send(Notify.model_validate({"channels": channels}), channels, MESSAGE) == []
    assert counted.counts == {"catalog.messages.failed": 4}
    assert [name for name in channels if f"Channel {name} " in caplog.text] == list(channels)
    assert [text for text in (TOKEN, "brûlée") if text in caplog.text] == []


def test_a_message_goes_once(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Sent again under its name: nothing. After a refusal: once more. Without anybody who sends: not claimed either."""
    channels = webhook(monkeypatch, receiver.url).model_dump(include={"channels"})
    run = deployment.open("n1", notify=channels)
    notify.send_to(None)
    assert notify.send_once(run, ["c"], MESSAGE, "store/SEA-001") == []
    notify.send_to(AirflowSender())
    receiver.status = 503
    assert notify.send_once(run, ["c"], MESSAGE, "store/SEA-001") == []
    receiver.status = 200
    sent = [notify.send_once(run, ["c"], MESSAGE, name) for name in ("store/SEA-001", "store/SEA-001", "store/2")]
    assert (sent, len(receiver.posted)) == ([["c"], [], ["c"]], 3)
