"""Durations as the configuration writes them: a number with a unit, perhaps several in a row."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
#: No setting may be longer: a time that lies so far ahead can still be written as a date.
LONGEST = timedelta(days=3650)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Return the ``timedelta`` of ``"90s"``, ``"15m"``, ``"1h30m"`` or ``"7d"``; other types pass unchanged."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
        raise ValueError("a duration is a number with a unit (ms, s, m, h, d), such as 90s, 15m or 1h30m")
    try:
        return timedelta(seconds=sum(float(n) * _UNIT_SECONDS[u] for n, u in parts))
    except OverflowError:
        raise ValueError("a duration of more than 999999999 days") from None


def _bounded(value: timedelta) -> timedelta:
    if not timedelta() <= value <= LONGEST:
        raise ValueError(f"a duration is at least 0s and at most {LONGEST.days}d")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_bounded)]
