"""Profiles: further names for a back end that does not read the conventions, or reads less of them.

Spans carry what Langfuse, Logfire, MLflow and Phoenix read by default. A profile adds, at export,
the same figures under the names of one back end; it takes nothing away and adds nothing up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

from agentkit.errors import ConfigError
from agentkit.telemetry import names

Profile = Literal["plain", "langfuse", "openinference"]
Known = Mapping[str, AttributeValue]

_KINDS = {
    "chat": "LLM",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "invoke_workflow": "CHAIN",
}


class ProfiledExporter(SpanExporter):
    """Hands spans to `exporter` with the further names of `profile`.

    For a tracer provider of your own; `trace_to(..., profile=...)` makes one itself. Raises
    ConfigError for a profile that does not exist.
    """

    def __init__(self, exporter: SpanExporter, profile: str) -> None:
        check_profile(profile)
        self._exporter = exporter
        self._further = _PROFILES[profile]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies; the spans that other exporters see stay as they are."""
        return self._exporter.export([self._copy(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _copy(self, span: ReadableSpan) -> ReadableSpan:
        known: Known = span.attributes or {}
        further = self._further(known) if names.OPERATION in known else {}
        return ReadableSpan(
            name=span.name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=span.resource,
            attributes={**known, **further},
            events=span.events,
            links=span.links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )


def check_profile(profile: str) -> None:
    """Raises ConfigError for a profile that does not exist."""
    if profile not in _PROFILES:
        known = ", ".join(get_args(Profile))
        raise ConfigError(f"there is no trace profile {profile!r}; known: {known}")


def _plain(known: Known) -> dict[str, AttributeValue]:
    del known
    return {}


def _langfuse(known: Known) -> dict[str, AttributeValue]:
    """Usage in parts that do not overlap, for Langfuse adds the types of usage up to a total."""
    further: dict[str, AttributeValue] = {}
    if names.INPUT_TOKENS in known:
        read, written = (
            _count(known, names.CACHE_READ_TOKENS),
            _count(known, names.CACHE_WRITE_TOKENS),
        )
        thought = _count(known, names.REASONING_TOKENS)
        parts = {
            "input": _count(known, names.INPUT_TOKENS) - read - written,
            "input_cached_tokens": read,
            "input_cache_creation": written,
            "output": _count(known, names.OUTPUT_TOKENS) - thought,
            "output_reasoning_tokens": thought,
        }
        further[names.LANGFUSE_USAGE] = json.dumps(
            {**parts, "total": sum(parts.values())}, separators=(",", ":")
        )
    if names.COST_LANGFUSE in known:
        further[names.LANGFUSE_COST] = json.dumps({"total": known[names.COST_LANGFUSE]})
    if names.WORKFLOW_NAME in known:
        further[names.LANGFUSE_TRACE] = known[names.WORKFLOW_NAME]
    return further


def _openinference(known: Known) -> dict[str, AttributeValue]:
    """What Arize AX and a Phoenix from before it read the conventions go by."""
    further: dict[str, AttributeValue] = {
        names.OI_KIND: _KINDS.get(str(known[names.OPERATION]), "CHAIN")
    }
    further |= {theirs: known[ours] for ours, theirs in _OPENINFERENCE.items() if ours in known}
    if names.INPUT_TOKENS in known:
        further[names.OI_TOTAL] = _count(known, names.INPUT_TOKENS) + _count(
            known, names.OUTPUT_TOKENS
        )
    return further


_OPENINFERENCE: Mapping[str, str] = {
    names.RESPONSE_MODEL: "llm.model_name",
    names.PROVIDER: "llm.provider",
    names.INPUT_TOKENS: "llm.token_count.prompt",
    names.OUTPUT_TOKENS: "llm.token_count.completion",
    names.CACHE_READ_TOKENS: "llm.token_count.prompt_details.cache_read",
    names.CACHE_WRITE_TOKENS: "llm.token_count.prompt_details.cache_write",
    names.REASONING_TOKENS: "llm.token_count.completion_details.reasoning",
    names.COST_LANGFUSE: "llm.cost.total",
    names.CONVERSATION: "session.id",
    names.TOOL_NAME: "tool.name",
}

_PROFILES: Mapping[str, Callable[[Known], dict[str, AttributeValue]]] = {
    "plain": _plain,
    "langfuse": _langfuse,
    "openinference": _openinference,
}


def _count(known: Known, name: str) -> int:
    value = known.get(name, 0)
    return value if isinstance(value, int) else 0
