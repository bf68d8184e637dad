"""The limit on requests: so many in any one-second window, per account, over all operations (U5), in real time."""

from __future__ import annotations

import threading
from collections import deque


class RateLimiter:
    """A sliding window over the instants of the last requests. Thread-safe.

    Requests that were refused count too: the strictest reading of "10 requests per second" (``catalog_validations``).
    """

    def __init__(self, limit: int, window: float = 1.0) -> None:
        self._limit = limit
        self._window = window
        self._lock = threading.Lock()
        self._starts: dict[str, deque[float]] = {}

    def admits(self, account: str, now: float) -> bool:
        """Record a request of the account at ``now`` (seconds) and return whether it is within the limit."""
        with self._lock:
            starts = self._starts.setdefault(account, deque(maxlen=self._limit))
            within = len(starts) < self._limit or now - starts[0] >= self._window
            starts.append(now)
            return within
