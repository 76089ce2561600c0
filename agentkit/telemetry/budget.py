"""Budget events in OpenTelemetry's words: an event on a span, and a count."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Span

from agentkit.budgets.event import BudgetEvent
from agentkit.telemetry import names
from agentkit.telemetry.metrics import record_budget_event


def tell_span(span: Span, event: BudgetEvent) -> None:
    """Put `event` on `span` and into the metrics."""
    record_budget_event(event)
    attributes: dict[str, str | int | float] = {
        names.BUDGET_SCOPE: event.scope,
        names.BUDGET_DIMENSION: event.dimension,
        names.BUDGET_SETTLED: event.settled,
        names.BUDGET_HELD: event.held,
        names.BUDGET_ASKED: event.asked,
    }
    if event.limit is not None:
        attributes[names.BUDGET_LIMIT] = event.limit
    if event.fraction is not None:
        attributes[names.BUDGET_FRACTION] = event.fraction
    span.add_event(f"{names.BUDGET_EVENT_PREFIX}{event.kind}", attributes)


def tell_current_span(event: BudgetEvent) -> None:
    """For a task that no agent runs: the span of whoever settles, if there is one."""
    tell_span(trace.get_current_span(), event)
