"""The span of a model call: what was asked for, what it used, what it cost.

Usage and cost stand here and nowhere else, so that no back end adds them up twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.journal import CallRecord
from agentkit.budgets.money import usd_from_nusd
from agentkit.telemetry import names
from agentkit.telemetry.metrics import record_call
from agentkit.telemetry.provider import tracer

_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
_LONGEST_REASON_CHARS = 200

Attributes = dict[str, str | int | float | bool]


class CallSpans:
    """Opens and ends the spans of a task's model calls; safe from many threads.

    Their parent is the span in `parent`, else the one that is current when a call begins.
    """

    def __init__(
        self, task_id: str, *, parent: Context | None = None, of: Tracer | None = None
    ) -> None:
        self._task_id = task_id
        self._parent = parent
        self._tracer = of
        self._open: dict[str, Span] = {}

    def begin_call(self, held: HeldCall) -> None:
        """Open the span of a model call that is about to be sent."""
        plan = held.plan
        provider = names.PROVIDER_NAMES.get(plan.price.provider, plan.price.provider)
        self._open[held.call_id] = (self._tracer or tracer()).start_span(
            f"chat {plan.price.model}",
            context=self._parent,
            kind=SpanKind.CLIENT,
            attributes={
                names.OPERATION: "chat",
                names.PROVIDER: provider,
                names.REQUEST_MODEL: plan.price.model,
                names.REQUEST_MAX_TOKENS: held.max_output_tokens,
                names.TASK_ID: self._task_id,
                names.TIER: plan.tier,
                names.STEP: plan.step,
                names.ATTEMPT: plan.attempt,
                names.PURPOSE: plan.purpose,
            },
        )

    def end_call(self, record: CallRecord) -> None:
        """End a model call's span with what it used and what it cost."""
        record_call(record)
        span = self._open.pop(record.call_id, None)
        if span is None:
            return
        span.set_attributes(call_attributes(record))
        if record.status != "ok":
            span.set_attribute(names.ERROR_TYPE, record.error or record.status)
            span.set_status(Status(StatusCode.ERROR, record.status))
        span.end()

    @contextmanager
    def inside_call(self, held: HeldCall) -> Generator[None]:
        """Make the call's span current, so that an instrumented HTTP client nests in it."""
        span = self._open.get(held.call_id)
        if span is None:
            yield
            return
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            otel_context.detach(token)

    def end(self) -> None:
        """End what is still open."""
        while self._open:
            _, span = self._open.popitem()
            span.end()


def call_attributes(record: CallRecord) -> Attributes:
    """Usage and cost of one call, under the names that the back ends read."""
    usage = record.usage
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    attributes: Attributes = {
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
        attributes[names.ESCALATION_REASON] = without_quotes(record.reason)
    return attributes


def without_quotes(reason: str) -> str:
    """`reason` without what it quotes: that may be a model's own words, which no trace holds."""
    return _QUOTED.sub("…", reason)[:_LONGEST_REASON_CHARS]
