"""Where tools that come during a run are described: among the definitions, or in the transcript."""

from __future__ import annotations

from typing import Literal

from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage

Place = Literal["definitions", "transcript"]

LEAST_CACHED_TOKENS = 1_024
"""No provider caches a shorter beginning (OpenAI 1,024; Anthropic 1,024 to 4,096; Nov. 2026)."""
_WRAPPER_TOKENS = 25
"""Output tokens that a call through the dispatcher takes more than a call by name."""


def place(
    price: Price,
    *,
    prefix_tokens: int,
    tools: int,
    is_local: bool,
    changes: int,
    by_name: bool = False,
) -> Place:
    """Where `tools` more tools cost less, when `prefix_tokens` were sent before.

    A definition added in front makes the whole prefix be written anew, where it would have been
    read; a description at the end costs a wrapper around each call, but for a model that calls
    tools added there `by_name`. A local model bills neither, and calls by name best. After one of
    these `changes` a run's prefix stays as it is.
    """
    if is_local:
        return "definitions"
    if changes or by_name:
        return "transcript"
    if prefix_tokens < LEAST_CACHED_TOKENS:
        return "definitions"
    if price.state != "priced":
        return "transcript"
    wrappers = price.cost_nusd(Usage(output_tokens=_WRAPPER_TOKENS * tools))
    return "definitions" if rewrite_nusd(price, prefix_tokens) < wrappers else "transcript"


def rewrite_nusd(price: Price, prefix_tokens: int) -> int:
    """Nano-USD that a changed prefix costs more than the same prefix read from the cache."""
    read = Usage(input_tokens=prefix_tokens, cache_read_tokens=prefix_tokens)
    written = Usage(input_tokens=prefix_tokens, cache_write_5m_tokens=prefix_tokens)
    return max(0, price.cost_nusd(written) - price.cost_nusd(read))
