"""Metrics, sent wherever the process that runs us sends its own; nowhere, unless it says so.

A metric's name carries its labels' values, in order: plain StatsD knows no labels. ``catalog.requests.upload.accepted``
is ``requests`` with ``operation`` upload and ``result`` accepted; what collects them takes the name apart again
(``include/monitoring/statsd_mapping.yaml``). Which metrics there are is in ``measures``.

Counters are sent as what was added, never as a total: every task is a process of its own that lives for seconds, so
whoever receives them adds up. Sending must never raise, nor wait for anybody.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

from catalog_sync.clock import Clock

log = logging.getLogger(__name__)

#: Stands before every name.
PREFIX = "catalog"
#: Stands for a label's value that is not among those it may have: names must not grow without bound.
OTHER = "other"

#: The labels of a metric and their values. Without values anything goes that the configuration bounds (a source).
Labels = Mapping[str, tuple[str, ...]]


class Sink(Protocol):
    """Where metrics go: Airflow's own ``stats`` fits."""

    def incr(self, stat: str, count: int) -> None:
        """Count something that happened."""

    def gauge(self, stat: str, value: float) -> None:
        """Say how something stands."""

    def timing(self, stat: str, milliseconds: float) -> None:
        """Say how long something took."""


_sinks: list[Sink] = []


def send_to(sink: Sink | None) -> None:
    """Let metrics go to ``sink`` from now on; ``None`` lets them go nowhere."""
    _sinks[:] = [] if sink is None else [sink]


def wanted() -> bool:
    """Tell whether metrics go anywhere, for what costs something to find out."""
    return bool(_sinks)


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: its name; dots may part it.
    :param about: a sentence for people who read a dashboard.
    """

    name: str
    about: str
    labels: Labels = field(default_factory=dict)

    def stat(self, **labels: str) -> str:
        """Return the whole name with these labels' values.

        :raises ValueError: a label is missing or unknown.
        """
        if set(labels) != set(self.labels):
            raise ValueError(f"metric {self.name}: its labels are {', '.join(self.labels) or 'none'}")
        values = [_value(labels[label], known) for label, known in self.labels.items()]
        return ".".join([PREFIX, self.name, *values])

    def combinations(self) -> Iterator[dict[str, str]]:
        """Yield every combination of its labels' values; none where a label takes any value."""
        for values in product(*self.labels.values()):
            yield dict(zip(self.labels, values, strict=True))


class Counter(Metric):
    """Counts what happened; only ever grows."""

    def add(self, count: int = 1, **labels: str) -> None:
        """Count ``count`` more. 0 makes the metric known: what collects it then sees it grow from nothing."""
        _send("incr", self.stat(**labels), count)


class Gauge(Metric):
    """Says how something stands."""

    def set(self, value: float, **labels: str) -> None:
        """Say that it is ``value`` now."""
        _send("gauge", self.stat(**labels), value)


class Timer(Metric):
    """Says how long something took; collected as a histogram, so that p50 and p99 can be told over all processes."""

    def took(self, seconds: float, **labels: str) -> None:
        """Say that it took so many seconds; less than nothing (two clocks that disagree) counts as nothing."""
        _send("timing", self.stat(**labels), max(seconds, 0.0) * 1000)

    @contextmanager
    def timed(self, clock: Clock, **labels: str) -> Iterator[None]:
        """Say how long what is done within took, also when it fails."""
        began = clock.time()
        try:
            yield
        finally:
            self.took(clock.time() - began, **labels)


def _value(value: str, known: tuple[str, ...]) -> str:
    safe = re.sub(r"[^a-z0-9_]", "_", value.lower())
    return safe if safe in known or not known else OTHER


def _send(how: str, name: str, value: float) -> None:
    for sink in _sinks:
        try:
            getattr(sink, how)(name, value)
        except Exception as error:  # a metric is worth no row
            log.debug("Metric %s was not sent: %s", name, type(error).__name__)
