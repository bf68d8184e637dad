"""Where metrics go in a story."""

from __future__ import annotations

from collections import Counter


class Sink:
    """Adds up counters, keeps the last word of gauges, and how often each timer spoke."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.timers: Counter[str] = Counter()

    def incr(self, stat: str, count: int) -> None:
        """Add."""
        assert count >= 0
        self.counters[stat] += count

    def gauge(self, stat: str, value: float) -> None:
        """Keep."""
        self.gauges[stat] = value

    def timing(self, stat: str, milliseconds: float) -> None:
        """Count."""
        self.timers[stat] += 1

    def of(self, name: str) -> dict[str, int]:
        """Return what was counted of one metric, by the rest of the name, without zeros."""
        start = f"catalog.{name}."
        return {stat.removeprefix(start): n for stat, n in self.counters.items() if stat.startswith(start) and n}
