"""Time as an argument: everything that asks for the time or waits does it through a ``Clock``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """What the domain needs of time; tests pass a simulated one."""

    def time(self) -> float:
        """Return the seconds since the Unix epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``; zero or less returns at once."""


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return the seconds since the Unix epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)


def utc(seconds: float) -> datetime:
    """Return the aware UTC datetime of ``seconds`` since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: float) -> str:
    """Return ``seconds`` since the epoch as ``2026-11-20T02:30:00.123Z``."""
    return utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed(text: str, timezone: str) -> datetime:
    """Return the aware UTC datetime of ISO text; without an offset it is a time in ``timezone``.

    :raises ValueError: it is no time, or none that UTC has a date for.
    """
    told = datetime.fromisoformat(text)
    try:
        return (told if told.tzinfo else told.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond the years 1 to 9999 in UTC") from None
