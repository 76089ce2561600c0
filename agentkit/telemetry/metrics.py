"""Metrics of calls and budgets. Task ids are never labels: their number has no bound."""

from __future__ import annotations

from functools import lru_cache

from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram, MeterProvider

from agentkit.budgets.event import BudgetEvent
from agentkit.budgets.journal import CallRecord
from agentkit.budgets.money import usd_from_nusd
from agentkit.telemetry import names


class _Instruments:
    """The instruments of one meter provider."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(names.SCOPE_NAME)
        self.tokens: Histogram = meter.create_histogram(
            names.METRIC_TOKENS,
            unit="{token}",
            description="Tokens of model calls",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )
        self.duration: Histogram = meter.create_histogram(
            names.METRIC_DURATION,
            unit="s",
            description="Duration of model calls",
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        )
        self.cost: Counter = meter.create_counter(
            names.METRIC_COST, unit="USD", description="Settled cost of model calls"
        )
        self.budget_events: Counter = meter.create_counter(
            names.METRIC_BUDGET_EVENTS, unit="{event}", description="Thresholds and breaches"
        )


def record_call(record: CallRecord) -> None:
    """Add one ended model call; its tokens only where the provider reported them."""
    instruments = _instruments(metrics.get_meter_provider())
    labels = {
        names.OPERATION: "chat",
        names.PROVIDER: names.PROVIDER_NAMES.get(record.provider, record.provider),
        names.REQUEST_MODEL: record.model,
    }
    usage = record.usage
    if record.confirmed and usage.total_tokens:
        instruments.tokens.record(usage.input_tokens, {**labels, names.TOKEN_TYPE: "input"})
        instruments.tokens.record(usage.output_tokens, {**labels, names.TOKEN_TYPE: "output"})
    if record.status != "ok":
        labels[names.ERROR_TYPE] = record.status
    instruments.duration.record(record.latency_seconds, labels)
    instruments.cost.add(float(usd_from_nusd(record.cost_nusd)), labels)


def record_budget_event(event: BudgetEvent) -> None:
    """Count one threshold, breach, overrun, forfeit or landing."""
    _instruments(metrics.get_meter_provider()).budget_events.add(
        1, {names.BUDGET_EVENT_KIND: event.kind, names.BUDGET_DIMENSION: event.dimension}
    )


@lru_cache(maxsize=4)
def _instruments(provider: MeterProvider) -> _Instruments:
    return _Instruments(provider)
