"""How far a model's real token count may pass our own, learned from the usage it reports."""

from __future__ import annotations

import math
import threading

from agentkit.budgets.tokens import has_encoding

_OWN = 1.25
"""Where the encoding is at hand, and only the wrapping of messages and tools is guessed."""
_COLD = {"anthropic": 1.75, "local": 1.0, "llama.cpp": 1.0}
"""o200k undercounts Claude by 15-20 % up to 4.6 and by 30-50 % from 4.7 on (measured in English in
November 2026), and Claude 2 by 69 % in Dutch (`budgets.tokens.count_foreign`). llama.cpp counts
exactly."""
_COLD_OTHERS = 1.5
_LIKELY = {"anthropic": 1.15}
_WARM_AFTER = 3
_SAFETY = 1.02
_SLACK_TOKENS = 8
_SMALLEST_SAMPLE_TOKENS = 32


def likely_factor(provider: str) -> float:
    """How many tokens of `provider` one of o200k is at the least; for estimates, not for bounds."""
    return _LIKELY.get(provider, 1.0)


def _cold(model: str, provider: str) -> float:
    if has_encoding(model, provider):
        return _OWN
    return _COLD.get(provider, _COLD_OTHERS)


class TokenMargins:
    """A factor per model that turns a counted input into an upper bound.

    It starts wide, and never falls below what was seen. Where the model's encoding is at hand it
    falls, after three reports, to the largest ratio seen plus 2 %. Elsewhere it never falls: after
    any number of requests in one language the next may be in another, which counts higher.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[int, float]] = {}

    def bound(self, counted_tokens: int, *, model: str, provider: str) -> int:
        """Tokens that the provider will at most bill for an input counted as `counted_tokens`."""
        if _COLD.get(provider) == 1.0:
            return counted_tokens
        return (
            math.ceil(counted_tokens * self.factor(model=model, provider=provider)) + _SLACK_TOKENS
        )

    def factor(self, *, model: str, provider: str) -> float:
        """The factor of the bound in force for `model`."""
        learned = self.learned_factor(model=model, provider=provider)
        return learned if has_encoding(model, provider) else max(_cold(model, provider), learned)

    def learned_factor(self, *, model: str, provider: str) -> float:
        """What was seen of `model`, once three requests were; for windows and estimates, where one
        request that counts higher than all before costs no money."""
        samples, largest = self._seen.get((model, provider), (0, 0.0))
        least = _cold(model, provider) if samples < _WARM_AFTER else 1.0
        return max(least, largest * _SAFETY)

    def learn(
        self,
        *,
        counted_tokens: int,
        reported_tokens: int,
        model: str,
        provider: str,
        narrows: bool = True,
    ) -> None:
        """Take in one report; short inputs, where fixed overhead rules, only ever widen, and so do
        those that were counted at their most (`narrows` is False)."""
        if counted_tokens <= 0 or reported_tokens <= 0:
            return
        ratio = max(0, reported_tokens - _SLACK_TOKENS) / counted_tokens
        with self._lock:
            samples, largest = self._seen.get((model, provider), (0, 0.0))
            counts = int(narrows and counted_tokens >= _SMALLEST_SAMPLE_TOKENS)
            self._seen[(model, provider)] = (samples + counts, max(largest, ratio))
