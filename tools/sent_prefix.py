"""What stands before an observation, and what a token costs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentkit.budgets.tokens import count_text

WRITE, READ = 1.25, 0.1
"""Prices of a cache write and a read, as parts of the input price (Anthropic, November 2026);
OpenAI's break is cheaper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPrefix:
    """What stands before an observation: `tokens` of o200k after `calls` model calls.

    As many calls again are expected. The provider caches no prefix under `least_cached_tokens`,
    and none at all where they are None; it reads in steps of `step_tokens`. `billed` is the input
    of each call so far to the model that was asked last, as it was reported: one list that grows,
    and another one where the model changes.
    """

    tokens: int
    calls: int
    least_cached_tokens: int | None = 1_024
    step_tokens: int = 1
    billed: Sequence[int] = ()

    def with_more(self, tokens: int) -> SentPrefix:
        """The same with an observation behind it."""
        return replace(self, tokens=self.tokens + tokens)

    def read_tokens(self, prefix_tokens: int) -> int:
        """How much the provider reads of a prefix that it has."""
        least = self.least_cached_tokens
        if least is None or prefix_tokens < least:
            return 0
        return prefix_tokens - prefix_tokens % self.step_tokens

    @property
    def is_cached(self) -> bool:
        """Whether it is long enough."""
        return self.least_cached_tokens is not None and self.tokens >= self.least_cached_tokens

    @property
    def each(self) -> float:
        """The price of one token from here on where it is cached, as a part of the input price."""
        return WRITE + READ * max(1, self.calls)

    @property
    def missing_tokens(self) -> int:
        """How many more make it long enough; 0 where none do."""
        return max(0, (self.least_cached_tokens or 0) - self.tokens)

    def costs_less_cached(self, tokens: int, *, instead_of: int) -> bool:
        """Whether sending more now costs less than sending fewer in full at each call."""
        in_full = (self.tokens + instead_of) * (1 + max(1, self.calls))
        return (self.tokens + tokens) * self.each < in_full

    def is_cached_with(self, text: str, *, instead_of: int) -> bool:
        """Whether a text makes the prefix long enough, and fewer tokens in its place cost more."""
        if not instead_of < self.missing_tokens <= len(text):
            return False
        tokens = count_text(text)
        return tokens >= self.missing_tokens and self.costs_less_cached(
            tokens, instead_of=instead_of
        )
