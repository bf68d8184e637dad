"""Every effect on the world outside a process, counted, so that a process can die before or after any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Died(BaseException):
    """The process was killed. No code of the project may catch it: it is no ``Exception``."""


Incident = Callable[[str], None]


class Effects:
    """Counts the points before and after each effect, and lets incidents happen at some of them.

    ``armed``: what happens, and after how many further points; the points of an incident itself do not count.
    """

    def __init__(self) -> None:
        self.armed: list[tuple[int, Incident]] = []
        self.points = 0
        self.by_kind: Counter[str] = Counter()
        self._quiet = False

    @contextmanager
    def around(self, kind: str) -> Iterator[None]:
        """Surround one effect: an incident may happen before it, or after it and before anybody learns of it."""
        self._point(f"before {kind}")
        yield
        self.by_kind[kind] += 1
        self._point(f"after {kind}")

    def _point(self, where: str) -> None:
        if self._quiet:
            return
        self.points += 1
        if not self.armed:
            return
        left, incident = self.armed[0]
        if left > 0:
            self.armed[0] = (left - 1, incident)
            return
        self.armed.pop(0)
        rest, self.armed = self.armed, []
        try:
            incident(where)
        finally:
            self.armed = rest

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Let nothing happen meanwhile."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
