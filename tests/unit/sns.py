"""SNS as a test plays it: a key, its certificate, and envelopes signed the way AWS documents it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

TOPIC = "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus"
CERT_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
SUBSCRIBE = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t0ken"
INNER = {"ingestionId": "ing-1", "processingStatus": "DONE", "reportDownloadLink": "https://b.example.com/r?sig=s3cret"}

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: Any) -> bytes:
    """Return a self-signed certificate of ``key`` as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


PEM = certificate(KEY)


def signed(envelope: dict[str, Any], text: str, version: str = "2", key: Any = KEY) -> dict[str, Any]:
    """Return the envelope with the signature of ``text``, which each test spells out as AWS documents it."""
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = base64.b64encode(key.sign(text.encode(), PKCS1v15(), algorithm)).decode()
    return {**envelope, "SignatureVersion": version, "Signature": signature, "SigningCertURL": CERT_URL}


def notification(inner: Any = INNER, **changes: Any) -> dict[str, Any]:
    message = inner if isinstance(inner, str) else json.dumps(inner)
    return {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": "2026-11-20T02:30:00.500Z",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        **changes,
    }


def notification_text(envelope: dict[str, Any]) -> str:
    subject = f"Subject\n{envelope['Subject']}\n" if "Subject" in envelope else ""
    return (
        f"Message\n{envelope['Message']}\nMessageId\n{envelope['MessageId']}\n{subject}"
        f"Timestamp\n{envelope['Timestamp']}\nTopicArn\n{envelope['TopicArn']}\nType\nNotification\n"
    )


def confirmation_envelope(url: str = SUBSCRIBE, key: Any = KEY, **changes: Any) -> dict[str, Any]:
    """A signed request to confirm a subscription, or with another ``Type`` the word that it has ended."""
    envelope = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "m-2",
        "Token": "t0ken",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe …",
        "SubscribeURL": url,
        "Timestamp": "2026-11-20T02:30:00.500Z",
        **changes,
    }
    text = (
        f"Message\n{envelope['Message']}\nMessageId\nm-2\nSubscribeURL\n{url}\nTimestamp\n{envelope['Timestamp']}\n"
        f"Token\nt0ken\nTopicArn\n{envelope['TopicArn']}\nType\n{envelope['Type']}\n"
    )
    return signed(envelope, text, key=key)
