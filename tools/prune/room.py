"""How much a pruned observation may take, in tokens or in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.tokens import count_text
from agentkit.tools.observation import cut

_LONGEST_TOKEN_BYTES = 128
"""No token of o200k is longer; so many bytes are needed before a text can be under its bound."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A bound: tokens of o200k, or bytes of UTF-8."""

    limit: int
    unit: str

    @property
    def limit_chars(self) -> int:
        """About as many characters of English as fit."""
        return self.limit * 4 if self.unit == "tokens" else self.limit

    def less(self, taken: int) -> Room:
        """What is left of the bound, at least 1."""
        return Room(limit=max(1, self.limit - taken), unit=self.unit)

    def cost(self, text: str) -> int:
        """What `text` takes of the bound."""
        return count_text(text) if self.unit == "tokens" else len(text.encode())

    def holds(self, text: str) -> bool:
        """Whether all of `text` fits; long texts are refused without counting them."""
        if self.unit == "bytes":
            return len(text) <= self.limit and len(text.encode()) <= self.limit
        if len(text) > self.limit * _LONGEST_TOKEN_BYTES:
            return False
        return count_text(text) <= self.limit

    def cut(self, text: str) -> str:
        """The head and tail of `text`, within the bound, with a line for what lies between."""
        max_bytes = min(self.limit_chars, max(1, len(text) * 4))
        while True:
            found = cut(text, max_bytes=max_bytes).text
            taken = self.cost(found)
            if taken <= self.limit or max_bytes == 1:
                return found if taken <= self.limit else ""
            max_bytes = max(1, min(max_bytes * 9 // 10, max_bytes * self.limit // taken))
