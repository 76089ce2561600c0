"""Reported usage of a model's answer, as the ledger counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage

from agentkit.budgets.price import CacheWrite
from agentkit.budgets.usage import Usage


def usage_of(message: AIMessage, *, cache_write: CacheWrite = "none") -> Usage | None:
    """The usage that the provider reported with `message`; None where it reported none.

    Writes whose lifetime is not told are counted at the longest that the request asked for
    (`cache_write`), so that the sum can only err upwards.
    """
    reported = message.usage_metadata
    if reported is None:
        return None
    if from_cache(message):
        return Usage()
    inputs: Mapping[str, Any] = reported.get("input_token_details") or {}
    outputs: Mapping[str, Any] = reported.get("output_token_details") or {}
    read = _of_any_service_tier(inputs, "cache_read")
    write_1h = _count(inputs, "ephemeral_1h_input_tokens")
    write_5m = _count(inputs, "ephemeral_5m_input_tokens")
    untold = _of_any_service_tier(inputs, "cache_creation")
    if cache_write == "1h":
        write_1h += untold
    else:
        write_5m += untold
    total = max(reported["input_tokens"], read + write_5m + write_1h)
    output = max(reported["output_tokens"], 0)
    return Usage(
        input_tokens=total,
        cache_read_tokens=read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        output_tokens=output,
        reasoning_tokens=min(output, _of_any_service_tier(outputs, "reasoning")),
    )


def usage_in(error: BaseException) -> Usage | None:
    """The usage that an error tells of: OpenAI's client raises where an answer by a schema was cut,
    with the whole answer that was billed."""
    told: Any = getattr(getattr(error, "completion", None), "usage", None)
    if not isinstance(getattr(told, "prompt_tokens", None), int):
        return None
    details: Any = told.prompt_tokens_details
    cached = {
        "cache_read": getattr(details, "cached_tokens", None) or 0,
        "cache_creation": getattr(details, "cache_write_tokens", None) or 0,
    }
    usage: Any = {
        "input_tokens": told.prompt_tokens,
        "output_tokens": told.completion_tokens,
        "total_tokens": told.total_tokens,
        "input_token_details": cached,
    }
    return usage_of(AIMessage("", usage_metadata=usage))


def from_cache(message: AIMessage) -> bool:
    """True for an answer out of the cache of LangChain, which marks it so: nothing was sent."""
    reported: Mapping[str, Any] = message.usage_metadata or {}
    return reported.get("total_cost") == 0


def _of_any_service_tier(details: Mapping[str, Any], name: str) -> int:
    """OpenAI's priority and flex tiers prefix the names of the token classes."""
    return sum(_count(details, prefix + name) for prefix in ("", "priority_", "flex_"))


def _count(details: Mapping[str, Any], name: str) -> int:
    value = details.get(name)
    return value if isinstance(value, int) and value > 0 else 0
