"""Spans around requests, in OpenTelemetry's own memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.stories.world import World, row

from catalog_sync import tracing


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where spans go during the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.trace_with(provider.get_tracer("test"))
    yield exporter
    tracing.trace_with(None)
    provider.shutdown()


def test_each_request_is_a_span(world: World, spans: InMemorySpanExporter) -> None:
    """With what came of it and Amazon's id, and nothing of what was sent."""
    world.faults("throttled")
    world.write([row(1)])
    world.job("r1").send()
    first, second = spans.get_finished_spans()
    assert {first.name, second.name} == {"catalog upload"}
    refused = dict(first.attributes or {})
    assert refused.pop("catalog.bytes")
    assert refused == {"catalog.http_status": 429, "catalog.verdict": "RETRY_LATER"}
    told = dict(second.attributes or {})
    assert (told["catalog.http_status"], told["catalog.verdict"]) == (201, "ACCEPTED")
    assert told["catalog.ingestion_id"]


def test_a_tracer_that_fails_disturbs_nobody() -> None:
    """Nor does none at all."""

    class Broken:
        def start_as_current_span(self, name: str) -> object:
            raise OSError("no collector")

    tracing.trace_with(Broken())  # type: ignore[arg-type]
    try:
        with tracing.span("x") as traced:
            traced.say(verdict="ACCEPTED")
    finally:
        tracing.trace_with(None)
    with tracing.span("x") as traced:
        traced.say(verdict="ACCEPTED")
