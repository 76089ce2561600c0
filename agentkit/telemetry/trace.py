"""The spans of one task: workflow, agent, a span a model call and a span a tool call.

Usage and cost stand on `chat` spans only; sums stand on the workflow span under `agentkit.task.*`,
where no back end takes them for tokens again. An application's own tracer provider is used where it
has set one; otherwise a private one makes valid ids and keeps nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import ProxyTracerProvider, Span, SpanKind, Status, StatusCode, Tracer

from agentkit.budgets.event import BudgetEvent
from agentkit.budgets.journal import CallRecord, TaskRecord
from agentkit.budgets.money import usd_from_nusd
from agentkit.budgets.task import HeldCall
from agentkit.telemetry import names
from agentkit.telemetry.metrics import record_budget_event, record_call

_private_lock = threading.Lock()
_private: TracerProvider | None = None


def tracer() -> Tracer:
    """The tracer of the application's provider, or of a private one that exports nothing."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        global _private
        with _private_lock:
            _private = _private or TracerProvider(shutdown_on_exit=False)
        return _private.get_tracer(names.SCOPE_NAME)
    return provider.get_tracer(names.SCOPE_NAME)


class TaskTrace:
    """Opens and ends the spans of one task; safe where tools run in parallel threads."""

    def __init__(self, record: TaskRecord, *, agent_name: str) -> None:
        self._tracer = tracer()
        tags = {f"{names.TAG_PREFIX}{key}": value for key, value in record.tags.items()}
        self._workflow = self._tracer.start_span(
            f"invoke_workflow {agent_name}",
            kind=SpanKind.INTERNAL,
            attributes={
                names.OPERATION: "invoke_workflow",
                names.WORKFLOW_NAME: agent_name,
                names.TASK_ID: record.task_id,
                names.TASK_SCOPE: record.scope,
                **tags,
            },
        )
        self._agent = self._start(
            f"invoke_agent {agent_name}",
            SpanKind.INTERNAL,
            trace.set_span_in_context(self._workflow),
            {
                names.OPERATION: "invoke_agent",
                names.AGENT_NAME: agent_name,
                names.CONVERSATION: record.thread_id or record.task_id,
            },
        )
        self._context = trace.set_span_in_context(self._agent)
        self._chats: dict[str, Span] = {}

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return trace.format_trace_id(self._workflow.get_span_context().trace_id)

    def begin_call(self, held: HeldCall) -> None:
        """Open the span of a model call that is about to be sent."""
        plan = held.plan
        self._chats[held.call_id] = self._start(
            f"chat {plan.price.model}",
            SpanKind.CLIENT,
            self._context,
            {
                names.OPERATION: "chat",
                names.PROVIDER: plan.price.provider,
                names.REQUEST_MODEL: plan.price.model,
                names.REQUEST_MAX_TOKENS: held.max_output_tokens,
                names.TIER: plan.tier,
                names.STEP: plan.step,
                names.ATTEMPT: plan.attempt,
                names.PURPOSE: plan.purpose,
            },
        )

    def end_call(self, record: CallRecord) -> None:
        """End a model call's span with what it used and what it cost."""
        record_call(record)
        span = self._chats.pop(record.call_id, None)
        if span is None:
            return
        span.set_attributes(call_attributes(record))
        if record.status != "ok":
            span.set_attribute(names.ERROR_TYPE, record.error or record.status)
            span.set_status(Status(StatusCode.ERROR, record.status))
        span.end()

    @contextmanager
    def inside_call(self, held: HeldCall) -> Iterator[None]:
        """Make the call's span current, so that an instrumented HTTP client nests in it."""
        span = self._chats.get(held.call_id)
        if span is None:
            yield
            return
        token = otel_context.attach(trace.set_span_in_context(span, self._context))
        try:
            yield
        finally:
            otel_context.detach(token)

    def tool_span(self, tool: str, call_id: str) -> Span:
        """The open span of one tool call."""
        return self._start(
            f"execute_tool {tool}",
            SpanKind.INTERNAL,
            self._context,
            {
                names.OPERATION: "execute_tool",
                names.TOOL_NAME: tool,
                names.TOOL_CALL_ID: call_id,
            },
        )

    def budget_event(self, event: BudgetEvent) -> None:
        """Put a budget event on the agent's span and into the metrics."""
        record_budget_event(event)
        attributes: dict[str, str | int | float] = {
            "scope": event.scope,
            "dimension": event.dimension,
            "settled": event.settled,
            "held": event.held,
            "asked": event.asked,
        }
        if event.limit is not None:
            attributes["limit"] = event.limit
        if event.fraction is not None:
            attributes["fraction"] = event.fraction
        self._agent.add_event(f"{names.BUDGET_EVENT_PREFIX}{event.kind}", attributes)

    def escalation(self, *, step: int, tier: int, to_tier: int, reason: str) -> None:
        """Mark that a step went to a dearer tier, and why."""
        self._agent.add_event(
            names.ESCALATION_EVENT,
            {
                names.STEP: step,
                names.TIER: tier,
                "to_tier": to_tier,
                names.ESCALATION_REASON: reason,
            },
        )

    def end(self, record: TaskRecord) -> None:
        """End the task's spans with its sums."""
        self._workflow.set_attributes(
            {
                names.TASK_OUTCOME: record.outcome or "",
                names.TASK_COST_USD: float(usd_from_nusd(record.cost_nusd)),
                names.TASK_UNCONFIRMED_USD: float(usd_from_nusd(record.unconfirmed_nusd)),
                names.TASK_INPUT_TOKENS: record.usage.input_tokens,
                names.TASK_OUTPUT_TOKENS: record.usage.output_tokens,
                names.TASK_CACHED_TOKENS: record.usage.cache_read_tokens,
                names.TASK_CALLS: record.calls,
                names.TASK_STEPS: record.steps,
                names.TASK_ESCALATIONS: record.escalations,
            }
        )
        if record.outcome in ("failed", "exhausted", "cancelled"):
            self._workflow.set_status(Status(StatusCode.ERROR, record.outcome))
        for span in self._chats.values():
            span.end()
        self._chats.clear()
        self._agent.end()
        self._workflow.end()

    def _start(
        self,
        name: str,
        kind: SpanKind,
        context: otel_context.Context,
        attributes: Mapping[str, Any],
    ) -> Span:
        return self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)


def call_attributes(record: CallRecord) -> dict[str, str | int | float | bool]:
    """Usage and cost of one call, under the names that the back ends read."""
    usage = record.usage
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    attributes: dict[str, str | int | float | bool] = {
        names.RESPONSE_MODEL: record.model,
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        names.CACHE_READ_TOKENS: usage.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: written,
        names.CACHE_WRITE_TOKENS_FORMER: written,
        names.REASONING_TOKENS: usage.reasoning_tokens,
        names.COST_SOURCE: record.cost_source,
        names.COST_CONFIRMED: record.confirmed,
    }
    if record.cost_source != "unknown":
        usd = float(usd_from_nusd(record.cost_nusd))
        attributes[names.COST_LANGFUSE] = usd
        attributes[names.COST_LOGFIRE] = usd
        attributes[names.COST_MLFLOW] = json.dumps({"total_cost": usd})
    if record.confidence is not None:
        attributes[names.CONFIDENCE] = record.confidence
    if record.accepted is not None:
        attributes[names.ACCEPTED] = record.accepted
    if record.accepted is False and record.reason:
        attributes[names.ESCALATION_REASON] = record.reason
    return attributes
