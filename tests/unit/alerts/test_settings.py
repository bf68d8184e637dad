"""The section ``alerts``: windows of silence, routes, and mistakes that are named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.domain.test_settings import load

from catalog_sync.alerts.kinds import Severity
from catalog_sync.alerts.settings import AlertSettings
from catalog_sync.errors import Misconfigured

#: 2026-11-27 is a Friday.
FRIDAY, SATURDAY = 27, 28


def silent(at: str, *windows: dict[str, Any], day: int = FRIDAY, zone: str = "UTC", critical: bool = False) -> bool:
    """Whether an alert is silent at a time of day."""
    hour, minute = map(int, at.split(":"))
    settings = AlertSettings.model_validate({"silence": list(windows)})
    severity = Severity.CRITICAL if critical else Severity.WARNING
    return settings.silent(severity, datetime(2026, 11, day, hour, minute, tzinfo=UTC), zone)


@pytest.mark.parametrize(
    ("at", "expected"), [("21:59", False), ("22:00", True), ("23:59", True), ("06:29", True), ("06:30", False)]
)
def test_a_window_past_midnight(at: str, expected: bool) -> None:
    """It begins in the evening and ends in the morning, its end not included."""
    assert silent(at, {"from": "22:00", "to": "06:30"}) is expected


def test_a_window_within_a_day() -> None:
    """Without midnight in it."""
    window = {"from": "12:00", "to": "13:00"}
    assert [silent(at, window) for at in ("11:59", "12:00", "12:59", "13:00")] == [False, True, True, False]


def test_times_are_those_of_the_retailer() -> None:
    """23:00 in Los Angeles is 07:00 UTC of the next day."""
    assert silent("07:00", {"from": "22:00", "to": "23:30"}, zone="America/Los_Angeles")
    assert not silent("22:30", {"from": "22:00", "to": "23:30"}, zone="America/Los_Angeles")


def test_days_are_those_on_which_a_window_begins() -> None:
    """Friday night reaches into Saturday's morning; a whole day is from midnight to midnight."""
    night = {"from": "22:00", "to": "06:00", "days": ["fri"]}
    assert [silent("23:00", night), silent("05:00", night, day=SATURDAY), silent("05:00", night)] == [True, True, False]
    day = {"from": "00:00", "to": "00:00", "days": ["sat"]}
    assert [silent("12:00", day, day=SATURDAY), silent("12:00", day), silent("00:00", day, day=SATURDAY)] == [
        True, False, True,
    ]  # fmt: skip


def test_what_is_critical_is_heard_unless_a_window_says_otherwise() -> None:
    """The default is for warnings."""
    window = {"from": "22:00", "to": "06:00"}
    assert not silent("23:00", window, critical=True)
    assert silent("23:00", {**window, "severities": ["critical"]}, critical=True)


@pytest.mark.parametrize(
    ("alerts", "message"),
    [
        (
            {"routes": {"critical": "pager"}},
            r"alerts\.routes\.critical: 'pager' is not among notify\.channels \(none\)",
        ),
        ({"routes": {"fatal": []}}, r"alerts\.routes\.fatal"),
        ({"silence": [{"from": "22", "to": "06:00"}]}, r"alerts\.silence\.0\.from = '22': a time of day"),
        (
            {"silence": [{"from": "22:00", "to": "06:00", "days": ["friday"]}]},
            r"alerts\.silence\.0\.days\.0 = 'friday'",
        ),
        ({"stuck": 0}, r"alerts\.stuck = 0"),
        ({"late": "soon"}, r"alerts\.late = 'soon': a duration"),
        ({"heartbeat": {"ping": "x"}}, r"alerts\.heartbeat\.ping = 'x': is not a known key"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, alerts: dict[str, Any], message: str) -> None:
    """The key, the value and the rule."""
    with pytest.raises(Misconfigured, match=message):
        load(tmp_path, alerts=alerts)


def test_a_route_may_be_one_name(tmp_path: Path) -> None:
    """Most have one channel."""
    channels = {"channels": {"ops": {"kind": "slack"}}}
    loaded = load(tmp_path, notify=channels, alerts={"routes": {"critical": "ops"}})
    assert loaded.alerts.routes == {Severity.CRITICAL: ("ops",)}
