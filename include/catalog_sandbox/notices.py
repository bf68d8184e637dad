"""Notices: signed SNS envelopes, delivered to the queues that subscribe to the topic.

The topic, its subscriptions and the queues are moto's; the envelope and its delivery are the sandbox's own. moto would
deliver too, but it makes a new certificate for each message and names it under ``sns.<region>.amazonaws.com``, where
only the real AWS answers, so that no client could verify it. Here one key, made at the start, signs everything, and its
certificate can be fetched from the sandbox.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

log = logging.getLogger(__name__)

#: What is signed, in this order, by type. Source: AWS, "Verifying the signatures of Amazon SNS messages".
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Signer:
    """Writes and signs envelopes. ``version`` 1 signs with SHA-1 and 2 with SHA-256, as SNS does."""

    def __init__(self, topic_arn: str, version: str, wall: Callable[[], float]) -> None:
        self._topic_arn = topic_arn
        self._version = version
        self._wall = wall
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = self._certificate()
        digest = x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256())
        #: The file name of the certificate, as SNS names its own.
        self.file_name = f"SimpleNotificationService-{digest.hex()[:32]}.pem"

    def _certificate(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.fromtimestamp(self._wall(), UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def envelope(self, kind: str, base_url: str, **fields: str) -> str:
        """Return a signed envelope as JSON; ``fields`` are what its type has besides the common ones."""
        stamp = datetime.fromtimestamp(self._wall(), UTC)
        message: dict[str, str] = {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self._topic_arn,
            "Timestamp": f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z",
            **fields,
        }
        text = "".join(f"{key}\n{message[key]}\n" for key in _SIGNED[kind] if key in message)
        algorithm: hashes.HashAlgorithm = hashes.SHA256()
        if self._version == "1":
            algorithm = hashes.SHA1()  # noqa: S303  SNS's own choice for version 1
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), algorithm)
        message["SignatureVersion"] = self._version
        message["Signature"] = base64.b64encode(signature).decode()
        message["SigningCertURL"] = f"{base_url}/sandbox/{self.file_name}"
        if kind == "Notification":
            message["UnsubscribeURL"] = f"{base_url}/sandbox/sns?Action=Unsubscribe"
        return json.dumps(message)


class Aws(Protocol):
    """What delivery needs of AWS."""

    def queues(self) -> list[str]:
        """Return the ARNs of the queues that subscribe to the topic."""

    def policy(self, queue_arn: str) -> dict[str, Any] | None:
        """Return a queue's policy, or None when it has none."""

    def subscribe(self, queue_arn: str) -> None:
        """Make the topic, where it is missing, and the subscription of a queue."""

    def send(self, queue_arn: str, body: str) -> None:
        """Put a message into a queue."""


def _values(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]


def lets_in(policy: dict[str, Any], topic_arn: str) -> bool:
    """Whether a queue policy lets the topic send.

    The published policy (``catalog_faq``) allows ``sqs:SendMessage`` under ``ArnEquals`` on ``aws:SourceArn``. A
    statement without a condition on the source lets everyone in.
    """
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = {action.lower() for action in _values(statement.get("Action", []))}
        if statement.get("Effect") != "Allow" or not actions & {"sqs:sendmessage", "sqs:*", "*"}:
            continue
        conditions = [
            _values(value)
            for tests in statement.get("Condition", {}).values()
            for key, value in tests.items()
            if key.lower() == "aws:sourcearn"
        ]
        if all(topic_arn in arns for arns in conditions):
            return True
    return False


class Notices:
    """Delivers notices and runs the handshake of a subscription. Thread-safe."""

    def __init__(
        self,
        aws: Aws,
        signer: Signer,
        base_url: str,
        topic_arn: str,
        confirmation: str,
        queue_policy: str,
    ) -> None:
        self._aws = aws
        self._signer = signer
        self._base_url = base_url
        self._topic_arn = topic_arn
        self._confirmation = confirmation
        self._queue_policy = queue_policy
        self._lock = threading.Lock()
        #: Token -> queue, while the subscription is not confirmed.
        self._pending: dict[str, str] = {}

    @property
    def certificate(self) -> bytes:
        """The certificate (PEM) that verifies every envelope."""
        return self._signer.certificate

    def publish(self, message: str) -> None:
        """Deliver a message to every confirmed subscription. What cannot be delivered is lost, and logged."""
        with self._lock:
            pending = set(self._pending.values())
        for queue in self._aws.queues():
            if self._confirmation == "required" and queue in pending:
                log.warning("notice lost: the subscription of %s is not confirmed", queue)
                continue
            self._deliver(queue, self._signer.envelope("Notification", self._base_url, Message=message))

    def subscribe(self, queue_arn: str) -> dict[str, str]:
        """Subscribe a queue and send it the confirmation request, as Amazon does once it knows the queue's ARN.

        Returns the state as the Merchant Portal shows it (``configure_catalog_api``): ``Unknown`` when the request
        could not be delivered, ``Pending`` until confirmed, ``Complete``.
        """
        token = uuid.uuid4().hex * 4
        self._aws.subscribe(queue_arn)
        with self._lock:
            self._pending[token] = queue_arn
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": self._topic_arn, "Token": token})
        envelope = self._signer.envelope(
            "SubscriptionConfirmation",
            self._base_url,
            Message=f"You have chosen to subscribe to the topic {self._topic_arn}.\n"
            "To confirm the subscription, visit the SubscribeURL included in this message.",
            Token=token,
            SubscribeURL=f"{self._base_url}/sandbox/sns?{query}",
        )
        if not self._deliver(queue_arn, envelope):
            return {"queue": queue_arn, "status": "Unknown"}
        return {"queue": queue_arn, "status": "Complete" if self._confirmation == "assumed" else "Pending"}

    def confirm(self, token: str) -> str | None:
        """Confirm the subscription with this token; return its queue, or None when the token is unknown."""
        with self._lock:
            return self._pending.pop(token, None)

    def _deliver(self, queue: str, envelope: str) -> bool:
        try:
            policy = self._aws.policy(queue)
            if policy is None and self._queue_policy == "present":
                policy = {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage"}]}
            if policy is None or not lets_in(policy, self._topic_arn):
                log.warning("message lost: the policy of queue %s does not let topic %s in", queue, self._topic_arn)
                return False
            self._aws.send(queue, envelope)
        except Exception as error:  # the queue may be gone; SNS would give up too
            log.warning("message lost: queue %s: %s", queue, error)
            return False
        return True
