"""What of a transcript is sent: the policy, and what one request came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from langchain_core.messages import BaseMessage

from agentkit.budgets.errors import InvalidLimit
from agentkit.memory.allocation import Allocation
from agentkit.memory.breakpoints import Breakpoint, Place, moving_breakpoints
from agentkit.memory.cache_rules import Ttl
from agentkit.memory.rewriting import (
    DEFAULT_RISK,
    CallsLeft,
    RewriteCase,
    RewriteRule,
    as_many_again,
    pays_without_risk,
)

DOES_NOT_FIT = "does not fit"
RewriteReason = Literal["is nearly full", "saves money", "the cache has expired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """How a task's context is kept: `Agent(context=Context(...))`.

    `limit_tokens` bounds the input of a step below the model's window. `summaries` says who writes
    what earlier turns came to: the `cheapest` model that can, `extraction` without any, or nobody
    (`off`: they are left out). `risk` is the share by which rewriting may make a task dearer than
    replaying everything with caching, if the task ends right after it.
    """

    limit_tokens: int | None = None
    allocation: Allocation = field(default_factory=Allocation)
    summaries: Literal["cheapest", "extraction", "off"] = "cheapest"
    caching: bool = True
    risk: float = DEFAULT_RISK
    rewrite: RewriteRule = pays_without_risk
    calls_left: CallsLeft = as_many_again
    place: Place = moving_breakpoints

    def __post_init__(self) -> None:
        if self.limit_tokens is not None and self.limit_tokens < 1:
            raise InvalidLimit(f"limit_tokens={self.limit_tokens}; use 1 or more, or None")
        if not 0 <= self.risk <= 1:
            raise InvalidLimit(f"risk={self.risk}; use a share from 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Condensed:
    """What became of earlier messages: before `start` none is sent, `summary` stands for them.

    `messages` and `tokens` say how much that was.
    """

    start: int = 0
    summary: str = ""
    messages: int = 0
    tokens: int = 0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, for a checkpoint."""
        return {
            "start": self.start,
            "summary": self.summary,
            "messages": self.messages,
            "tokens": self.tokens,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back; what is missing is as at the start of a task."""
        return cls(
            start=int(data.get("start", 0)),
            summary=str(data.get("summary", "")),
            messages=int(data.get("messages", 0)),
            tokens=int(data.get("tokens", 0)),
            reason=str(data.get("reason", "")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Something of the transcript that a request does not hold, and why."""

    what: str
    messages: int
    tokens: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextPlan:
    """One request: its messages, where it is cached, what it consists of.

    `input_tokens` is our count with tools and wrapping; `components` are tokens by part;
    `replay_tokens` is what the whole transcript would have taken. `shortened` is True where
    messages themselves had to be cut to fit.
    """

    messages: list[BaseMessage]
    breakpoints: tuple[Breakpoint, ...]
    ttl: Ttl
    input_tokens: int
    replay_tokens: int
    shortened: bool
    components: Mapping[str, int]
    left_out: tuple[LeftOut, ...] = ()
    tools_key: object = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """A rewriting that should be done before the next call.

    The turns of `dropped` make way for a summary of at most `summary_tokens`; `kept` stay. `needed`
    are identifiers that must survive. Without it `sent_tokens` would be sent, of which
    `warm_tokens` are in the cache. It was decided on `case`.
    """

    start: int
    reason: RewriteReason
    dropped: Sequence[BaseMessage]
    kept: Sequence[BaseMessage]
    dropped_tokens: int
    summary_tokens: int
    sent_tokens: int
    warm_tokens: int
    needed: tuple[str, ...]
    case: RewriteCase
