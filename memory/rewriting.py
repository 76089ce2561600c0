"""When to rewrite history: the saving that is expected against the price of a new prefix.

Rewriting makes the provider write the prefix anew, and a task may end at the next step. Two rules
hold together (`docs/context.md` derives them):

- **It is expected to pay**: saving a call times the expected calls left exceeds the price by a
  margin.
- **It cannot lose**: the price is covered by what was saved so far against replaying everything
  with caching, and at most `risk` of what that replay would have cost. So after any step the bill
  is at most (1 + risk) times the replay's, wherever the task ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agentkit.memory.prefix_price import PrefixPrice

DEFAULT_RISK = 0.05
_MARGIN = 2.0
"""Expected saving over price: the estimate of the calls left is off by a factor of two at times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Savings:
    """Nano-USD of the input side so far: what was paid, and what replaying everything would have.

    Calls for summaries are in `paid_nusd` in full.
    """

    replay_nusd: float = 0.0
    paid_nusd: float = 0.0

    def room(self, risk: float) -> float:
        """What may be spent on rewriting without ever passing (1 + risk) times the replay."""
        return (1.0 + risk) * self.replay_nusd - self.paid_nusd

    def after(self, *, replay_nusd: float, paid_nusd: float) -> Savings:
        """With one more call."""
        return replace(
            self,
            replay_nusd=self.replay_nusd + replay_nusd,
            paid_nusd=self.paid_nusd + paid_nusd,
        )


NO_SAVINGS = Savings()


@dataclass(frozen=True, kw_only=True, slots=True)
class RewriteCase:
    """A rewriting that could be done before the next call.

    `sent_tokens` would be sent without it, of which the first `warm_tokens` are in the cache now.
    With it `fixed_tokens` stay as they are at the front, `summary_tokens` and `kept_tokens` follow
    and are written. `replay_price` is what a full replay pays, which asks for five minutes only;
    `summary_nusd` is the most that writing the summary costs.
    """

    price: PrefixPrice
    replay_price: PrefixPrice
    sent_tokens: int
    warm_tokens: int
    fixed_tokens: int
    summary_tokens: int
    kept_tokens: int
    summary_nusd: float
    calls_left: float
    savings: Savings = NO_SAVINGS
    risk: float = DEFAULT_RISK

    @property
    def new_tokens(self) -> int:
        """Tokens that would be sent after it."""
        return self.fixed_tokens + self.summary_tokens + self.kept_tokens

    @property
    def price_nusd(self) -> float:
        """What doing it now costs more than not doing it; below 0 where the cache has expired."""
        keep = self.replay_price.call(self.sent_tokens, warm=self.warm_tokens)
        warm = min(self.fixed_tokens, self.warm_tokens)
        return self.summary_nusd + self.price.call(self.new_tokens, warm=warm) - keep

    @property
    def saving_nusd(self) -> float:
        """What each later call costs less; at the worst where the rest is too short to cache."""
        return self.price.steady(self.sent_tokens) - self.price.steady(self.new_tokens)


class RewriteRule(Protocol):
    """Decides whether a case is worth it."""

    def __call__(self, case: RewriteCase, /) -> bool: ...


def pays_without_risk(case: RewriteCase) -> bool:
    """The default rule: it is expected to pay, and it cannot lose more than was saved."""
    if case.saving_nusd <= 0 or case.new_tokens >= case.sent_tokens:
        return False
    price = case.price_nusd
    if case.saving_nusd * case.calls_left < _MARGIN * max(price, 0.0):
        return False
    return price <= max(0.0, case.savings.room(case.risk))


def never(case: RewriteCase) -> bool:
    """History is only ever cut where it no longer fits."""
    return False


class CallsLeft(Protocol):
    """Estimates how many calls a task will still make after `calls` of them."""

    def __call__(self, calls: int, /) -> float: ...


def as_many_again(calls: int) -> float:
    """As many as there were: the mean of what is left where lengths follow a power law of index 2.

    It needs no history, and is off by the factor of two that the rule's margin allows for.
    """
    return float(max(1, calls))


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedCallsLeft:
    """The mean of what was left in recorded tasks that got as far; `as_many_again` beyond them."""

    lengths: tuple[int, ...]
    least_tasks: int = 8

    @classmethod
    def of(cls, lengths: Sequence[int]) -> LearnedCallsLeft:
        """From the numbers of calls of tasks that ended, such as `TaskRecord.calls`."""
        return cls(lengths=tuple(sorted(lengths)))

    def __call__(self, calls: int, /) -> float:
        longer = [length - calls for length in self.lengths if length > calls]
        if len(longer) < self.least_tasks:
            return as_many_again(calls)
        reached = sum(length >= calls for length in self.lengths)
        return sum(longer) / max(reached, 1)
