"""The queue of notices: receive, record, then delete (invariant I2).

A message is deleted only after the caller has said that what it told is durable. What cannot be understood, verified or
recorded is left, so that SQS hands it out again; after a few tries it becomes a dead letter, with the reason.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync.dead_letters import PASSING, DeadLetterQueue, is_passing, receipts
from catalog_sync.errors import Misconfigured, RetryLater
from catalog_sync.notices import (
    BadNotice,
    Certificates,
    Confirmation,
    Notice,
    Unsubscribed,
    Why,
    confirm,
    parse,
    verify,
)

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: AWS hands out at most 10 messages a call.
BATCH = 10
#: Most calls in one go, so that a flood of notices cannot keep a round from archiving reports.
CALLS = 50


@dataclass
class Received:
    """One message that SNS sent, and what it says. The caller makes that durable and says so, or says why it cannot."""

    message: Mapping[str, Any] = field(repr=False)
    said: Notice | Unsubscribed | Confirmation
    done: bool = False
    failure: str = ""

    @property
    def sent_at(self) -> float:
        """When it was put into the queue (Unix time); 0 where SQS does not tell."""
        return float(self.message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000

    def recorded(self) -> None:
        """Say that what the message told is durable, so that it may be deleted."""
        self.done = True

    def failed(self, reason: str) -> None:
        """Say that it cannot be made durable now; it will come again, or become a dead letter."""
        self.failure = reason


class Inbox:
    """The queue that Amazon's topic delivers to.

    :param topic_arn: the only topic that is believed.
    :param certificates: the keys that SNS signs with; ``None`` believes unsigned messages (raw delivery).
    :param wait: seconds of SQS long polling for the first call.
    :param dead_letters: where messages go that were in vain; ``None`` leaves them in the queue.

    :ivar buried: how many messages became dead letters, by reason; whoever notes it takes it away.
    """

    def __init__(
        self,
        sqs: Any,
        queue_url: str,
        topic_arn: str,
        certificates: Certificates | None,
        wait: int,
        dead_letters: DeadLetterQueue | None = None,
    ) -> None:
        self.sqs = sqs
        self.queue_url = queue_url
        self.topic_arn = topic_arn
        self.certificates = certificates
        self.wait = wait
        self.dead_letters = dead_letters
        self.buried: Counter[Why] = Counter()
        if certificates is not None:
            # Callers need not close the inbox; its connections end with it.
            weakref.finalize(self, certificates.close)
        self._received: list[Received] = []
        self._trouble = False

    @classmethod
    def of(cls, run: Run) -> Inbox:
        """Return the inbox of the run's deployment.

        :raises Misconfigured: the queue does not exist or may not be read.
        :raises RetryLater: SQS fails now.
        """
        results = run.settings.results
        sqs = run.aws.client("sqs")
        try:
            url = sqs.get_queue_url(QueueName=results.queue)["QueueUrl"]
        except ClientError as error:
            raise _unusable(results.queue, error) from None
        except BotoCoreError as error:
            raise _unreachable(results.queue, error) from None
        certificates = None
        if results.signed:
            certificates = Certificates(httpx.Client(timeout=10.0), results.certificate_hosts, results.topic_arn)
        wait = int(results.wait.total_seconds())
        return cls(sqs, url, results.topic_arn, certificates, wait, _dead_letters(sqs, url, results.queue))

    def receive(self, patient: bool = True) -> Iterator[Received]:
        """Yield what lies in the queue; ``patient`` waits for the first message (SQS long polling).

        It ends early when a message cannot be verified or recorded for a reason that may pass: going on would only use
        up the tries of all others.

        :raises Misconfigured: the queue is gone or may not be read.
        :raises RetryLater: SQS fails now.
        """
        self._trouble = False
        for call in range(CALLS):
            messages = self._messages(self.wait if patient and call == 0 else 0)
            for message in messages:
                received = self._understand(message)
                if received:
                    self._received.append(received)
                    yield received
                    if received.failure:
                        self._refuse(message, Why.UNRECORDED, received.failure)
            self.delete_recorded()
            if len(messages) == 0 or self._trouble:
                return

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait in ``results`` and ``dead_letters``, roughly, as far as SQS tells it."""
        queues = {"results": self.queue_url}
        if self.dead_letters is not None:
            queues["dead_letters"] = self.dead_letters.url
        return {name: count for name, url in queues.items() if (count := messages_in(self.sqs, url)) is not None}

    def _messages(self, wait: int) -> list[dict[str, Any]]:
        try:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        except ClientError as error:
            raise _unusable(self.queue_url.rpartition("/")[2], error) from None
        except BotoCoreError as error:
            raise _unreachable(self.queue_url.rpartition("/")[2], error) from None
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def _understand(self, message: Mapping[str, Any]) -> Received | None:
        try:
            said = parse(message["Body"], topic_arn=self.topic_arn)
            self._verify(said)
        except BadNotice as problem:
            self._refuse(message, problem.why, str(problem))
            return None
        except RetryLater as problem:
            self._refuse(message, Why.UNVERIFIED, str(problem))
            return None
        return Received(message, said)

    def _verify(self, said: Notice | Confirmation | Unsubscribed) -> None:
        """Believe it or raise; a subscription is confirmed here."""
        if isinstance(said, Confirmation):
            if self.certificates is None:
                raise BadNotice(
                    Why.NOT_SIGNED,
                    "a subscription is confirmed only when signatures are checked: results.signed is false",
                )
            confirm(said, self.certificates)
            log.info("Confirmed the queue's subscription to %s", self.topic_arn)
        elif self.certificates is not None:
            if said.envelope is None:
                raise BadNotice(
                    Why.NOT_SIGNED,
                    "it has no SNS envelope and so no signature; raw delivery needs results.signed: false",
                )
            verify(said.envelope, self.certificates)

    def _refuse(self, message: Mapping[str, Any], why: Why, reason: str) -> None:
        """Leave the message for another try, or make it a dead letter once it has had enough of them."""
        name, times = message.get("MessageId"), receipts(message)
        self._trouble |= why in PASSING
        if self.dead_letters is None:
            log.error("Message %s: %s: %s; the queue has no dead-letter queue: it stays", name, why.value, reason)
        elif times < self.dead_letters.tries(why):
            log.warning("Message %s, try %s: %s: %s; it will come again", name, times, why.value, reason)
        elif self.dead_letters.bury(message, why, reason):
            log.error(
                "Message %s is a dead letter after %s tries: %s: %s; see docs/runbooks/dead-letters.md",
                name, times, why.value, reason,
            )  # fmt: skip
            self.buried[why] += 1
            self._delete([message])

    def delete_recorded(self) -> None:
        """Delete the messages that were recorded; one that AWS does not delete comes again, which changes nothing."""
        done = [received.message for received in self._received if received.done]
        self._received = [received for received in self._received if not received.done and not received.failure]
        for first in range(0, len(done), BATCH):
            self._delete(done[first : first + BATCH])

    def _delete(self, messages: list[Mapping[str, Any]]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        try:
            failures = self.sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=entries).get("Failed", [])
        except (ClientError, BotoCoreError) as error:
            failures = [{"Id": entry["Id"], "Code": type(error).__name__} for entry in entries]
        for failed in failures:
            name = messages[int(failed["Id"])].get("MessageId")
            log.warning("SQS did not delete message %s (%s): it will come again", name, failed.get("Code"))


def messages_in(sqs: Any, url: str) -> int | None:
    """Return how many messages wait in the queue, by SQS's own rough count; ``None`` when it does not tell."""
    try:
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(told["Attributes"]["ApproximateNumberOfMessages"])
    except (ClientError, BotoCoreError) as error:
        log.debug("SQS does not tell how many messages wait: %s", type(error).__name__)
        return None


def _unusable(queue: str, error: ClientError) -> Misconfigured | RetryLater:
    """Return what it means that the queue cannot be used."""
    code = error.response.get("Error", {}).get("Code", "")
    if is_passing(error):
        return RetryLater(f"results.queue = {queue!r}: {code}: no notice can be received now")
    return Misconfigured(
        f"results.queue = {queue!r}: {code}; create the queue from include/cloudformation/catalog-sync.yaml, or mend "
        "the name, the region or the permissions of the AWS connection"
    )


def _unreachable(queue: str, error: BotoCoreError) -> RetryLater:
    return RetryLater(f"results.queue = {queue!r}: {type(error).__name__}: no notice can be received now")


def _dead_letters(sqs: Any, url: str, queue: str) -> DeadLetterQueue | None:
    """Return the dead-letter queue; without it notices are received all the same."""
    try:
        return DeadLetterQueue.of(sqs, url)
    except (ClientError, BotoCoreError) as error:
        log.warning("The dead-letter queue of %s cannot be found: %s", queue, type(error).__name__)
        return None
