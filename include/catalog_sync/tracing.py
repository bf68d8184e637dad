"""Spans around requests to Amazon, for whoever traces the process that runs us; nothing, unless it says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Tracer(Protocol):
    """What starts a span: an OpenTelemetry tracer fits."""

    def start_as_current_span(self, name: str) -> AbstractContextManager[Any]:
        """Return a context in which the span lasts; it has ``set_attribute``."""


_tracers: list[Tracer] = []


def trace_with(tracer: Tracer | None) -> None:
    """Let spans go to ``tracer`` from now on; ``None`` lets them go nowhere."""
    _tracers[:] = [] if tracer is None else [tracer]


class Span:
    """A span that lasts, or none."""

    def __init__(self, inner: Any = None) -> None:
        self._inner = inner

    def say(self, **attributes: str | int | float | None) -> None:
        """Add attributes, each under ``catalog.``; those that are ``None`` are left out."""
        for name, value in attributes.items():
            if self._inner is not None and value is not None:
                self._inner.set_attribute(f"catalog.{name}", value)


@contextmanager
def span(name: str) -> Iterator[Span]:
    """Let a span last as long as what is done within. Tracing that fails disturbs nobody."""
    with ExitStack() as stack:
        inner = None
        try:
            inner = stack.enter_context(_tracers[0].start_as_current_span(name)) if _tracers else None
        except Exception as error:  # a span is worth no row
            log.debug("Span %s was not begun: %s", name, type(error).__name__)
        yield Span(inner)
