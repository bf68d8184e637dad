"""The section ``notify`` of the configuration: the channels that messages go through, and which go where.

A channel names a connection for whatever is secret in it: a password, a webhook's token.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog_sync.durations import Duration

#: What an address may be: good enough to tell an address from a mistake, and to keep a second one out.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


class _Channel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnsChannel(_Channel):
    """An SNS topic of our own; subscribers may filter by the message's attributes (``store``, ``severity``, …)."""

    kind: Literal["sns"]
    topic_arn: str = Field(pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")
    conn_id: str = "aws_default"


class EmailChannel(_Channel):
    """A mail to each address. ``{store}`` or ``{source}`` in one stands for what the message is about."""

    kind: Literal["email"]
    to: tuple[str, ...] = Field(min_length=1)
    #: The sender; by default the connection's ``from_email``.
    sender: str | None = None
    conn_id: str = "smtp_default"

    @field_validator("to", "sender")
    @classmethod
    def _addresses(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for address in (value,) if isinstance(value, str) else value or ():
            if not is_address(fill(address, {"store": "x", "source": "x"})):
                raise ValueError(f"{address!r} is no e-mail address; {{store}} and {{source}} may stand in one")
        return value


class SlackChannel(_Channel):
    """A Slack channel, through an incoming webhook: its token or URL is the connection's password."""

    kind: Literal["slack"]
    conn_id: str = "slack_default"


class WebhookChannel(_Channel):
    """A POST of JSON to the connection's base URL and ``endpoint``; headers are in the connection's extra."""

    kind: Literal["webhook"]
    conn_id: str
    endpoint: str = ""


Channel = Annotated[SnsChannel | EmailChannel | SlackChannel | WebhookChannel, Field(discriminator="kind")]


class Notify(BaseModel):
    """Channels by name, and which messages go through which; nothing is sent unless a channel is named for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: dict[str, Channel] = Field(default_factory=dict)
    #: The channels of the notices to stores.
    stores: tuple[str, ...] = ()
    #: The channels of the notices to the owners of sources.
    sources: tuple[str, ...] = ()
    #: An item can be merchandised so long after Amazon is done with it: "up to 1 hour" (``catalog_welcome``; U32).
    merchandise_after: Duration = timedelta(hours=1)

    @model_validator(mode="after")
    def _known_channels(self) -> Notify:
        for use in ("stores", "sources"):
            if unknown := sorted(set(getattr(self, use)) - set(self.channels)):
                known = ", ".join(self.channels) or "none"
                raise ValueError(f"{use}: {unknown[0]!r} is not among notify.channels ({known})")
        return self


def fill(pattern: str, values: dict[str, str]) -> str:
    """Return the pattern with ``{name}`` replaced by its value; names without one stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), pattern)


def is_address(text: str) -> bool:
    """Tell whether the text is one e-mail address, and nothing that a mail header could take for more."""
    return bool(_ADDRESS.fullmatch(text)) and "{" not in text and len(text) <= 254
