"""Spans as JSON lines: a trace that `jq`, pandas or an editor can read."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id

_log = logging.getLogger("agentkit.telemetry")

JsonLine = dict[str, object]


class JsonLinesExporter(SpanExporter):
    """Appends one line a span to a file; safe from many threads.

    Each export reaches the operating system before it returns. A failed write is reported once and
    never raised: a full disk must not stop a task.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Opens `path` for appending; raises OSError where that is not possible."""
        self._file = Path(path).open("ab")  # noqa: SIM115  shutdown() closes it
        self._lock = threading.Lock()
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans`, in their order."""
        text = "".join(f"{_encoded(span)}\n" for span in spans).encode(errors="replace")
        with self._lock:
            if self._file.closed:
                return SpanExportResult.FAILURE
            try:
                self._file.write(text)
                self._file.flush()
            except OSError as error:
                self._report(error)
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file; a second time is harmless."""
        with self._lock:
            try:
                self._file.close()
            except OSError as error:
                self._report(error)

    def _report(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            _log.warning("spans cannot be written to %r: %s", self._file.name, error)


def span_to_dict(span: ReadableSpan) -> JsonLine:
    """`span` as JSON types: ids in hexadecimal, times in nanoseconds since 1970."""
    context = span.get_span_context()
    return {
        "trace_id": format_trace_id(context.trace_id) if context else None,
        "span_id": format_span_id(context.span_id) if context else None,
        "parent_span_id": format_span_id(span.parent.span_id) if span.parent else None,
        "name": span.name,
        "kind": span.kind.name,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "attributes": _plain(span.attributes),
        "events": [_event_to_dict(event) for event in span.events],
        "status": {"code": span.status.status_code.name, "description": span.status.description},
        "service": span.resource.attributes.get("service.name"),
    }


def _event_to_dict(event: Event) -> JsonLine:
    return {
        "name": event.name,
        "time_ns": event.timestamp,
        "attributes": _plain(event.attributes),
    }


def _plain(attributes: Mapping[str, object] | None) -> JsonLine:
    return dict(attributes or {})


def _encoded(span: ReadableSpan) -> str:
    return json.dumps(span_to_dict(span), ensure_ascii=False, default=str)
