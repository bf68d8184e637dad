"""Dead letters: messages of the queue that nobody could act upon, kept as they came, with the reason.

SQS's own redrive tells no reason. So a message that was in vain a few times is sent to the dead-letter queue by us,
with the attributes ``why`` (a code of ``notices.Why``), ``reason``, ``received`` (how often) and ``sent_at`` (when it
first came, Unix seconds), and only then deleted from the queue; dying in between makes two copies, never none. The
queue's own ``maxReceiveCount`` stays as the backstop, for a process that dies each time before it gets so far.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalog_sync.clock import Clock, iso
from catalog_sync.errors import Misconfigured, RetryLater, shorten
from catalog_sync.notices import Why

if TYPE_CHECKING:
    from catalog_sync.aws import Aws
    from catalog_sync.settings import Settings

log = logging.getLogger(__name__)

#: What nobody understands is tried so often before it becomes a dead letter: once more than a second worker, or a
#: configuration that was just mended, needs to show that it does.
TRIES = 3
#: Reasons that may pass: such a message is tried as often as the queue allows.
PASSING = frozenset({Why.UNVERIFIED, Why.UNRECORDED})
#: A message that was looked at is hidden from others for so many seconds, more than a whole redrive takes.
HIDDEN = 900
#: Seconds of long polling: it asks all of SQS's servers, while a short poll may miss what lies there.
WAIT = 1
#: Dead letters that are described one by one; of all of them the reasons are counted.
SAMPLE = 10
#: Most dead letters of one redrive. Whoever has more begins with these, and looks at what becomes of them.
LIMIT = 10_000
#: AWS hands out at most 10 messages a call, and takes as many in a batch.
BATCH = 10
#: The text of a reason; SQS counts attributes as part of the message.
_REASON = 200

#: Keys of an envelope or a notice that tell what it is and hold no secret.
_TELLING = ("Type", "MessageId", "TopicArn", "Timestamp", "ingestionId", "processingStatus")


def is_passing(error: ClientError) -> bool:
    """Tell whether SQS refused for a reason that may pass: it is overloaded, or fails by itself."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or "Throttl" in code or code in ("RequestTimeout", "InternalError", "ServiceUnavailable")


class DeadLetterQueue:
    """Where the messages of a queue go that nobody could act upon.

    :param url: the dead-letter queue.
    :param most: how often SQS hands out a message before it moves it here by itself (``maxReceiveCount``).
    """

    def __init__(self, sqs: Any, url: str, most: int) -> None:
        self.sqs = sqs
        self.url = url
        # One less: SQS moves a message that it would otherwise hand out once more.
        self._last = max(1, most - 1)

    @classmethod
    def of(cls, sqs: Any, queue_url: str) -> DeadLetterQueue | None:
        """Return the dead-letter queue that the queue names in its redrive policy; ``None`` when it names none."""
        attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"]).get(
            "Attributes", {}
        )
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        if "deadLetterTargetArn" not in policy:
            return None
        url = sqs.get_queue_url(QueueName=str(policy["deadLetterTargetArn"]).rpartition(":")[2])["QueueUrl"]
        return cls(sqs, url, int(policy.get("maxReceiveCount", TRIES + 1)))

    def waiting(self) -> int:
        """Return about how many messages lie there."""
        told = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(told["Attributes"]["ApproximateNumberOfMessages"])

    def tries(self, why: Why) -> int:
        """Return after how many receipts a message is buried for this reason."""
        return self._last if why in PASSING else min(TRIES, self._last)

    def bury(self, message: Mapping[str, Any], why: Why, reason: str) -> bool:
        """Send the message, as it is, to the dead-letter queue; tell whether it is durable there."""
        sent = message.get("Attributes", {}).get("SentTimestamp")
        attributes = {
            "why": _text(why.value),
            "reason": _text(shorten(reason, _REASON)),
            "received": _number(receipts(message)),
            **({"sent_at": _number(int(sent) // 1000)} if sent else {}),
        }
        try:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=message["Body"], MessageAttributes=attributes)
        except (ClientError, BotoCoreError) as error:
            log.error(
                "Message %s cannot be sent to the dead-letter queue (%s): SQS itself will move it there, without the "
                "reason, which is %s: %s",
                message.get("MessageId"), type(error).__name__, why.value, reason,
            )  # fmt: skip
            return False
        return True


def receipts(message: Mapping[str, Any]) -> int:
    """Return how often the message has been received."""
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter as it may be shown: never its body, which holds report links and tokens.

    ``about`` is what the message says of itself where it could be read, else a fingerprint of it.
    """

    message_id: str
    why: Why
    reason: str
    received: int
    sent_at: float
    about: dict[str, str]
    size: int

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> DeadLetter:
        """Return the dead letter of an SQS message."""
        told = {name: str(one.get("StringValue", "")) for name, one in message.get("MessageAttributes", {}).items()}
        attributes = message.get("Attributes", {})
        return cls(
            message_id=str(message.get("MessageId", "")),
            why=Why(told["why"]) if told.get("why") in set(Why) else Why.MOVED_BY_SQS,
            reason=shorten(told.get("reason") or "SQS moved it after it had been received too often", _REASON),
            received=_count(told.get("received")) or receipts(message),
            sent_at=_count(told.get("sent_at")) or _count(attributes.get("SentTimestamp")) / 1000,
            about=_about(message["Body"]),
            size=len(message["Body"].encode("utf-8", "surrogatepass")),
        )


@dataclass(frozen=True)
class Redrive:
    """What a redrive found and did.

    ``waiting``: dead letters in the queue, by SQS's own rough count; ``seen``: looked at; ``matched``: those of the
    reason that was asked for; ``sent_back``; ``reasons``: how many of those seen for each reason; ``oldest`` and
    ``youngest``: when the matching ones first came; ``sample``: some of them.
    """

    dry_run: bool
    waiting: int
    seen: int
    matched: int
    sent_back: int
    reasons: dict[str, int]
    oldest: str
    youngest: str
    sample: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)

    @property
    def summary(self) -> str:
        """Return it in a sentence or two."""
        reasons = ", ".join(f"{why} {count:,}" for why, count in self.reasons.items()) or "none"
        what = f"{self.matched:,} would be sent back" if self.dry_run else f"{self.sent_back:,} were sent back"
        ages = f", first received {self.oldest} to {self.youngest}" if self.oldest else ""
        return f"{self.seen:,} dead letters looked at ({reasons}); {what}{ages}."


def redrive(
    settings: Settings, aws: Aws, clock: Clock, *, why: str = "", limit: int = 100, dry_run: bool = True
) -> Redrive:
    """Look at the dead letters, and unless it is a dry run send them back to the queue that they came from.

    Each is sent first and deleted then: dying in between makes a message come twice, which changes nothing.

    :param why: only those with this reason (a code of ``notices.Why``); empty means all.
    :param limit: how many are looked at, and so sent, at most.
    :raises Misconfigured: a queue is missing or may not be used, or the reason is none.
    :raises RetryLater: SQS failed; what has been sent back stays sent.
    """
    if why and why not in set(Why):
        raise Misconfigured(f"reason = {shorten(why)!r}: none of {', '.join(Why)}")
    if not 1 <= limit <= LIMIT:
        raise Misconfigured(f"limit = {limit}: 1 to {LIMIT:,}")
    try:
        return _redrive(settings, aws.client("sqs"), clock, why, limit, dry_run)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if is_passing(error):
            raise RetryLater(f"SQS: {code} while dead letters were looked at; what was sent back stays so") from None
        raise Misconfigured(
            f"results.queue = {settings.results.queue!r} or its dead-letter queue: {code}; the role needs to receive, "
            "delete and send there (docs/deployment.md, section 5)"
        ) from None
    except BotoCoreError as error:
        raise RetryLater(f"SQS: {type(error).__name__} while dead letters were looked at") from None


def _redrive(settings: Settings, sqs: Any, clock: Clock, why: str, limit: int, dry_run: bool) -> Redrive:
    queue = sqs.get_queue_url(QueueName=settings.results.queue)["QueueUrl"]
    dead = DeadLetterQueue.of(sqs, queue)
    if dead is None:
        raise Misconfigured(
            f"results.queue = {settings.results.queue!r}: has no dead-letter queue; create both from "
            "include/cloudformation/catalog-sync.yaml"
        )
    waiting = dead.waiting()
    reasons: Counter[str] = Counter()
    matched: list[DeadLetter] = []
    kept: list[str] = []
    sent_back = 0
    try:
        for message in _look(sqs, dead.url, limit):
            letter = DeadLetter.of(message)
            reasons[letter.why] += 1
            if why and letter.why != why:
                kept.append(message["ReceiptHandle"])
                continue
            matched.append(letter)
            if dry_run:
                kept.append(message["ReceiptHandle"])
                continue
            # No attributes: it is tried anew as it first came.
            sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead.url, ReceiptHandle=message["ReceiptHandle"])
            sent_back += 1
            log.info("Sent dead letter %s (%s) back to %s", letter.message_id, letter.why, settings.results.queue)
    finally:
        _release(sqs, dead.url, kept)
    times = sorted(letter.sent_at for letter in matched)
    return Redrive(
        dry_run=dry_run,
        waiting=waiting,
        seen=reasons.total(),
        matched=len(matched),
        sent_back=sent_back,
        reasons=dict(reasons.most_common()),
        oldest=iso(times[0]) if times else "",
        youngest=iso(times[-1]) if times else "",
        sample=[_shown(letter, clock.time()) for letter in matched[:SAMPLE]],
    )


def _look(sqs: Any, url: str, limit: int) -> Iterator[dict[str, Any]]:
    """Yield at most ``limit`` messages, each once; they are hidden from others for ``HIDDEN`` seconds."""
    seen: set[str] = set()
    while len(seen) < limit:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, limit - len(seen)),
            WaitTimeSeconds=WAIT,
            VisibilityTimeout=HIDDEN,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        fresh = [message for message in answer.get("Messages", []) if message["MessageId"] not in seen]
        if not fresh:
            return
        seen |= {message["MessageId"] for message in fresh}
        yield from fresh


def _release(sqs: Any, url: str, receipt_handles: list[str]) -> None:
    """Let others see the messages again at once."""
    for first in range(0, len(receipt_handles), BATCH):
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for n, handle in enumerate(receipt_handles[first : first + BATCH])
        ]
        try:
            sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            log.warning("Dead letters stay hidden for %s s: %s", HIDDEN, type(error).__name__)
            return


def _shown(letter: DeadLetter, now: float) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "why": letter.why,
        "reason": letter.reason,
        "received": letter.received,
        "age_hours": round(max(now - letter.sent_at, 0.0) / 3600, 1),
        "bytes": letter.size,
        **letter.about,
    }


def _about(body: str) -> dict[str, str]:
    """Return what a message says of itself, without the values that are secrets; no text of one that is no JSON."""
    envelope = _object(body)
    found = {
        key: shorten(part[key])
        for part in (envelope, _object(envelope.get("Message")))
        for key in _TELLING
        if isinstance(part.get(key), str)
    }
    return found or {"sha256": hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:16]}


def _object(text: object) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _number(value: int) -> dict[str, str]:
    return {"DataType": "Number", "StringValue": str(value)}


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0
