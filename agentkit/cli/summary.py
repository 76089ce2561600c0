"""The one line at the end of a run, and sums by tier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from agentkit.budgets.budget import Budget
from agentkit.budgets.journal import CallRecord, all_priced
from agentkit.budgets.money import format_usd, nusd_from_usd, plain_usd, usd_from_nusd
from agentkit.budgets.usage import Usage
from agentkit.result import TaskResult


def closing_line(result: TaskResult, budget: Budget) -> str:
    """Like `$0.0132 of $0.05 (26%) · local 7 / frontier 2 · 18.4k in (71% cached)`."""
    parts = [_money(result, budget), _limits(result, budget), _places(result.records)]
    parts.append(_tokens(result.usage))
    return " · ".join(part for part in parts if part)


def format_count(tokens: int) -> str:
    """Tokens for people: 812, 18.4k, 1.2M."""
    if tokens < 1000:
        return str(tokens)
    if tokens < 999_950:
        return f"{tokens / 1000:.1f}k"
    return f"{tokens / 1_000_000:.1f}M"


def format_limit(usd: Decimal) -> str:
    """A limit as it was written, like $0.05 or $12."""
    return f"${plain_usd(usd)}"


def result_facts(result: TaskResult) -> dict[str, object]:
    """A result as JSON types, with its sums by tier."""
    return {
        **result.to_dict(),
        "tiers": by_tier(result.records),
    }


def by_tier(records: Iterable[CallRecord]) -> list[dict[str, object]]:
    """Calls, tokens and cost of each tier that was called, cheap to dear, as JSON types."""
    groups: dict[tuple[int, str, str], list[CallRecord]] = {}
    for record in records:
        groups.setdefault((record.tier, record.provider, record.model), []).append(record)
    return [
        {
            "tier": tier,
            "model": f"{provider}:{model}",
            "calls": len(calls),
            "usage": _usage(calls).to_dict(),
            "cost_usd": plain_usd(usd_from_nusd(sum(call.cost_nusd for call in calls))),
        }
        for (tier, provider, model), calls in sorted(groups.items(), key=lambda item: item[0])
    ]


def format_cost(records: Sequence[CallRecord], cost_nusd: int) -> str:
    """A cost; `$?` where a model's price is unknown, for that is never 0."""
    if all_priced(records):
        return format_usd(cost_nusd)
    return f"{format_usd(cost_nusd)} + $?" if cost_nusd else "$? (price unknown)"


def _money(result: TaskResult, budget: Budget) -> str:
    spent = format_cost(result.records, nusd_from_usd(result.cost_usd))
    if result.unconfirmed_usd:
        spent += f" (at most: {format_limit(result.unconfirmed_usd)} of it without a usage report)"
    if budget.usd is None:
        return spent
    return f"{spent} of {format_limit(budget.usd)}{_share(result.cost_usd, budget.usd)}"


def _limits(result: TaskResult, budget: Budget) -> str:
    parts: list[str] = []
    if budget.tokens is not None:
        used = result.usage.total_tokens
        used -= 0 if budget.count_cached else result.usage.cache_read_tokens
        parts.append(f"{used:,} of {budget.tokens:,} tokens{_share(used, budget.tokens)}")
    if budget.calls is not None:
        parts.append(f"{result.calls} of {budget.calls} calls")
    return " · ".join(parts)


def _places(records: Sequence[CallRecord]) -> str:
    local = sum(record.provider == "local" for record in records)
    counts = (("local", local), ("frontier", len(records) - local))
    return " / ".join(f"{name} {count}" for name, count in counts if count) or "no calls"


def _tokens(usage: Usage) -> str:
    text = f"{format_count(usage.input_tokens)} in"
    if usage.cache_read_tokens:
        text += f" ({usage.cache_read_tokens / usage.input_tokens:.0%} cached)"
    return text


def _usage(calls: Iterable[CallRecord]) -> Usage:
    total = Usage()
    for call in calls:
        total = total + call.usage
    return total


def _share(used: Decimal | int, limit: Decimal | int) -> str:
    return f" ({used / limit:.0%})" if limit else ""
