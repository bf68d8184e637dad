"""The queue of notices on an emulated SQS: what is recorded, what comes again, what becomes a dead letter, and why."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError
from tests.unit.sns import (
    INNER,
    OTHER_KEY,
    PEM,
    SUBSCRIBE,
    TOPIC,
    confirmation_envelope,
    notification,
    notification_text,
    signed,
)
from tests.unit.stories.sink import Sink

from catalog_sync import metrics
from catalog_sync.alarms import alarms_of
from catalog_sync.api.client import CatalogApi
from catalog_sync.attempts import Attempt, AttemptKey, Attempts, State
from catalog_sync.breaker import Breaker
from catalog_sync.collect import Collector
from catalog_sync.dead_letters import TRIES, DeadLetterQueue
from catalog_sync.errors import Misconfigured, RetryLater
from catalog_sync.inbox import Inbox
from catalog_sync.lake import Lake
from catalog_sync.lease import Lease
from catalog_sync.ledger import LedgerTable
from catalog_sync.notices import Certificates, Why
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settings import Settings
from catalog_sync.tickets import Tickets

#: ``maxReceiveCount`` of the queue.
MOST = 5


def failure(operation: str, code: str = "ThrottlingException", status: int = 400) -> ClientError:
    """The error of an AWS call."""
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


class Sqs:
    """SQS whose calls fail when they are told to."""

    def __init__(self) -> None:
        self.client = boto3.client("sqs", region_name="us-east-1")
        #: Operation → what it raises, or for ``delete_message_batch`` the ids that it fails.
        self.failing: dict[str, Any] = {}
        self.handed_out: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            fault = self.failing.get(operation)
            if isinstance(fault, Exception):
                raise fault
            if fault:
                kept = [entry for entry in arguments["Entries"] if entry["Id"] not in fault]
                answer = self.client.delete_message_batch(**{**arguments, "Entries": kept}) if kept else {}
                return {**answer, "Failed": [{"Id": one, "Code": "InternalError"} for one in fault]}
            answer = getattr(self.client, operation)(**arguments)
            if operation == "receive_message":
                self.handed_out += [message["ReceiptHandle"] for message in answer.get("Messages", [])]
            return answer

        return call


class World:
    """A run, its queue, and what lies behind SNS's addresses."""

    def __init__(self, dynamodb: Any, clock: Any, kind: Kind = Kind.NIGHT) -> None:
        settings = Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": ["A"]}, "lake": "x",
                "results": {"queue": "q", "topic_arn": TOPIC, "wait": "7s"},
                "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}],
                "mapping": {"item_sku": "sku", "store_id": "store"},
            }
        )  # fmt: skip
        none: Any = None
        self.clock = clock
        self.ledger = LedgerTable(dynamodb, "Ledger", clock.sleep)
        self.run = Run(settings, none, "r1", Options(kind=kind), clock, Lake.in_memory(), self.ledger, none)
        self.attempts = Attempts(self.ledger, "acme", 1000.0)
        self.plan = Lease.of(self.run).take("r1", clock.time())
        self.sqs = Sqs()
        self.dead = self.sqs.create_queue(QueueName="q-dlq")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MOST})
        self.queue = self.sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
        self.visited: list[str] = []
        self.sns_answers = httpx.Response(200, content=PEM)
        self.signed = True

    def _visit(self, request: httpx.Request) -> httpx.Response:
        self.visited.append(str(request.url))
        return self.sns_answers

    def send(self, *bodies: Any) -> None:
        """Put messages into the queue."""
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=text)

    def notice(self, ingestion: str = "ing-1", status: str = "DONE", key: Any = None, **changes: Any) -> dict[str, Any]:
        """A signed notice."""
        envelope = notification({**INNER, "ingestionId": ingestion, "processingStatus": status}, **changes)
        return signed(envelope, notification_text(envelope), **({"key": key} if key else {}))

    def sent(self, number: int = 1) -> Attempt:
        """An upload that Amazon accepted as ``ing-<number>``."""
        attempt = self.attempts.begin(AttemptKey("r1", number, 1), 0, 10, self.plan, self.clock.time())
        self.attempts.accepted(attempt, f"ing-{number}", self.clock.time(), 0.1)
        return attempt

    def collector(self) -> Collector:
        """A collector as a fresh process would make it."""
        http = httpx.Client(transport=httpx.MockTransport(self._visit))
        certificates = Certificates(http, ("sns.{region}.amazonaws.com",), TOPIC) if self.signed else None
        inbox = Inbox(
            self.sqs, self.queue, TOPIC, certificates, wait=0, dead_letters=DeadLetterQueue.of(self.sqs, self.queue)
        )
        api = CatalogApi(
            "https://amazon.example", Credentials("k", "s"), "us-east-1",
            Tickets(self.ledger.client, "Ledger", self.clock), Breaker.of(self.run), self.clock,
            transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"processingStatus": "INPROGRESS"})),
        )  # fmt: skip
        return Collector(self.run, api, inbox)

    def receive(self, times: int = 1) -> int:
        """Collect so often, each time after what was left in the queue has become visible; return what came last."""
        received = 0
        for _ in range(times):
            for handle in self.sqs.handed_out:
                try:
                    self.sqs.client.change_message_visibility(
                        QueueUrl=self.queue, ReceiptHandle=handle, VisibilityTimeout=0
                    )
                except ClientError:
                    continue  # deleted meanwhile
            self.sqs.handed_out.clear()
            received = self.collector().step().received
        return received

    def count(self, url: str) -> int:
        """How many messages are in a queue, whether or not they can be seen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def dead_letters(self) -> list[tuple[str, str, dict[str, str]]]:
        """Why, body and attributes of each dead letter."""
        found = self.sqs.client.receive_message(
            QueueUrl=self.dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        letters = []
        for message in found.get("Messages", []):
            told = {name: one["StringValue"] for name, one in message.get("MessageAttributes", {}).items()}
            letters.append((told.get("why", ""), message["Body"], told))
        return letters

    def states(self) -> list[State]:
        """The states of the attempts, in order."""
        return [attempt.state for attempt in self.attempts.of_run("r1")]

    def alarms(self) -> list[str]:
        """The run's alarms."""
        return alarms_of(self.run, self.attempts)


@pytest.fixture
def world(dynamodb: Any, clock: Any) -> World:
    """A run of the night."""
    return World(dynamodb, clock)


def test_a_notice_is_recorded_and_then_deleted(world: World) -> None:
    """The attempt is done with its link, and the queue is empty."""
    world.sent()
    world.send(world.notice())
    assert world.receive() == 1
    [attempt] = world.attempts.of_run("r1")
    assert (attempt.state, attempt.link) == (State.DONE, INNER["reportDownloadLink"])
    assert (world.count(world.queue), world.count(world.dead), world.alarms()) == (0, 0, [])


def test_nothing_is_deleted_before_it_is_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: a process that dies while it records leaves the message in the queue, and the next one records it."""
    world.sent()
    world.send(world.notice())

    def dies(*_: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Attempts, "record_notice", dies)
        with pytest.raises(KeyboardInterrupt):
            world.receive()
    assert (world.count(world.queue), world.states()) == (1, [State.ACCEPTED])
    assert (world.receive(), world.count(world.queue), world.states()) == (1, 0, [State.DONE])


@pytest.mark.parametrize("fault", [["0"], failure("DeleteMessageBatch"), EndpointConnectionError(endpoint_url="x")])
def test_what_was_not_deleted_comes_again_and_changes_nothing(
    world: World, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """I2: a batch delete that fails, wholly or for one message, is told, and the message is deleted the next time."""
    world.sent(1)
    world.sent(2)
    world.send(world.notice("ing-1"), world.notice("ing-2"))
    world.sqs.failing["delete_message_batch"] = fault
    assert world.receive() == 2
    left = 1 if isinstance(fault, list) else 2
    assert (world.count(world.queue), caplog.text.count("it will come again")) == (left, left)
    before = world.attempts.of_run("r1")
    world.sqs.failing.clear()
    assert (world.receive(), world.count(world.queue)) == (left, 0)
    assert world.attempts.of_run("r1") == before


def test_repeated_and_reordered_notices_never_move_a_state_back(world: World) -> None:
    """DONE stays, whatever comes after it, and every message is deleted."""
    world.sent()
    for status in ("DONE", "INPROGRESS", "DONE", "INQUEUE", "FATAL"):
        world.send(world.notice(status=status))
        world.receive()
    assert (world.states(), world.count(world.queue)) == ([State.DONE], 0)


def test_notices_of_others_are_recorded_for_them(world: World) -> None:
    """Another run's upload moves on, and the notice of an unknown one waits for whoever is given that id."""
    world.run.run_id = "r2"
    other = world.attempts.begin(AttemptKey("r1", 1, 1), 0, 10, world.plan, world.clock.time())
    world.attempts.accepted(other, "ing-1", world.clock.time(), 0.1)
    world.send(world.notice("ing-1"), world.notice("ing-2"))
    assert (world.receive(), world.count(world.queue), world.states()) == (2, 0, [State.DONE])
    late = world.attempts.begin(AttemptKey("r1", 2, 1), 0, 10, world.plan, world.clock.time())
    world.attempts.accepted(late, "ing-2", world.clock.time(), 0.1)
    assert world.states() == [State.DONE, State.DONE]


def bodies(world: World) -> dict[Why, Any]:
    """For each reason that lies in the message itself, one such message."""
    foreign = "arn:aws:sns:us-east-1:123456789012:Other"
    return {
        Why.OVERSIZE: json.dumps({**INNER, "padding": "x" * 256 * 1024}),
        Why.MALFORMED: '{"Type": "Notification", "Tok',
        Why.WRONG_TOPIC: world.notice(TopicArn=foreign),
        Why.UNKNOWN_TYPE: notification(Type="Greeting"),
        Why.NO_INGESTION: world.notice(ingestion=""),
        Why.UNKNOWN_STATE: world.notice(status="COMPLETED"),
        Why.NOT_SIGNED: INNER,
        Why.BAD_SIGNATURE: world.notice(key=OTHER_KEY),
        Why.FOREIGN_ADDRESS: confirmation_envelope("https://evil.example/?Token=t0ken"),
    }


@pytest.mark.parametrize("why", [why for why in Why if why not in (Why.UNVERIFIED, Why.UNRECORDED, Why.MOVED_BY_SQS)])
def test_what_is_not_understood_becomes_a_dead_letter_with_the_reason(
    world: World, why: Why, caplog: pytest.LogCaptureFixture
) -> None:
    """After three tries, as it came, with code, text, tries and time; good messages beside it are not held up."""
    body = bodies(world)[why]
    if why is Why.OVERSIZE:  # the emulated queues take 256 KiB; AWS's may be made to take 1 MiB
        for url in (world.queue, world.dead):
            world.sqs.client.set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": str(1 << 20)})
    world.sent()
    world.send(body, world.notice())
    assert world.receive() == 1
    assert (world.states(), world.dead_letters()) == ([State.DONE], [])
    assert (world.receive(TRIES - 2), world.count(world.queue), world.count(world.dead)) == (0, 1, 0)
    assert (world.receive(), world.count(world.queue)) == (0, 0)
    [(told, kept, attributes)] = world.dead_letters()
    assert (told, kept) == (why.value, body if isinstance(body, str) else json.dumps(body))
    assert (attributes["received"], 0 < len(attributes["reason"]) <= 200) == (str(TRIES), True)
    assert int(attributes["sent_at"]) > 1_700_000_000
    assert world.alarms() == [f"messages that became dead letters: 1 ({why} 1); see docs/runbooks/dead-letters.md"]
    assert not any(secret in caplog.text for secret in ("s3cret", "t0ken", "xxxx"))


def test_a_message_is_never_gone_before_it_is_a_dead_letter(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """While it cannot be sent to the dead-letter queue it stays, and its reason is in the log; SQS is the backstop."""
    world.send("no json")
    world.sqs.failing["send_message"] = failure("SendMessage", "AccessDenied", 403)
    world.receive(MOST)
    assert (world.count(world.queue), world.count(world.dead)) == (1, 0)
    assert "MALFORMED: the queue message is not JSON" in caplog.text
    world.receive()
    assert (world.count(world.queue), [why for why, _, _ in world.dead_letters()]) == (0, [""])


def test_a_dead_letter_that_was_not_deleted_is_one_twice(world: World) -> None:
    """Dying between the two makes two copies, never none."""
    world.send("no json")
    world.receive(TRIES - 1)
    world.sqs.failing["delete_message_batch"] = failure("DeleteMessageBatch", "InternalError", 500)
    world.receive()
    world.sqs.failing.clear()
    world.receive()
    assert (world.count(world.queue), [why for why, _, _ in world.dead_letters()]) == (0, ["MALFORMED"] * 2)


def test_a_certificate_that_cannot_be_fetched_is_waited_for(world: World) -> None:
    """The notice is left, and believed once the certificate is there again."""
    world.sent()
    world.send(world.notice())
    world.sns_answers = httpx.Response(503)
    assert (world.receive(TRIES), world.states(), world.count(world.dead)) == (0, [State.ACCEPTED], 0)
    world.sns_answers = httpx.Response(200, content=PEM)
    assert (world.receive(), world.states(), world.count(world.queue)) == (1, [State.DONE], 0)


def test_it_is_not_waited_for_without_end(world: World) -> None:
    """After one receipt less than the queue allows it is a dead letter with the reason, not one of SQS's own."""
    world.send(world.notice())
    world.sns_answers = httpx.Response(503)
    world.receive(MOST - 1)
    [(why, _, attributes)] = world.dead_letters()
    assert (why, attributes["reason"]) == ("UNVERIFIED", "sns.us-east-1.amazonaws.com: HTTP 503")


def test_passing_trouble_does_not_use_up_the_tries_of_all(world: World) -> None:
    """The first ten messages are tried; the rest of the queue is left alone until the trouble is over."""
    world.send(*(world.notice(f"ing-{n}") for n in range(25)))
    world.sns_answers = httpx.Response(503)
    world.receive()
    assert len(world.sqs.handed_out) == 10


def test_a_throttled_ledger_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice that cannot be recorded now is left, and recorded later; without end it is a dead letter."""
    world.sent()
    world.send(world.notice())

    def throttled(*_: Any) -> bool:
        raise failure("UpdateItem", "ProvisionedThroughputExceededException")

    with monkeypatch.context() as patch:
        patch.setattr(Attempts, "record_notice", throttled)
        assert (world.receive(2), world.states(), world.count(world.queue)) == (1, [State.ACCEPTED], 1)
    assert (world.receive(), world.states(), world.count(world.queue)) == (1, [State.DONE], 0)
    monkeypatch.setattr(Attempts, "record_notice", throttled)
    world.send(world.notice("ing-2"))
    world.receive(MOST - 1)
    [(why, _, attributes)] = world.dead_letters()
    assert (why, "ProvisionedThroughputExceeded" in attributes["reason"]) == ("UNRECORDED", True)


def test_a_ledger_that_is_missing_stops_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no retry mends is no reason to bury notices: the task fails, and they stay."""
    world.sent()
    world.send(world.notice())

    def missing(*_: Any) -> bool:
        raise Misconfigured("no table")

    monkeypatch.setattr(Attempts, "record_notice", missing)
    with pytest.raises(Misconfigured, match="no table"):
        world.receive()
    assert world.count(world.queue) == 1


def test_a_link_that_no_ledger_could_hold_is_no_link(world: World) -> None:
    """Half a character in the link does not keep the notice from being recorded; the status API has another link."""
    world.sent()
    envelope = notification({**INNER, "reportDownloadLink": "https://r.example/\ud800"})
    world.send(signed(envelope, notification_text(envelope)))
    assert (world.receive(), world.states()) == (1, [State.DONE])
    assert world.attempts.of_run("r1")[0].link == ""


def test_a_subscription_is_confirmed(world: World) -> None:
    """For our topic, from SNS's host, signed by SNS: its link is visited once and the message deleted."""
    world.send(confirmation_envelope())
    assert (world.receive(), world.count(world.queue)) == (1, 0)
    assert world.visited.count(SUBSCRIBE) == 1


@pytest.mark.parametrize(
    "envelope",
    [
        confirmation_envelope(TopicArn="arn:aws:sns:us-east-1:123456789012:Other"),
        confirmation_envelope("https://evil.example/?Token=t0ken"),
        confirmation_envelope(key=OTHER_KEY),
    ],
    ids=["topic", "host", "signature"],
)
def test_no_other_subscription_is_confirmed(world: World, envelope: dict[str, Any]) -> None:
    """Another topic, host or signature: the link is not visited, and the message becomes a dead letter."""
    world.send(envelope)
    world.receive(TRIES)
    assert [url for url in world.visited if "Token" in url] == []
    assert len(world.dead_letters()) == 1


def test_without_signatures_no_subscription_is_confirmed(world: World) -> None:
    """With raw delivery believed, a confirmation could come from anybody."""
    world.signed = False
    world.send(confirmation_envelope())
    world.receive(TRIES)
    assert ([why for why, _, _ in world.dead_letters()], world.visited) == (["NOT_SIGNED"], [])


def test_an_unsubscription_is_an_alarm_until_something_younger_comes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is recorded before it is deleted, told at once and in the books of every run, and over with a new notice."""
    world.send(confirmation_envelope(Type="UnsubscribeConfirmation"))
    assert (world.receive(), world.count(world.queue)) == (1, 0)
    assert "docs/runbooks/unsubscribed.md" in caplog.text
    world.run.run_id = "r2"
    [alarm] = world.alarms()
    assert "unsubscribed the queue at 2026-11-20T02:30:00.500Z" in alarm
    world.send(world.notice(Timestamp="2026-11-20T02:29:59Z"))
    world.receive()
    assert world.alarms() == [alarm]
    world.send(world.notice(Timestamp="2026-11-20T02:30:01Z"))
    world.receive()
    assert world.alarms() == []
    world.send(confirmation_envelope(Type="UnsubscribeConfirmation"))  # the old word, once more
    world.receive()
    assert world.alarms() == []


def test_an_unsubscription_that_is_forged_is_no_alarm(world: World) -> None:
    """Only SNS can say that the subscription has ended."""
    world.send(confirmation_envelope(Type="UnsubscribeConfirmation", key=OTHER_KEY))
    world.receive()
    assert world.alarms() == []


@pytest.mark.parametrize("fault", [failure("ReceiveMessage"), EndpointConnectionError(endpoint_url="x")])
def test_a_queue_that_fails_does_not_stop_a_run(world: World, fault: Exception) -> None:
    """The step goes on without notices, after the time that it would have waited for one; a drain says so instead."""
    world.sent()
    world.sqs.failing["receive_message"] = fault
    before = world.clock.time()
    progress = world.collector().step()
    assert (progress.received, progress.open, world.clock.time() - before) == (0, 1, 7.0)
    world.run.asked = Options(kind=Kind.COLLECT)
    with pytest.raises(RetryLater, match=r"results\.queue"):
        world.collector().step()


@pytest.mark.parametrize(
    "fault", [failure("GetQueueUrl", "ServiceUnavailable", 503), EndpointConnectionError(endpoint_url="x")]
)
def test_a_queue_that_cannot_be_found_now_does_not_stop_a_run(world: World, fault: Exception) -> None:
    """The status API carries the run, also where metrics are wanted; a drain says that it cannot do anything."""
    world.sent()
    world.clock.sleep(16 * 60)  # longer than results.poll_after
    api = world.collector().api
    world.sqs.failing["get_queue_url"] = fault
    world.run.aws = SimpleNamespace(client=lambda service: world.sqs)  # type: ignore[assignment]
    metrics.send_to(Sink())
    try:
        progress = Collector(world.run, api).step()
    finally:
        metrics.send_to(None)
    assert (progress.polled, progress.open) == (1, 1)
    world.run.asked = Options(kind=Kind.COLLECT)
    with pytest.raises(RetryLater, match=r"results\.queue"):
        Collector(world.run, api).step()


def test_a_queue_that_may_not_be_read_is_a_mistake(world: World) -> None:
    """The error names the setting and where the permission comes from."""
    world.sent()
    world.sqs.failing["receive_message"] = failure("ReceiveMessage", "AccessDenied", 403)
    with pytest.raises(Misconfigured, match=r"results\.queue = 'q': AccessDenied.*permissions"):
        world.collector().step()


def test_without_a_dead_letter_queue_nothing_is_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A queue without a redrive policy keeps what nobody understands, and the log says why, at each try."""
    world.sqs.client.set_queue_attributes(QueueUrl=world.queue, Attributes={"RedrivePolicy": ""})
    assert DeadLetterQueue.of(world.sqs, world.queue) is None
    world.send("no json")
    with caplog.at_level(logging.ERROR):
        world.receive(TRIES + 1)
    assert (world.count(world.queue), caplog.text.count("has no dead-letter queue: it stays")) == (1, TRIES + 1)
