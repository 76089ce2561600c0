"""What the telemetry tests share: an application's own providers, and agents on scripted models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentkit import chat_model
from tests.wire import Reply, ScriptedProvider, steps


class Captured:
    """The spans of an application that has a tracer provider."""

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self, operation: str = "") -> list[ReadableSpan]:
        """Ended spans whose names begin with `operation`, in the order they ended."""
        return [s for s in self.exporter.get_finished_spans() if s.name.startswith(operation)]

    def one(self, operation: str) -> ReadableSpan:
        """The only such span."""
        (span,) = self.spans(operation)
        return span


@pytest.fixture(name="captured")
def captured_spans(monkeypatch: pytest.MonkeyPatch) -> Captured:
    """An application's tracer provider; set by hand, for OpenTelemetry takes one a process."""
    capture = Captured()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", capture.provider)
    return capture


@pytest.fixture(name="reader")
def metric_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """An application's meter provider."""
    found = InMemoryMetricReader()
    provider = MeterProvider([found], shutdown_on_exit=False)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", provider)
    assert metrics.get_meter_provider() is provider
    yield found
    provider.shutdown()


def look(q: str) -> str:
    """Look something up."""
    return f"about {q}: 42"


def fail(q: str) -> str:
    """Look something up in vain."""
    raise RuntimeError(f"no luck with {q}")


TWO_CALLS = steps(
    [
        Reply(tool_calls=[("look", {"q": "x"}), ("look", {"q": "y"})]),
        Reply(text="forty two"),
    ]
)


def openai_model(server: ScriptedProvider, name: str = "gpt-5-mini"):  # type: ignore[no-untyped-def]
    """The real client of OpenAI, on the scripted server."""
    return chat_model(f"openai:{name}", base_url=server.openai_url, api_key="test")
