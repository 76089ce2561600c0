"""The spans of one task: workflow, agent, a span a model call and a span a tool call.

Sums stand on the workflow span under `agentkit.task.*`, where no back end takes them for tokens
again. The workflow's parent is the span that is current where the task starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.event import BudgetEvent
from agentkit.budgets.journal import CallRecord, TaskRecord
from agentkit.budgets.money import usd_from_nusd
from agentkit.telemetry import names
from agentkit.telemetry.budget import tell_span
from agentkit.telemetry.calls import CallSpans, without_quotes
from agentkit.telemetry.provider import tracer

_LONGEST_ID_CHARS = 128


class TaskTrace:
    """Opens and ends the spans of one task; safe where tools run in parallel threads."""

    def __init__(self, record: TaskRecord, *, agent_name: str) -> None:
        self._tracer = tracer()
        tags = {f"{names.TAG_PREFIX}{key}": value for key, value in record.tags.items()}
        if "user" in record.tags:
            tags[names.USER] = record.tags["user"]
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
        self._calls = CallSpans(record.task_id, parent=self._context, of=self._tracer)

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return trace.format_trace_id(self._workflow.get_span_context().trace_id)

    def begin_call(self, held: HeldCall) -> None:
        """Open the span of a model call that is about to be sent."""
        self._calls.begin_call(held)

    def end_call(self, record: CallRecord) -> None:
        """End a model call's span with what it used and what it cost."""
        self._calls.end_call(record)

    def inside_call(self, held: HeldCall) -> AbstractContextManager[None]:
        """Make the call's span current, so that an instrumented HTTP client nests in it."""
        return self._calls.inside_call(held)

    def tool_span(self, tool: str, call_id: str) -> Span:
        """The open span of one tool call."""
        return self._start(
            f"execute_tool {tool}",
            SpanKind.INTERNAL,
            self._context,
            {
                names.OPERATION: "execute_tool",
                names.TOOL_NAME: tool,
                names.TOOL_CALL_ID: call_id[:_LONGEST_ID_CHARS],
            },
        )

    def budget_event(self, event: BudgetEvent) -> None:
        """Put a budget event on the agent's span and into the metrics."""
        tell_span(self._agent, event)

    def escalation(self, *, step: int, tier: int, to_tier: int, reason: str) -> None:
        """Mark that a step went to a dearer tier, and why."""
        self._agent.add_event(
            names.ESCALATION_EVENT,
            {
                names.STEP: step,
                names.TIER: tier,
                names.TO_TIER: to_tier,
                names.ESCALATION_REASON: without_quotes(reason),
            },
        )

    def decision(self, attributes: Mapping[str, str | int | float]) -> None:
        """Tell what became of an answer, by which signals."""
        self._agent.add_event(names.DECISION_EVENT, attributes)

    def route(self, *, step: int, tier: int, reason: str) -> None:
        """Mark the tier that a step begins with, and why."""
        self._agent.add_event(
            names.ROUTE_EVENT,
            {names.STEP: step, names.TIER: tier, names.ROUTE_REASON: without_quotes(reason)},
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
            self._workflow.set_attribute(names.ERROR_TYPE, record.outcome)
            self._workflow.set_status(Status(StatusCode.ERROR, record.outcome))
        self._calls.end()
        self._agent.end()
        self._workflow.end()

    def _start(
        self,
        name: str,
        kind: SpanKind,
        context: Context,
        attributes: Mapping[str, str],
    ) -> Span:
        return self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)
