"""Metrics, sent wherever the process that runs us sends its own; nowhere, unless it says so.

Names carry what happened: plain StatsD drops tags. Sending must never raise, nor wait for anybody.
"""

from __future__ import annotations

import logging
from typing import Protocol

log = logging.getLogger(__name__)

#: Stands before every name.
PREFIX = "catalog."


class Metrics(Protocol):
    """Where metrics go: Airflow's own ``stats`` fits."""

    def incr(self, stat: str, count: int = 1) -> None:
        """Count something that happened."""

    def gauge(self, stat: str, value: float) -> None:
        """Say how something stands."""


_sinks: list[Metrics] = []


def send_to(sink: Metrics | None) -> None:
    """Let metrics go to ``sink`` from now on; ``None`` lets them go nowhere."""
    _sinks[:] = [] if sink is None else [sink]


def incr(name: str, count: int = 1) -> None:
    """Count ``count`` more of what the name says."""
    _send("incr", name, count)


def gauge(name: str, value: float) -> None:
    """Say that what the name says is ``value`` now."""
    _send("gauge", name, value)


def _send(how: str, name: str, value: float) -> None:
    for sink in _sinks:
        try:
            getattr(sink, how)(f"{PREFIX}{name}", value)
        except Exception as error:  # a metric is worth no row
            log.debug("Metric %s was not sent: %s", name, type(error).__name__)
