"""People who get messages: what alerts told them, and channels that fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.stories.world import Job, Row, World

from catalog_sync import notify
from catalog_sync.alerts.book import Alert, AlertBook
from catalog_sync.alerts.evaluate import after_run, hourly
from catalog_sync.notify import Message
from catalog_sync.notify_settings import Channel
from catalog_sync.run import Kind

CHANNELS = {
    "pager": {"kind": "webhook", "conn_id": "pager"},
    "mail": {"kind": "email", "to": ["ops@example.com"]},
}
#: Critical alerts go to both, warnings by mail; the heartbeat has a test of its own.
ALERTS: dict[str, Any] = {
    "routes": {"critical": ["pager", "mail"], "warning": "mail"},
    "heartbeat": {"metric": False},
    "refused": {"percent": 5, "min_rows": 1},
    "drift": {"percent": 50, "min_rows": 1},
}


@dataclass
class People:
    """Whoever reads pager and mail; a channel in ``broken`` takes nothing."""

    told: list[tuple[str, Message]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def send(self, channel: Channel, message: Message) -> None:
        """Take the message (``notify.Sender``)."""
        name = "mail" if channel.kind == "email" else "pager"
        if name in self.broken:
            raise ConnectionError(name)
        self.told.append((name, message))

    def heard(self, channel: str = "mail") -> list[str]:
        """What was told since this was asked last: ``began RUN_INCOMPLETE``, …"""
        new = [f"{message.about['change']} {message.about['alert']}" for name, message in self.told if name == channel]
        self.told = [one for one in self.told if one[0] != channel]
        return new


class Office:
    """A world with people in it."""

    def __init__(self, world: World) -> None:
        self.world, self.people = world, People()
        world.changes |= {"notify": {"channels": CHANNELS}, "alerts": ALERTS}
        notify.send_to(self.people)

    def alerts(self, **changes: Any) -> None:
        """Change the settings of alerts."""
        self.world.changes["alerts"] = {**self.world.changes["alerts"], **changes}

    def night(self, name: str, rows: list[Row] | None = None, **options: Any) -> dict[str, Any]:
        """Let a night pass to its end, alerts included; return its books."""
        if rows is not None:
            self.world.write(rows)
        return self.account(self.world.job(name, **options).whole, name, **options)

    def account(self, whole: Any, name: str, **options: Any) -> dict[str, Any]:
        """Do the rest of a run, and judge it."""
        books: dict[str, Any] = whole()
        after_run(self.world.job(name, **options).open(), books, self.world.queues)
        return books

    def hour(self) -> None:
        """Let the hourly look happen."""
        hourly(self.drain().open(), self.world.queues)

    def drain(self) -> Job:
        """The hourly run."""
        return self.world.job(f"hour-{self.world.clock.time():.0f}", Kind.COLLECT)

    @property
    def book(self) -> AlertBook:
        """The alerts' book."""
        return AlertBook.of(self.world.job("any").open())

    def open(self) -> list[Alert]:
        """The alerts that hold."""
        return self.book.open()

    def names(self) -> list[str]:
        """The names of the alerts that hold."""
        return [alert.name for alert in self.open()]
