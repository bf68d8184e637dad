"""Dead letters: shown without their secrets, sent back when told so, and never lost on the way."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sns import INNER, TOPIC, confirmation_envelope, notification

from catalog_sync import dead_letters
from catalog_sync.aws import Aws
from catalog_sync.cli import main
from catalog_sync.dead_letters import DeadLetter, DeadLetterQueue, redrive
from catalog_sync.errors import Misconfigured, RetryLater
from catalog_sync.notices import Why
from catalog_sync.settings import Settings, load

NOTICE = json.dumps(notification())
BROKEN = '{"Token": "t0ken", "link": "https://b.example.com/r?sig=s3cret"'


class Broken:
    """An AWS account one of whose SQS operations fails, from the second call on."""

    def __init__(self, operation: str, code: str, status: int = 400) -> None:
        self.operation, self.calls = operation, 0
        self.error = ClientError(
            {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
        )
        self.sqs = boto3.client("sqs", region_name="us-east-1")

    def client(self, service: str) -> Any:
        """Itself: it is the client."""
        return self

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls += operation == self.operation
            if operation == self.operation and self.calls > 1:
                raise self.error
            return getattr(self.sqs, operation)(**arguments)

        return call


class World:
    """A queue with its dead-letter queue, and the configuration that names it."""

    def __init__(self, folder: Any, clock: Any) -> None:
        file = folder / "catalog.yaml"
        file.write_text(
            json.dumps(
                {
                    "retailer": "acme", "stores": {"ids": ["A"]}, "lake": "x",
                    "results": {"queue": "q", "topic_arn": TOPIC},
                    "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}],
                    "mapping": {"item_sku": "sku", "store_id": "store"},
                }
            )
        )  # fmt: skip
        self.file = str(file)
        self.settings: Settings = load(file)
        self.clock = clock
        self.sqs = boto3.client("sqs", region_name="us-east-1")
        self.dead = self.sqs.create_queue(QueueName="q-dlq")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive_policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        self.queue = self.sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive_policy})["QueueUrl"]

    def bury(self, body: str, why: Why = Why.MALFORMED, hours: float = 1.0) -> None:
        """Make a dead letter of a message that first came so many hours ago."""
        sent = str(int((self.clock.time() - hours * 3600) * 1000))
        message = {"Body": body, "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": sent}}
        assert DeadLetterQueue(self.sqs, self.dead, 5).bury(message, why, f"because {why.value}")

    def redrive(self, aws: Any = None, **asked: Any) -> dead_letters.Redrive:
        """Redrive in this account."""
        return redrive(self.settings, aws or Aws.of("us-east-1"), self.clock, **asked)

    def bodies(self, url: str) -> list[str]:
        """What can be seen in a queue; it is taken out."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message["Body"])
        return found


@pytest.fixture
def world(dynamodb: Any, clock: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two empty queues."""
    monkeypatch.setattr(dead_letters, "WAIT", 0)  # the emulated queue would really wait
    return World(tmp_path, clock)


def test_a_dry_run_shows_and_changes_nothing(world: World) -> None:
    """Counts by reason, ages, and a sample; afterwards all can be seen in the dead-letter queue at once."""
    world.bury(NOTICE, Why.BAD_SIGNATURE, hours=30)
    world.bury(BROKEN, Why.MALFORMED, hours=2)
    world.bury(BROKEN, Why.MALFORMED, hours=1)
    made = world.redrive()
    assert (made.dry_run, made.waiting, made.seen, made.matched, made.sent_back) == (True, 3, 3, 3, 0)
    assert made.reasons == {"MALFORMED": 2, "BAD_SIGNATURE": 1}
    shown = next(letter for letter in made.sample if letter["why"] == "BAD_SIGNATURE")
    assert shown["reason"] == "because BAD_SIGNATURE"
    assert (shown["received"], shown["age_hours"], shown["bytes"]) == (3, 30.0, len(NOTICE))
    assert (shown["Type"], shown["ingestionId"], shown["processingStatus"]) == ("Notification", "ing-1", "DONE")
    assert made.summary.startswith(
        "3 dead letters looked at (MALFORMED 2, BAD_SIGNATURE 1); 3 would be sent back, first received 2026-09-20T"
    )
    assert world.bodies(world.queue) == []
    assert sorted(world.bodies(world.dead)) == sorted([NOTICE, BROKEN, BROKEN])


def test_nothing_secret_is_shown(world: World) -> None:
    """I8: neither links nor tokens, and of what is no JSON no text at all."""
    for body in (NOTICE, BROKEN, json.dumps(confirmation_envelope()), json.dumps(INNER)):
        world.bury(body)
    shown = json.dumps(world.redrive().as_dict())
    assert not any(secret in shown for secret in ("s3cret", "t0ken", "https:", 'Signature":'))
    assert shown.count("sha256") == 1


def test_they_are_sent_back_as_they_came(world: World) -> None:
    """Without the dry run: the same bodies are in the queue, and the dead-letter queue is empty."""
    bodies = [NOTICE, BROKEN, "ü\n"] * 9
    for body in bodies:
        world.bury(body)
    made = world.redrive(dry_run=False)
    assert (made.matched, made.sent_back, len(made.sample)) == (27, 27, dead_letters.SAMPLE)
    assert (sorted(world.bodies(world.queue)), world.bodies(world.dead)) == (sorted(bodies), [])


def test_only_one_reason(world: World) -> None:
    """The others stay, and can be seen at once."""
    world.bury("a", Why.WRONG_TOPIC)
    world.bury("b", Why.MALFORMED)
    made = world.redrive(why="WRONG_TOPIC", dry_run=False)
    assert (made.seen, made.matched, made.sent_back) == (2, 1, 1)
    assert (world.bodies(world.queue), world.bodies(world.dead)) == (["a"], ["b"])


def test_not_more_than_the_limit(world: World) -> None:
    """The rest stays for another time."""
    for n in range(25):
        world.bury(str(n))
    assert world.redrive(limit=12, dry_run=False).sent_back == 12
    assert (len(world.bodies(world.queue)), len(world.bodies(world.dead))) == (12, 13)


def test_what_sqs_moved_by_itself_has_a_name(world: World) -> None:
    """A dead letter without our attributes, or with attributes of others, can be shown and filtered."""
    world.sqs.send_message(QueueUrl=world.dead, MessageBody=NOTICE)
    alien = {"why": {"DataType": "String", "StringValue": "?"}, "sent_at": {"DataType": "String", "StringValue": "-"}}
    world.sqs.send_message(QueueUrl=world.dead, MessageBody=NOTICE, MessageAttributes=alien)
    made = world.redrive(why="MOVED_BY_SQS", dry_run=False)
    assert (made.reasons, made.sent_back) == ({"MOVED_BY_SQS": 2}, 2)
    assert "received too often" in made.sample[0]["reason"]


def test_an_empty_queue(world: World) -> None:
    """Nothing is no error."""
    assert world.redrive(dry_run=False).summary == "0 dead letters looked at (none); 0 were sent back."


@pytest.mark.parametrize("operation", ["send_message", "delete_message"])
def test_dying_in_between_loses_nothing(world: World, operation: str) -> None:
    """Sent first, deleted then: whichever call fails, each message is in one queue or in both."""
    for body in ("a", "b", "c"):
        world.bury(body)
    with pytest.raises(RetryLater, match="InternalError"):
        world.redrive(Broken(operation, "InternalError", 500), dry_run=False)
    seconds = world.sqs.get_queue_attributes(
        QueueUrl=world.dead, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    left = sum(map(int, seconds.values()))
    back = world.bodies(world.queue)
    assert (len(back), left) == ((1, 2) if operation == "send_message" else (2, 2))


def test_what_stays_may_stay_hidden_for_a_while(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Not being able to show them again at once is no failure: SQS does so after 15 minutes."""
    for n in range(11):
        world.bury(str(n))
    assert world.redrive(Broken("change_message_visibility_batch", "InternalError", 500)).seen == 11
    assert "stay hidden for 900 s" in caplog.text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"why": "NOPE"}, r"reason = 'NOPE': none of OVERSIZE, MALFORMED"),
        ({"limit": 0}, "limit = 0: 1 to 10,000"),
        ({"limit": 10_001}, "limit = 10001: 1 to 10,000"),
    ],
)
def test_what_cannot_be_asked_for(world: World, asked: dict[str, Any], message: str) -> None:
    """The message names the value and the rule."""
    with pytest.raises(Misconfigured, match=message):
        world.redrive(**asked)


def test_missing_rights_and_queues_are_named(world: World) -> None:
    """A permission that lacks, a queue without a dead-letter queue, and no queue at all."""
    world.bury("a")
    world.bury("b")
    with pytest.raises(Misconfigured, match=r"AccessDenied; the role needs to receive, delete and send there"):
        world.redrive(Broken("send_message", "AccessDenied", 403), dry_run=False)
    world.sqs.set_queue_attributes(QueueUrl=world.queue, Attributes={"RedrivePolicy": ""})
    with pytest.raises(Misconfigured, match=r"'q': has no dead-letter queue; create both"):
        world.redrive()
    world.sqs.delete_queue(QueueUrl=world.queue)
    with pytest.raises(Misconfigured, match=r"results\.queue = 'q'.*NonExistentQueue"):
        world.redrive()


def test_the_command_line_shows_and_sends_back(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """``dead-letters`` only shows; ``--redrive`` sends back; ``--json`` is for machines; a mistake is exit code 2."""
    world.bury(NOTICE, Why.WRONG_TOPIC)
    assert main(["--config", world.file, "dead-letters"]) == 0
    assert "1 dead letters looked at (WRONG_TOPIC 1); 1 would be sent back" in capsys.readouterr().out.replace(
        "\n", " "
    )
    assert main(["--config", world.file, "dead-letters", "--why", "WRONG_TOPIC", "--redrive", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent_back"] == 1
    assert world.bodies(world.queue) == [NOTICE]
    assert main(["--config", world.file, "dead-letters", "--why", "x"]) == 2
    assert "reason = 'x'" in capsys.readouterr().err


@given(
    st.text(st.characters(exclude_categories=()))
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["Message", "Type", "ingestionId", "Token"]), inner, max_size=4)
        ),
    ).map(json.dumps)
)
def test_any_body_can_be_shown(body: str) -> None:
    """Whatever lies in the queue, it is described, in short printable lines."""
    about = DeadLetter.of({"MessageId": "m", "Body": body}).about
    assert about
    assert all(len(value) <= 80 and value.isprintable() for value in about.values())
