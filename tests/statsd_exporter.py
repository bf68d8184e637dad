"""What Prometheus's statsd_exporter does with a datagram, as far as our mapping uses it.

Written after its documentation (README.md, "Metric Mapping and Configuration"): keys and patterns are checked as it
checks them, globs match whole components and come before regular expressions, timers are milliseconds and become
seconds. A configuration that it would refuse is an error here.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_KEYS = {
    "match", "match_type", "match_metric_type", "name", "help", "labels", "observer_type", "histogram_options", "action"
}  # fmt: skip
_COMPONENT = r"[a-zA-Z_](-?[a-zA-Z0-9_])*"
_MATCH = re.compile(rf"^(\*\.|{_COMPONENT}\.)+(\*|{_COMPONENT})$")
_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")
_LABEL = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]+$")
_TYPES = {"c": "counter", "g": "gauge", "ms": "observer"}

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Mapping:
    """One mapping of the file."""

    pattern: re.Pattern[str]
    raw: dict[str, Any]

    @property
    def name(self) -> str:
        """The name in Prometheus."""
        return str(self.raw["name"])

    @property
    def labels(self) -> dict[str, str]:
        """The labels, with ``$1`` for what the first ``*`` stands for."""
        return dict(self.raw.get("labels", {}))

    def fits(self, name: str, kind: str) -> re.Match[str] | None:
        """Return the match of the name, if it and the type fit."""
        return self.pattern.match(name) if self.raw.get("match_metric_type", kind) == kind else None


def load(path: Path) -> list[Mapping]:
    """Return the mappings, globs first.

    :raises ValueError: statsd_exporter would refuse the file.
    """
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if set(config) != {"defaults", "mappings"} or config["defaults"].get("match_type") != "glob":
        raise ValueError("defaults with match_type glob, and mappings, are expected")
    found = [_mapping(raw) for raw in config["mappings"]]
    return sorted(found, key=lambda mapping: mapping.raw.get("match_type", "glob") != "glob")


def _mapping(raw: dict[str, Any]) -> Mapping:
    glob = raw.get("match_type", "glob") == "glob"
    wrong = set(raw) - _KEYS
    if wrong or not _NAME.match(raw["name"]) or not all(_LABEL.match(label) for label in raw.get("labels", {})):
        raise ValueError(f"{raw['match']}: a key, the name or a label is none: {wrong or raw}")
    if glob and not _MATCH.match(raw["match"]):
        raise ValueError(f"invalid match: {raw['match']}")
    buckets = raw.get("histogram_options", {}).get("buckets", [])
    if buckets != sorted(set(buckets)):
        raise ValueError(f"{raw['match']}: buckets must grow")
    pattern = re.escape(raw["match"]).replace(r"\*", r"([^.]*)") + "$" if glob else raw["match"]
    return Mapping(re.compile(pattern), raw)


@dataclass
class Exporter:
    """Adds up what it is sent."""

    mappings: list[Mapping]
    values: dict[Series, float] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    #: Names that no mapping fits, or that change their type.
    strays: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, datagram: str) -> None:
        """Take one datagram, a line for each metric."""
        for line in datagram.splitlines():
            # Airflow samples two gauges of its own; statsd_exporter takes their value as it is.
            match = re.fullmatch(r"([^:]+):([.\deE+-]+)\|(?:(c|ms)|(g)(?:\|@[\d.]+)?)", line)
            with self.lock:
                # A gauge with a sign is relative: none of ours is meant so.
                if match and not (match[4] and match[2][0] in "+-"):
                    self._take(match[1], float(match[2]), _TYPES[match[3] or match[4]])
                else:
                    self.strays.add(line)

    def _take(self, name: str, value: float, kind: str) -> None:
        for mapping in self.mappings:
            if not (match := mapping.fits(name, kind)):
                continue
            if mapping.raw.get("action") != "drop":
                labels = {label: match.expand(of.replace("$", "\\")) for label, of in mapping.labels.items()}
                self._add(mapping, labels, value, kind)
            return
        self.strays.add(name)

    def _add(self, mapping: Mapping, labels: dict[str, str], value: float, kind: str) -> None:
        if self.types.setdefault(mapping.name, kind) != kind or (kind == "counter" and value < 0):
            self.strays.add(mapping.name)
            return
        if kind == "gauge":
            self.values[_series(mapping.name, labels)] = value
        elif kind == "counter":
            self._more(mapping.name, labels, value)
        else:
            seconds = value / 1000
            self._more(f"{mapping.name}_sum", labels, seconds)
            self._more(f"{mapping.name}_count", labels, 1)
            for edge in [*mapping.raw["histogram_options"]["buckets"], float("inf")]:
                bound = "+Inf" if edge == float("inf") else repr(float(edge))
                self._more(f"{mapping.name}_bucket", {**labels, "le": bound}, seconds <= edge)

    def _more(self, name: str, labels: dict[str, str], value: float) -> None:
        series = _series(name, labels)
        self.values[series] = self.values.get(series, 0.0) + value

    def names(self) -> set[str]:
        """Return the names of all series."""
        return {name for name, _ in self.values}

    def text(self) -> str:
        """Return what ``/metrics`` answers."""
        kinds = {"observer": "histogram"}
        with self.lock:
            lines = [f"# TYPE {name} {kinds.get(kind, kind)}" for name, kind in self.types.items()]
            for (name, labels), value in self.values.items():
                inner = ",".join(f'{label}="{of}"' for label, of in labels)
                lines.append(f"{name}{{{inner}}} {value}")
        return "\n".join(lines) + "\n"


def _series(name: str, labels: dict[str, str]) -> Series:
    return name, tuple(sorted(labels.items()))


@contextmanager
def listening(exporter: Exporter) -> Iterator[int]:
    """Listen on a UDP port of this host and yield it; when the block ends, all that was sent has been taken."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        receiver.bind(("127.0.0.1", 0))

        def receive() -> None:
            while (datagram := receiver.recv(65536)) != b"end":
                exporter.take(datagram.decode())

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        try:
            yield receiver.getsockname()[1]
        finally:
            sender.sendto(b"end", receiver.getsockname())
            thread.join(timeout=10)
