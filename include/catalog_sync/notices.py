"""Notices: what Amazon's SNS topic puts into our queue, read without trusting it.

A message body is an SNS envelope (``Notification``, ``SubscriptionConfirmation``, ``UnsubscribeConfirmation``) or, with
raw delivery, the inner message itself. The inner keys are assumed (U12) and read leniently, by this module alone:
``{"ingestionId", "processingStatus", "reportDownloadLink"}``.

Source of envelope and signature: AWS, "Parsing Amazon SNS message formats" and "Verifying the signatures of Amazon SNS
messages".
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx

from catalog_sync.api.outcomes import MAX_ID, PROCESSING_STATES, report_link
from catalog_sync.errors import BadInput, RetryLater, shorten
from catalog_sync.web import is_loopback, is_secure

#: SNS and SQS carry at most this many bytes (AWS: SNS message size).
MAX_BYTES = 256 * 1024
#: More than this is no signing certificate; AWS's have about 2 KB.
MAX_CERTIFICATE = 64 * 1024
#: Certificates kept; AWS uses one at a time for each region.
CERTIFICATES_KEPT = 16

_ENVELOPE_TYPES = frozenset({"Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"})
# The signed keys, in the order in which they are signed; an absent Subject is left out.
_SIGNED_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

Envelope = Mapping[str, Any]


class Why(StrEnum):
    """Why a queue message was not acted upon; what to do about each stands in ``docs/runbooks/dead-letters.md``."""

    OVERSIZE = "OVERSIZE"
    MALFORMED = "MALFORMED"
    WRONG_TOPIC = "WRONG_TOPIC"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    NO_INGESTION = "NO_INGESTION"
    UNKNOWN_STATE = "UNKNOWN_STATE"
    NOT_SIGNED = "NOT_SIGNED"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    FOREIGN_ADDRESS = "FOREIGN_ADDRESS"
    #: It could not be verified, since the certificate, or the link that confirms, could not be fetched.
    UNVERIFIED = "UNVERIFIED"
    #: What it says could not be made durable.
    UNRECORDED = "UNRECORDED"
    #: It was received too often, each time by a process that died; SQS moved it by itself and tells no reason.
    MOVED_BY_SQS = "MOVED_BY_SQS"


class BadNotice(BadInput):
    """A queue message is not what it should be: it is kept as evidence and never acted upon.

    :param why: the stable code of the reason.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why

    def __reduce__(self) -> tuple[type[BadNotice], tuple[Why, str]]:
        return type(self), (self.why, str(self))


@dataclass(frozen=True)
class Notice:
    """Amazon says how far an ingestion is.

    ``status`` is one of ``PROCESSING_STATES``; ``report_link`` is empty when there is none, and a secret when there is
    one; ``published_at`` is Unix time. ``message_id`` and ``published_at`` are empty with raw delivery, where there is
    also no ``envelope`` and so no signature.
    """

    ingestion_id: str
    status: str
    report_link: str = field(default="", repr=False)
    message_id: str = ""
    published_at: float | None = None
    envelope: Envelope | None = field(default=None, repr=False, compare=False)

    @property
    def dedup_key(self) -> str:
        """What two deliveries of one piece of news have in common; a standard queue repeats and reorders."""
        return f"{self.ingestion_id}:{self.status}"


@dataclass(frozen=True)
class Confirmation:
    """SNS asks whether the queue really wants to be subscribed; ``subscribe_url`` and ``token`` are secrets."""

    topic_arn: str
    message_id: str
    published_at: float | None
    subscribe_url: str = field(repr=False)
    token: str = field(repr=False)
    envelope: Envelope = field(repr=False, compare=False)


@dataclass(frozen=True)
class Unsubscribed:
    """SNS says that the queue was unsubscribed: no notice will come until it is subscribed again."""

    topic_arn: str
    message_id: str
    published_at: float | None
    envelope: Envelope = field(repr=False, compare=False)


def parse(body: str, *, topic_arn: str) -> Notice | Confirmation | Unsubscribed:
    """Return what the body of a queue message says.

    Nothing is verified here but the topic's name: see ``verify``.

    :param topic_arn: the topic that messages must come from.
    :raises BadNotice: it is too large, not JSON, of another topic, of an unknown type or state, or names no ingestion.
    """
    size = len(body.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise BadNotice(Why.OVERSIZE, f"a queue message of {size} bytes: SNS sends at most {MAX_BYTES}")
    document = _object(body, "the queue message")
    if "TopicArn" not in document and str(document.get("Type")) not in _ENVELOPE_TYPES:
        if "ingestionId" not in document and "Type" in document:
            raise BadNotice(Why.UNKNOWN_TYPE, f"Type = {shorten(document['Type'])!r}: not a message that SNS sends")
        return _notice(document, None)
    if document.get("TopicArn") != topic_arn:
        raise BadNotice(
            Why.WRONG_TOPIC, f"TopicArn = {shorten(document.get('TopicArn'))!r}: not results.topic_arn, {topic_arn!r}"
        )
    return _unwrapped(document)


def _unwrapped(envelope: Envelope) -> Notice | Confirmation | Unsubscribed:
    kind = envelope.get("Type")
    if kind == "Notification":
        return _notice(_object(_string(envelope, "Message"), "the message inside the envelope"), envelope)
    topic_arn, message_id = _string(envelope, "TopicArn"), _string(envelope, "MessageId")
    if kind == "SubscriptionConfirmation":
        url, token = _string(envelope, "SubscribeURL"), _string(envelope, "Token")
        return Confirmation(topic_arn, message_id, _seconds(envelope.get("Timestamp")), url, token, envelope)
    if kind == "UnsubscribeConfirmation":
        return Unsubscribed(topic_arn, message_id, _seconds(envelope.get("Timestamp")), envelope)
    raise BadNotice(Why.UNKNOWN_TYPE, f"Type = {shorten(kind)!r}: not a message that SNS sends")


def _notice(document: Mapping[str, Any], envelope: Envelope | None) -> Notice:
    ingestion_id = document.get("ingestionId")
    if not isinstance(ingestion_id, str) or not 0 < len(ingestion_id) <= MAX_ID or not ingestion_id.isprintable():
        raise BadNotice(
            Why.NO_INGESTION, f"ingestionId = {shorten(ingestion_id)!r}: a notice names one, 1 to {MAX_ID} characters"
        )
    status = document.get("processingStatus")
    if not isinstance(status, str) or status not in PROCESSING_STATES:
        known = ", ".join(sorted(PROCESSING_STATES))
        raise BadNotice(
            Why.UNKNOWN_STATE, f"processingStatus = {shorten(status)!r} of {shorten(ingestion_id)!r}: none of {known}"
        )
    return Notice(
        ingestion_id=ingestion_id,
        status=status,
        report_link=report_link(document),
        message_id=str((envelope or {}).get("MessageId") or ""),
        published_at=_seconds((envelope or {}).get("Timestamp")),
        envelope=envelope,
    )


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadNotice(Why.MALFORMED, f"{what} is not JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise BadNotice(Why.MALFORMED, f"{what} is a JSON {type(value).__name__}, not an object")
    return value


def _string(envelope: Envelope, key: str) -> str:
    value = envelope.get(key)
    if not isinstance(value, str) or not value:
        raise BadNotice(Why.MALFORMED, f"{key} = {shorten(type(value).__name__)}: an SNS message has it, as a text")
    return value


def _seconds(timestamp: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(timestamp))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class Certificates:
    """The public keys that SNS signs with, fetched from AWS's own hosts only, each once.

    The host, reached over TLS, is what makes a key trustworthy; that is AWS's advice, too.

    :param http: the client to fetch with.
    :param hosts: where certificates and confirmation links may lie: ``host`` or ``host:port``, ``{region}`` filled in.
    :param topic_arn: the topic; its region is the one filled in.
    """

    def __init__(self, http: httpx.Client, hosts: Iterable[str], topic_arn: str) -> None:
        self._http = http
        region = topic_arn.split(":")[3] if topic_arn.count(":") >= 5 else ""
        self._hosts = frozenset(host.replace("{region}", region).lower() for host in hosts)
        self._keys: OrderedDict[str, Any] = OrderedDict()

    def close(self) -> None:
        """Close the connections of the client."""
        self._http.close()

    def check_address(self, url: str) -> None:
        """Raise ``BadNotice`` unless ``url`` is https at an allowed host; this very host, if allowed, may use http."""
        parts = urlsplit(url) if is_secure(url) else urlsplit("")
        host = parts.hostname or ""
        local = is_loopback(host)
        named = parts.netloc.lower() in self._hosts or (host in self._hosts and (local or parts.port in (None, 443)))
        if not named or (parts.scheme != "https" and not local):
            where = shorten(url.split("?")[0])
            allowed = ", ".join(sorted(self._hosts))
            raise BadNotice(
                Why.FOREIGN_ADDRESS,
                f"{where!r}: an SNS message may lead to https at {allowed} only (results.certificate_hosts)",
            )

    def get(self, url: str) -> bytes:
        """Return what lies at an allowed address; redirects are not followed.

        :raises BadNotice: the address is not allowed.
        :raises RetryLater: it cannot be fetched now.
        """
        self.check_address(url)
        try:
            response = self._http.get(url, follow_redirects=False)
        except httpx.InvalidURL:
            raise BadNotice(Why.FOREIGN_ADDRESS, f"{shorten(url.split('?')[0])!r}: is no URL") from None
        except httpx.HTTPError as error:
            raise RetryLater(f"{urlsplit(url).netloc}: {type(error).__name__}") from None
        if not response.is_success:
            raise RetryLater(f"{urlsplit(url).netloc}: HTTP {response.status_code}")
        return response.content

    def public_key(self, url: str) -> Any:
        """Return the public key of the certificate at ``url``.

        :raises BadNotice: the address is not allowed, or what lies there is no RSA certificate.
        :raises RetryLater: it cannot be fetched now.
        """
        if url in self._keys:
            self._keys.move_to_end(url)
            return self._keys[url]
        data = self.get(url)
        self._keys[url] = key = _rsa_key(data)
        if len(self._keys) > CERTIFICATES_KEPT:
            self._keys.popitem(last=False)
        return key


def _rsa_key(data: bytes) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = x509.load_pem_x509_certificate(data).public_key() if len(data) <= MAX_CERTIFICATE else None
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey):
        raise BadNotice(Why.BAD_SIGNATURE, "SigningCertURL does not lead to an RSA certificate")
    return key


def verify(envelope: Envelope, certificates: Certificates) -> None:
    """Check that SNS itself signed the envelope: version 1 is SHA-1, version 2 is SHA-256, both RSA PKCS #1 v1.5.

    :raises BadNotice: it did not, or what is signed is incomplete.
    :raises RetryLater: the certificate cannot be fetched now.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    version = envelope.get("SignatureVersion")
    if version not in ("1", "2"):
        raise BadNotice(Why.BAD_SIGNATURE, f"SignatureVersion = {shorten(version)!r}: SNS signs with 1 or 2")
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - AWS's default still
    try:
        signature = base64.b64decode(_string(envelope, "Signature"), validate=True)
    except ValueError:  # also for text that is not ASCII
        raise BadNotice(Why.BAD_SIGNATURE, "Signature: not base64") from None
    key = certificates.public_key(_string(envelope, "SigningCertURL"))
    try:
        key.verify(signature, signed_text(envelope).encode("utf-8", "surrogatepass"), PKCS1v15(), algorithm)
    except InvalidSignature:
        raise BadNotice(
            Why.BAD_SIGNATURE, f"message {shorten(envelope.get('MessageId'))!r}: its signature is not that of SNS"
        ) from None


def signed_text(envelope: Envelope) -> str:
    """Return the text that SNS signs: the signed keys of this type of message, each with its value, one to a line."""
    keys = _SIGNED_NOTIFICATION if envelope.get("Type") == "Notification" else _SIGNED_CONFIRMATION
    present = [key for key in keys if key != "Subject" or envelope.get("Subject")]
    return "".join(f"{key}\n{_string(envelope, key)}\n" for key in present)


def confirm(confirmation: Confirmation, certificates: Certificates) -> None:
    """Confirm the subscription by visiting its link: only after ``parse`` matched the topic, and if SNS signed it.

    :raises BadNotice: it is not signed by SNS, or its link leads elsewhere.
    :raises RetryLater: SNS cannot be reached now.
    """
    certificates.check_address(confirmation.subscribe_url)
    verify(confirmation.envelope, certificates)
    certificates.get(confirmation.subscribe_url)
