"""What one model's prompts cost so far, what is in its cache now, and where the cache missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage
from agentkit.memory.breakpoints import LifetimeCase, lifetime
from agentkit.memory.cache_rules import TTL_SECONDS, CacheRules, Ttl
from agentkit.memory.misses import Miss, Reuse, miss_of, shared_prefix
from agentkit.memory.prefix_price import PrefixPrice, prefix_price
from agentkit.memory.rewriting import NO_SAVINGS, Savings


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPrompt:
    """A prompt that was answered: our counts, and when it was sent (Unix seconds).

    `replay_tokens` is our count of the same request with everything in it.
    """

    messages: Sequence[BaseMessage]
    tools_key: object
    tokens: int
    replay_tokens: int
    ttl: Ttl
    at: float


class PromptSpending:
    """Follows the prompts of one task to one model."""

    def __init__(self, *, rules: CacheRules, price: Price, risk: float) -> None:
        self.rules = rules
        self.price = price
        self._risk = risk
        self._last: SentPrompt | None = None
        self._last_reported = 0
        self._last_replayed = 0
        self._saved = NO_SAVINGS
        self._pauses = self._long_pauses = 0

    def reused(self, messages: Sequence[BaseMessage], tools_key: object) -> int:
        """How many messages at the front are those of the last prompt."""
        if self._last is None or self._last.tools_key != tools_key:
            return 0
        return shared_prefix(self._last.messages, messages)

    def warm_tokens(self, tokens: int, *, calls: int, now: float) -> int:
        """Tokens of a prompt of `tokens` that goes on from the last that are in the cache.

        After a restart that is not known, and as much as possible is assumed.
        """
        last = self._last
        if last is None:
            return tokens if calls else 0
        if self._last_reported < self.rules.least_tokens:
            return 0
        return 0 if now - last.at > self._seconds(last.ttl) else min(last.tokens, tokens)

    def prices(self, input_tokens: int, ttl: Ttl = "5m") -> PrefixPrice:
        """Nano-USD a token in the band of `input_tokens`."""
        return prefix_price(self.price, self.rules, input_tokens=input_tokens, ttl=ttl)

    def ttl(self, tokens: int, *, now: float | None = None) -> Ttl:
        """The lifetime that a prompt of `tokens` should ask for.

        An hour is dearer to write, so it too must be covered by what was saved. Without `now` all
        of it may have to be written.
        """
        if "1h" not in self.rules.lifetimes or not self._long_pauses:
            return "5m"
        five, hour = self.prices(tokens, "5m"), self.prices(tokens, "1h")
        last = tokens if self._last is None else min(self._last.tokens, tokens)
        warm = 0 if now is None else self.warm_tokens(tokens, calls=1, now=now)
        if (tokens - warm) * (hour.write - five.write) > self._saved.room(self._risk):
            return "5m"
        return lifetime(
            LifetimeCase(
                pauses_over_5m=self._long_pauses,
                pauses=self._pauses,
                prefix_tokens=last,
                new_tokens=max(1, tokens - last),
                write_5m=five.write,
                write_1h=hour.write,
                read=five.read,
            )
        )

    def settled(self, sent: SentPrompt, usage: Usage) -> tuple[Savings, Miss | None]:
        """Take in what was reported of a prompt: its cost beside a full replay's, and a miss.

        The replay is priced as cached for five minutes, in the band of what was sent.
        """
        last = self._last
        factor = usage.input_tokens / max(sent.tokens, 1)
        replayed = int(factor * sent.replay_tokens)
        pause = None if last is None else sent.at - last.at
        prices = self.prices(usage.input_tokens)
        warm = 0
        if pause is not None and pause <= self._seconds("5m"):
            warm = min(self._last_replayed, replayed)
        saved = Savings(
            replay_nusd=prices.call(replayed, warm=warm), paid_nusd=self._paid(usage, prices)
        )
        self._saved = self._saved.after(replay_nusd=saved.replay_nusd, paid_nusd=saved.paid_nusd)
        miss = None
        if last is not None and pause is not None:
            miss = self._miss(sent, usage, last, pause)
            self._pauses += 1
            self._long_pauses += pause > TTL_SECONDS["5m"]
        self._last, self._last_reported = sent, usage.input_tokens
        self._last_replayed = replayed
        return saved, miss

    def _miss(self, sent: SentPrompt, usage: Usage, last: SentPrompt, pause: float) -> Miss | None:
        same = self.reused(sent.messages, sent.tools_key) == len(last.messages)
        return miss_of(
            Reuse(
                last_tokens=self._last_reported,
                is_prefix=same,
                pause_seconds=pause,
                ttl_seconds=self._seconds(last.ttl),
            ),
            read_tokens=usage.cache_read_tokens,
            rules=self.rules,
        )

    def _paid(self, usage: Usage, prices: PrefixPrice) -> float:
        if self.rules.how == "prefill":
            return prices.write * (usage.input_tokens - usage.cache_read_tokens)
        return float(self.price.cost_nusd(without_output(usage)))

    def _seconds(self, ttl: Ttl) -> float:
        return TTL_SECONDS[ttl] if self.rules.lifetimes else self.rules.ttl_seconds


def without_output(usage: Usage) -> Usage:
    """The input side alone."""
    return Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
