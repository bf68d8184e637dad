"""Channels of a story's retailer, and whatever goes through them."""

from __future__ import annotations

from typing import Any

from catalog_sync.notify import Message
from catalog_sync.notify_settings import Channel

#: One channel for stores, one for the owners of sources.
NOTIFY: dict[str, Any] = {
    "channels": {
        "stores": {"kind": "sns", "topic_arn": "arn:aws:sns:us-east-1:123456789012:notices"},
        "owners": {"kind": "email", "to": ["{source}@example.com"]},
    },
    "stores": ["stores"],
    "sources": ["owners"],
}


class Outbox:
    """A sender that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.refuses = False

    def send(self, channel: Channel, message: Message) -> None:
        """Keep the message."""
        if self.refuses:
            raise ConnectionError("refused")
        self.sent.append(message)

    def subjects(self) -> list[str]:
        """Return the subjects since the last call."""
        told = [message.subject for message in self.sent]
        self.sent.clear()
        return told
