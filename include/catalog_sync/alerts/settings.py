"""The section ``alerts`` of the configuration: when something is an alert, who is told, and when nobody is."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from catalog_sync.alerts.kinds import RUNBOOKS, Severity
from catalog_sync.durations import Duration
from catalog_sync.settings_parts import Frozen, Limit

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _clock_time(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("a time of day in quotes, as HH:MM, 00:00 to 23:59")
    return time.fromisoformat(value)


ClockTime = Annotated[time, BeforeValidator(_clock_time)]


class Silence(Frozen):
    """A window in which alerts of these severities are noted and not told; it may go past midnight.

    Times are in ``schedule.timezone``; ``days`` are those on which it begins.
    """

    start: ClockTime = Field(alias="from")
    to: ClockTime
    days: tuple[Day, ...] = _WEEK
    severities: tuple[Severity, ...] = (Severity.WARNING,)

    def covers(self, severity: Severity, at: datetime, zone: str) -> bool:
        """Tell whether an alert of this severity is silent at this instant."""
        here = at.astimezone(ZoneInfo(zone))
        past_midnight = self.to <= self.start
        if past_midnight and here.time() < self.to:
            begun = here - timedelta(days=1)
            inside = True
        else:
            begun = here
            inside = self.start <= here.time() and (past_midnight or here.time() < self.to)
        return inside and severity in self.severities and _WEEK[begun.weekday()] in self.days


class Heartbeat(Frozen):
    """What each complete night tells the watchers outside Airflow.

    ``metric``: whether it adds to the CloudWatch metric that the template's alarm watches; ``ping_conn_id``: the
    connection whose base URL is called.
    """

    metric: bool = True
    ping_conn_id: str | None = None


def _pairs(value: Any) -> Any:
    """Read a single name as a list of one."""
    return (
        {key: (one,) if isinstance(one, str) else one for key, one in value.items()}
        if isinstance(value, dict)
        else value
    )


class AlertSettings(Frozen):
    """When something is an alert, and who is told.

    ``routes``: by severity, the names of ``notify.channels``. ``stuck``: an upload without a result for so many times
    ``results.expect`` is stuck. ``refused``: of the rows that were sent; ``drift``: of those that were read.
    """

    routes: Annotated[dict[Severity, tuple[str, ...]], BeforeValidator(_pairs)] = Field(default_factory=dict)
    remind_after: Duration = timedelta(hours=24)
    late: Duration = timedelta(hours=3)
    stuck: float = Field(default=3, ge=1)
    refused: Limit = Limit(percent=5, min_rows=20)
    drift: Limit = Limit(percent=1, min_rows=200)
    silence: tuple[Silence, ...] = ()
    heartbeat: Heartbeat = Heartbeat()
    #: Where messages say that the runbooks are: the folder in the project, or the address where you publish them.
    runbooks: str = RUNBOOKS

    def silent(self, severity: Severity, at: datetime, zone: str) -> bool:
        """Tell whether a window silences alerts of this severity now."""
        return any(window.covers(severity, at, zone) for window in self.silence)
