"""The queue of notices: receive, record, then delete (invariant I2).

A message is deleted only after the caller has said that what it told is durable. What cannot be understood is never
deleted here: SQS hands it out again a bounded number of times and then moves it to the dead-letter queue.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import ClientError

from catalog_sync.errors import Misconfigured, RetryLater
from catalog_sync.notices import BadNotice, Certificates, Confirmation, Notice, confirm, parse, verify

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: AWS hands out at most 10 messages a call.
BATCH = 10
#: Most calls in one go, so that a flood of notices cannot keep a round from archiving reports.
CALLS = 50


@dataclass
class Received:
    """One message: what it says, or ``None`` when it is not a notice of an upload."""

    receipt: str
    notice: Notice | None
    done: bool = field(default=False)

    def recorded(self) -> None:
        """Say that what the message told is durable, so that it may be deleted."""
        self.done = True


class Inbox:
    """The queue that Amazon's topic delivers to.

    :param topic_arn: the only topic that is believed.
    :param certificates: the keys that SNS signs with; ``None`` believes unsigned messages (raw delivery).
    :param wait: seconds of SQS long polling for the first call.
    """

    def __init__(self, sqs: Any, queue_url: str, topic_arn: str, certificates: Certificates | None, wait: int) -> None:
        self.sqs = sqs
        self.queue_url = queue_url
        self.topic_arn = topic_arn
        self.certificates = certificates
        self.wait = wait
        if certificates is not None:
            # Callers need not close the inbox; its connections end with it.
            weakref.finalize(self, certificates.close)
        self._received: list[Received] = []

    @classmethod
    def of(cls, run: Run) -> Inbox:
        """Return the inbox of the run's deployment.

        :raises Misconfigured: the queue does not exist or may not be read.
        """
        results = run.settings.results
        sqs = run.aws.client("sqs")
        try:
            url = sqs.get_queue_url(QueueName=results.queue)["QueueUrl"]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise Misconfigured(
                f"results.queue = {results.queue!r}: {code}; create the queue from "
                "include/cloudformation/catalog-sync.yaml, or mend the name, the region or the permissions "
                "of the AWS connection"
            ) from None
        certificates = None
        if results.signed:
            certificates = Certificates(httpx.Client(timeout=10.0), results.certificate_hosts, results.topic_arn)
        return cls(sqs, url, results.topic_arn, certificates, int(results.wait.total_seconds()))

    def receive(self, patient: bool = True) -> Iterator[Received]:
        """Yield what lies in the queue; ``patient`` waits for the first message (SQS long polling)."""
        for call in range(CALLS):
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=self.wait if patient and call == 0 else 0,
            )
            messages = answer.get("Messages", [])
            for message in messages:
                received = self._understand(message)
                if received:
                    self._received.append(received)
                    yield received
            self.delete_recorded()
            if len(messages) == 0:
                return

    def _understand(self, message: dict[str, Any]) -> Received | None:
        try:
            said = parse(message["Body"], topic_arn=self.topic_arn)
            if isinstance(said, Confirmation):
                return self._confirmed(said, message["ReceiptHandle"])
            if self.certificates is not None:
                if said.envelope is None:
                    raise BadNotice(
                        "it has no SNS envelope and so no signature; raw delivery needs results.signed: false"
                    )
                verify(said.envelope, self.certificates)
        except BadNotice as problem:
            log.warning("Message %s is left to the dead-letter queue: %s", message.get("MessageId"), problem)
            return None
        except RetryLater as problem:
            log.warning("Message %s cannot be verified now and will come again: %s", message.get("MessageId"), problem)
            return None
        if isinstance(said, Notice):
            return Received(message["ReceiptHandle"], said)
        log.error(
            "Amazon's topic says that the queue was unsubscribed: results now come by polling only. Subscribe it again"
        )
        return Received(message["ReceiptHandle"], None, done=True)

    def _confirmed(self, said: Confirmation, receipt: str) -> Received:
        if self.certificates is None:
            raise BadNotice("a subscription is confirmed only when signatures are checked: results.signed is false")
        confirm(said, self.certificates)
        log.info("Confirmed the queue's subscription to %s", self.topic_arn)
        return Received(receipt, None, done=True)

    def delete_recorded(self) -> None:
        """Delete the messages that were recorded; one that AWS does not delete comes again, which changes nothing."""
        done = [received for received in self._received if received.done]
        self._received = [received for received in self._received if not received.done]
        for first in range(0, len(done), BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": r.receipt} for n, r in enumerate(done[first : first + BATCH])]
            answer = self.sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=entries)
            for failed in answer.get("Failed", []):
                log.warning("SQS did not delete a recorded message (%s): it will come again", failed.get("Code"))
