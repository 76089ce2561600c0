"""Prompt caches that silently miss: what should have been read, against what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import Literal

from langchain_core.messages import BaseMessage

from agentkit.memory.cache_rules import CacheRules

MissReason = Literal["too_short", "prefix_changed", "ttl_passed", "not_kept"]

_TOLD = {
    "too_short": "the prompt is shorter than this model caches",
    "prefix_changed": "what comes first in the request changed",
    "ttl_passed": "the last call was too long ago",
    "not_kept": "the provider did not keep it",
}
_FAIR_SHARE = 0.5
"""OpenAI reads in steps of 128 tokens and counts some wrapping apart: half of it must be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Miss:
    """A prefix that was sent before and was not read from the cache."""

    reason: MissReason
    expected_tokens: int
    read_tokens: int

    @property
    def told(self) -> str:
        """In words, without contents."""
        return (
            f"the prompt cache missed: {_TOLD[self.reason]} "
            f"(about {self.expected_tokens} tokens could have been read, {self.read_tokens} were)"
        )


def shared_prefix(last: Sequence[BaseMessage], now: Sequence[BaseMessage]) -> int:
    """How many messages at the front are the very ones that were sent the last time."""
    if len(last) <= len(now) and all(map(is_, last, now)):
        return len(last)
    for at, (before, message) in enumerate(zip(last, now, strict=False)):
        if before is not message:
            return at
    return min(len(last), len(now))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reuse:
    """How a request goes on from the last one, of which the provider reported `last_tokens`.

    `is_prefix` is True where the last one is the front of this one, byte for byte.
    """

    last_tokens: int
    is_prefix: bool
    pause_seconds: float
    ttl_seconds: float


def miss_of(reuse: Reuse, *, read_tokens: int, rules: CacheRules) -> Miss | None:
    """Why the last request's prefix was not read, where it was not; None where all is well."""
    if rules.how not in ("breakpoints", "automatic"):
        return None
    expected = reuse.last_tokens
    if read_tokens >= expected * _FAIR_SHARE:
        return None
    reason: MissReason = "not_kept"
    if expected < rules.least_tokens:
        reason = "too_short"
    elif not reuse.is_prefix:
        reason = "prefix_changed"
    elif reuse.pause_seconds > reuse.ttl_seconds:
        reason = "ttl_passed"
    return Miss(reason=reason, expected_tokens=expected, read_tokens=read_tokens)
