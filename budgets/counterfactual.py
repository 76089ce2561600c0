"""What a call would have cost without a lever, under the provider's own rules of billing.

A saving is that less what the call did cost; it is negative where the lever cost more.
"""

from __future__ import annotations

from dataclasses import replace

from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.journal import Lever
from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage

LEAST_CACHED_TOKENS = 1024
"""Shortest prefix that OpenAI caches, and most of Anthropic's models (November 2026)."""


class Savings:
    """What each lever saved on a task's calls, one after the other; follows the task's prompts."""

    def __init__(self) -> None:
        self._seen_tokens = 0
        self._seen_with: dict[tuple[Lever, str], int] = {}

    def of(
        self, plan: CallPlan, usage: Usage, cost_nusd: int, *, turned_down: bool
    ) -> dict[Lever, int]:
        """Nano-USD by lever for a call that is settled at `cost_nusd`; 0 is left out."""
        saved: dict[Lever, int] = {"prompt_cache": saved_by_prompt_cache(plan.price, usage)}
        if plan.purpose == "summary":
            saved["summary"] = -cost_nusd
        if plan.live is not None:
            saved["batch"] = plan.live.cost_nusd(usage) - cost_nusd
        if plan.dearest is not None and plan.dearest != plan.price:
            saved["routing"] = saved_by_routing(
                plan.dearest,
                usage,
                cost_nusd=cost_nusd,
                seen_tokens=self._seen_tokens,
                turned_down=turned_down,
            )
        for lever, tokens in plan.spared.items():
            seen = self._seen_with.get((lever, plan.price.model), 0)
            saved[lever] = saved_by_sparing(plan.price, usage, tokens, seen_tokens=seen)
            self._seen_with[lever, plan.price.model] = usage.input_tokens + tokens
        if plan.purpose == "step":
            self._seen_tokens = usage.input_tokens
        return {lever: nusd for lever, nusd in saved.items() if nusd}


def saved_by_prompt_cache(price: Price, usage: Usage) -> int:
    """Nano-USD that reading and writing the prompt cache saved over sending all of it as plain
    input; negative where what was written costs more than what was read saved."""
    plain = replace(
        usage, cache_read_tokens=0, cache_write_5m_tokens=0, cache_write_1h_tokens=0
    )  # fmt: skip
    return price.cost_nusd(plain) - price.cost_nusd(usage)


def saved_by_routing(
    dearest: Price, usage: Usage, *, cost_nusd: int, seen_tokens: int, turned_down: bool
) -> int:
    """Nano-USD that asking this tier instead of the dearest one saved.

    An answer that was turned down has only cost. Else the dearest tier would have been sent the
    same tokens; `seen_tokens` of them, those of the step before, it would have read from its cache.
    """
    if turned_down:
        return -cost_nusd
    if not usage.cache_read_tokens and LEAST_CACHED_TOKENS <= seen_tokens <= usage.input_tokens:
        usage = replace(usage, cache_read_tokens=seen_tokens)
        usage = replace(usage, cache_write_5m_tokens=0, cache_write_1h_tokens=0)
    return dearest.cost_nusd(usage) - cost_nusd


def saved_by_sparing(price: Price, usage: Usage, spared_tokens: int, *, seen_tokens: int) -> int:
    """Nano-USD that not sending `spared_tokens` saved; negative where leaving them out cost more.

    With them, the request would have gone on from the last one, which had `seen_tokens` with what
    was spared then: those would have been read from the cache, where the provider keeps one for
    this task, and the rest written. So the price of writing a prefix anew after it was changed
    counts against the lever.
    """
    total = usage.input_tokens + spared_tokens
    written_5m = usage.cache_write_5m_tokens > 0
    written_1h = usage.cache_write_1h_tokens > 0
    is_cached = usage.cache_read_tokens > 0 or written_5m or written_1h
    read = 0
    if is_cached:
        own = usage.cache_read_tokens
        read = min(total, max(own, seen_tokens if seen_tokens >= LEAST_CACHED_TOKENS else 0))
        if not seen_tokens and own:
            read = own + spared_tokens
    rest = total - read
    with_them = replace(
        usage,
        input_tokens=total,
        cache_read_tokens=read,
        cache_write_5m_tokens=rest if written_5m else 0,
        cache_write_1h_tokens=rest if written_1h and not written_5m else 0,
    )
    return price.cost_nusd(with_them) - price.cost_nusd(usage)
