"""Messages to people, sent through the channels of the configuration by whatever process knows how.

Under Airflow that is ``catalog_airflow.channels``, with Airflow's own hooks and connections. Without Airflow nobody
sends: what a message would say is in the lake and on the terminal. Sending must never fail a run: it is logged,
counted (``notify.sent``, ``notify.failed``) and done.

A message that is sent *once* has an item in the ledger, written before it goes: ``RUN#<run>`` /
``NOTICE#<name>#<channel>``, with ``sent_at`` once the channel took it. When the channel refuses, the item goes, and the
next try is free. A process that dies in between leaves it without ``sent_at``: rather no message than two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from catalog_sync.errors import shorten
from catalog_sync.measures import MESSAGES
from catalog_sync.notify_settings import Channel, Notify

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)


class Severity(StrEnum):
    """How much a message matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Message:
    """One message.

    :param subject: a line of plain text.
    :param text: Markdown; whoever writes it has escaped what others wrote (``markdown.escaped``).
    :param link: where more is to be seen: an address, or empty.
    :param about: what it is about, by name (``store``, ``source``, ``run``): fills addresses and goes along as
        attributes.
    """

    severity: Severity
    subject: str
    text: str
    link: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The subject as one printable line, fit for a mail's header."""
        return shorten(" ".join(self.subject.split()), 150)


class Sender(Protocol):
    """What can send through channels."""

    def send(self, channel: Channel, message: Message) -> None:
        """Send the message, or raise whatever stands in the way; bounded in time."""


_senders: list[Sender] = []


def send_to(sender: Sender | None) -> None:
    """Let messages of this process go through ``sender`` from now on; ``None`` lets none go."""
    _senders[:] = [] if sender is None else [sender]


def send(config: Notify, channels: Iterable[str], message: Message) -> list[str]:
    """Send the message through the channels of these names, and return the names of those that took it.

    Never raises for what happens on the way; a name that the configuration does not know is the caller's mistake.
    """
    return [name for name in channels if _taken(name, config.channels[name], message)]


def send_once(run: Run, channels: Iterable[str], message: Message, name: str) -> list[str]:
    """Send what this run calls ``name`` through each channel, unless that was done before; return which took it now."""
    taken = []
    for channel in channels if _senders else ():
        key = (f"RUN#{run.run_id}", f"NOTICE#{name}#{channel}")
        claim = {"pk": key[0], "sk": key[1], "claimed_at": run.clock.time(), "expires_at": run.expires_at}
        if not run.ledger.claim({**claim, "by": run.token()}):
            continue
        if send(run.settings.notify, [channel], message):
            run.ledger.update(*key, {"sent_at": run.clock.time()})
            taken.append(channel)
        else:
            run.ledger.delete(*key)
    return taken


def _taken(name: str, channel: Channel, message: Message) -> bool:
    for sender in _senders:
        try:
            sender.send(channel, message)
        except Exception as error:
            # Not the error's text: it may quote a webhook's address, which is a secret, or what we sent.
            log.error(
                "Channel %s (%s) did not take %r: %s; mend notify.channels.%s or its connection %s; the notice itself "
                "is in the lake",
                name, channel.kind, message.title, type(error).__name__, name, channel.conn_id,
            )  # fmt: skip
            MESSAGES.add(result="failed")
            return False
        MESSAGES.add(result="sent")
        return True
    return False
