"""`trace_to`: send agentkit's spans somewhere, from an application that has set up no tracing."""

from __future__ import annotations

import atexit
from os import PathLike, fspath
from typing import Self

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter

from agentkit.errors import ConfigError
from agentkit.telemetry.jsonl import JsonLinesExporter
from agentkit.telemetry.otlp import otlp_exporter
from agentkit.telemetry.profile import Profile, ProfiledExporter, check_profile
from agentkit.telemetry.provider import TARGETS, has_application_provider

OTLP = "otlp"
_FLUSH_SECONDS = 30.0


class TraceHandle:
    """An open target of spans; a context manager that closes it. Closed at exit at the latest."""

    def __init__(self, target: str, processor: SpanProcessor) -> None:
        self.target = target
        self._processor: SpanProcessor | None = processor
        TARGETS.add(processor)
        atexit.register(self.close)

    def flush(self, timeout_seconds: float = _FLUSH_SECONDS) -> bool:
        """Send what has ended so far; False where that did not work out, or after `close`."""
        if self._processor is None:
            return False
        return self._processor.force_flush(int(timeout_seconds * 1000))

    def close(self) -> None:
        """Send what is left and let go of the target; a second time is harmless."""
        processor, self._processor = self._processor, None
        if processor is None:
            return
        atexit.unregister(self.close)
        TARGETS.remove(processor)
        processor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trace_to(target: str | PathLike[str], *, profile: Profile | str = "plain") -> TraceHandle:
    """Send the spans of tasks that start from now on to `target`, until the handle is closed.

    `target` is the path of a JSON-lines file, which is appended to, or "otlp": then the exporter of
    OpenTelemetry reads where to send from OTEL_EXPORTER_OTLP_ENDPOINT and its kin, and whether over
    HTTP or gRPC from OTEL_EXPORTER_OTLP_PROTOCOL. `profile` adds the names of one more back end.

    >>> with trace_to("spans.jsonl"):  # doctest: +SKIP
    ...     agent.run("play some jazz")

    Raises ConfigError where the application has a tracer provider already (its traces hold
    agentkit's spans without this), the file cannot be opened or no such profile exists, and
    ExtraMissing without the exporter.
    """
    place = fspath(target)
    if has_application_provider():
        raise ConfigError(
            f"trace_to({place!r}): this application has a tracer provider, and agentkit's spans "
            "are in its traces already; add an exporter to that provider instead "
            "(agentkit.telemetry.JsonLinesExporter writes JSON lines)"
        )
    check_profile(profile)
    if place == OTLP:
        return TraceHandle(place, BatchSpanProcessor(_profiled(otlp_exporter(), profile)))
    return TraceHandle(place, SimpleSpanProcessor(_profiled(_file(place), profile)))


def _profiled(exporter: SpanExporter, profile: str) -> SpanExporter:
    return exporter if profile == "plain" else ProfiledExporter(exporter, profile)


def _file(path: str) -> SpanExporter:
    if not path or "://" in path:
        raise ConfigError(
            f"trace_to({path!r}): give the path of a file, or 'otlp' with the address in "
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
    try:
        return JsonLinesExporter(path)
    except OSError as error:
        raise ConfigError(f"trace_to({path!r}): {error.strerror or error}") from error
