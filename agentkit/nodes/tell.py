"""How a tier is told of the tools that came later, and what that adds to a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from agentkit.models.tier import Tier
from agentkit.state import is_note
from agentkit.tools.catalogue import Schema
from agentkit.tools.provision.native import text_of
from agentkit.tools.provision.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The messages as one tier gets them, definitions that it loads later, and tokens beyond those
    of the transcript's own messages."""

    messages: list[BaseMessage]
    deferred: tuple[Mapping[str, Any], ...] = ()
    more_tokens: int = 0

    def arguments(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """`kwargs` with the deferred definitions behind the others: the prefix leaves them out."""
        if not self.deferred:
            return kwargs
        return {**kwargs, "tools": [*kwargs.get("tools", ()), *self.deferred]}

    def bound(self, counted_tokens: int | None) -> int | None:
        """What the request takes at most, of a count of the transcript's own messages."""
        return None if counted_tokens is None else counted_tokens + self.more_tokens


def tell(
    messages: Sequence[BaseMessage], tier: Tier, toolbox: Toolbox, tools: Sequence[Schema]
) -> Told:
    """`messages` in the way of `tier`; a definition is counted in full where it is loaded."""
    shown = toolbox.shown(messages, tier.way, tools, is_note)
    changed = [
        (before, after)
        for before, after in zip(messages, shown.messages, strict=True)
        if before is not after
    ]
    if not changed:
        return Told(messages=shown.messages)
    count = tier.counter
    more = sum(count.message(after) - count.message(before) for before, after in changed)
    more += sum(count.text(text_of(definition)) for definition in shown.deferred)
    return Told(messages=shown.messages, deferred=shown.deferred, more_tokens=max(0, more))
