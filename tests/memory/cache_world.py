"""A provider's prompt cache in a few lines, to bill contexts by its rules and not by our model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage
from agentkit.memory.cache_rules import TTL_SECONDS, Ttl


@dataclass
class CacheWorld:
    """Reads the longest prefix that is still alive; writes what it has not read."""

    price: Price
    count: Callable[[BaseMessage], int]
    least_tokens: int
    writes: bool
    _seen: dict[tuple[int, ...], float] = field(default_factory=dict)
    _held: list[BaseMessage] = field(default_factory=list)

    def send(self, messages: Sequence[BaseMessage], now: float, ttl: Ttl = "5m") -> Usage:
        """The usage of a request."""
        self._held += messages  # so that no id is used twice
        ids = [id(message) for message in messages]
        sizes = [self.count(message) for message in messages]
        read = 0
        for end in range(len(ids), 0, -1):
            until = self._seen.get(tuple(ids[:end]), -1.0)
            if until >= now and sum(sizes[:end]) >= self.least_tokens:
                read = sum(sizes[:end])
                break
        total = sum(sizes)
        written = total - read if self.writes and total >= self.least_tokens else 0
        if total >= self.least_tokens:
            for end in range(1, len(ids) + 1):
                self._seen[tuple(ids[:end])] = now + TTL_SECONDS[ttl]
        return Usage(
            input_tokens=total,
            cache_read_tokens=read,
            cache_write_5m_tokens=written if ttl == "5m" else 0,
            cache_write_1h_tokens=written if ttl == "1h" else 0,
        )

    def cost(self, usage: Usage) -> int:
        """Nano-USD."""
        return self.price.cost_nusd(usage)
