"""Which tracer makes agentkit's spans: the application's own, or a private one.

An application that has set a tracer provider gets the spans in its traces, with nothing to set.
Otherwise a private provider sends them to the targets of `trace_to`, if there are any, and makes
valid ids in any case.
"""

from __future__ import annotations

import threading
from functools import cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import ProxyTracerProvider, Tracer

from agentkit.telemetry import names

_UNNAMED = "unknown_service"
"""What OpenTelemetry calls a service that neither OTEL_SERVICE_NAME nor anything else names."""


class Targets(SpanProcessor):
    """Hands each span to every target that is open at the moment; safe from many threads."""

    def __init__(self) -> None:
        self._targets: tuple[SpanProcessor, ...] = ()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._targets)

    def add(self, target: SpanProcessor) -> None:
        """Send the spans that end from now on to `target` too."""
        with self._lock:
            self._targets = (*self._targets, target)

    def remove(self, target: SpanProcessor) -> None:
        """Send nothing more to `target`."""
        with self._lock:
            self._targets = tuple(known for known in self._targets if known is not target)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for target in self._targets:
            target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        for target in self._targets:
            target.on_end(span)


TARGETS = Targets()


def has_application_provider() -> bool:
    """True where the application has set a tracer provider of its own."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


def tracer() -> Tracer:
    """The tracer that a span which starts now belongs to."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        provider = _exporting_provider() if TARGETS else _idle_provider()
    return provider.get_tracer(names.SCOPE_NAME)


@cache
def _exporting_provider() -> TracerProvider:
    """Sends spans to the targets; OTEL_TRACES_SAMPLER and OTEL_SERVICE_NAME hold for it."""
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(TARGETS)
    return provider


@cache
def _idle_provider() -> TracerProvider:
    """Makes ids and records nothing."""
    return TracerProvider(sampler=ALWAYS_OFF, resource=Resource.get_empty(), shutdown_on_exit=False)


def _resource() -> Resource:
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        return found.merge(Resource({SERVICE_NAME: names.SCOPE_NAME}))
    return found
