"""Observations of one task, pruned as they are made; the tool `recall` comes when it pays.

What is pruned needs `recall` on offer. A definition that comes later makes the provider's cache
write the whole prefix anew, so at first observations are only put more tightly, with nothing left
out, until one of them saves more than that costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidLimits
from agentkit.tools.prune.earlier import Earlier
from agentkit.tools.prune.pruned import Pruned
from agentkit.tools.prune.pruning import DEFAULT_TIME_BUDGET_SECONDS, Keep, prune

_SHORT_CHARS = 160
"""Nothing shorter is looked at: what could be saved is a few tokens."""
_ALL_TOKENS = 1_000_000
_RECALL_TOKENS = 60
_LEAST_CACHED_TOKENS = 850
"""As we count; Claude's own count, up to a fifth higher, must reach 1,024 to be cached."""
_WRITE, _READ = 1.25, 0.1
"""Prices of a cache write and a read, as parts of the input price (Anthropic, November 2026);
OpenAI's break is cheaper."""


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How an agent prunes observations: `max_tokens` of o200k each, `recall_tokens` a recall.

    Raises InvalidLimits where one is not above 0.
    """

    max_tokens: int = 240
    recall_tokens: int = 400
    time_budget_seconds: float = DEFAULT_TIME_BUDGET_SECONDS

    def __post_init__(self) -> None:
        for name in ("max_tokens", "recall_tokens", "time_budget_seconds"):
            value = getattr(self, name)
            if not value > 0:
                raise InvalidLimits(f"{name} is {value!r}; give a number above 0")


class TaskPruner:
    """Prunes the observations of one task in order; `recalls` says that recall is on offer."""

    def __init__(self, pruning: Pruning, keep: Keep, *, recalls: bool = False) -> None:
        self.recalls = recalls
        self._pruning = pruning
        self._keep = keep
        self._earlier = Earlier()

    def prune(self, text: str, *, query: str, sent_tokens: int, calls: int) -> Pruned | None:
        """The observation as it is sent; None where it is too short to be touched.

        `sent_tokens` stand before it in the transcript, after `calls` model calls; as many again
        are expected.
        """
        if len(text) <= _SHORT_CHARS:
            return None
        if self.recalls:
            return self._pruned(text, query)
        trial = self._earlier.copy()
        whole = prune(
            text,
            query=query,
            max_tokens=_ALL_TOKENS,
            time_budget_seconds=self._pruning.time_budget_seconds,
            earlier=trial,
        )
        tokens = count_text(whole.text)
        too_long = tokens > self._pruning.max_tokens or whole.was_pruned
        if too_long and self._pays(tokens, sent_tokens, calls):
            self.recalls = True
            return self._pruned(text, query)
        self._earlier = trial
        return whole

    def _pruned(self, text: str, query: str) -> Pruned:
        return prune(
            text,
            query=query,
            max_tokens=self._pruning.max_tokens,
            time_budget_seconds=self._pruning.time_budget_seconds,
            keep=self._keep,
            earlier=self._earlier,
        )

    def _pays(self, tokens: int, sent_tokens: int, calls: int) -> bool:
        """Whether pruning this one alone makes up for offering recall from now on."""
        each = _WRITE + _READ * max(1, calls)
        broken = sent_tokens * (_WRITE - _READ) if sent_tokens >= _LEAST_CACHED_TOKENS else 0.0
        return (tokens - self._pruning.max_tokens) * each > broken + _RECALL_TOKENS * each

    def remember(self, text: str) -> None:
        """Takes in an observation that was sent before this process took up the task."""
        if len(text) > _SHORT_CHARS:
            prune(text, max_tokens=_ALL_TOKENS, earlier=self._earlier)
