"""Where a request asks Anthropic, or OpenAI from GPT-5.6 on, to cache, and for how long.

An entry is written at a breakpoint only, and read from one: at Anthropic from at most 20 positions
before, at OpenAI from there exactly. So one breakpoint stays behind what never changes, one where
the last request ended (there the entry is, however many blocks came since), and one at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage, ToolMessage

from agentkit.memory.cache_rules import CacheRules, Mark, Ttl

_COUNT_ERROR = 2.0
"""Our count may be half of Claude's; a breakpoint on a prefix too short to cache does no harm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Breakpoint:
    """A place in a request's messages up to which, and for how long, it is to be cached."""

    at: int
    ttl: Ttl = "5m"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What a placement is decided on: `fixed` messages at the front stay for the task, `reused` is
    how many at the front were sent the last time (0 at first)."""

    messages: Sequence[BaseMessage]
    fixed: int
    reused: int
    input_tokens: int
    rules: CacheRules
    ttl: Ttl = "5m"


Place = Callable[[Placement], tuple[Breakpoint, ...]]


def moving_breakpoints(case: Placement) -> tuple[Breakpoint, ...]:
    """The default placement: behind the system text, the fixed part, the last request, and here."""
    rules = case.rules
    if rules.how != "breakpoints" or case.input_tokens * _COUNT_ERROR < rules.least_tokens:
        return ()
    system = sum(isinstance(message, SystemMessage) for message in case.messages)
    wanted = {len(case.messages) - 1, case.reused - 1, case.fixed - 1, system - 1}
    places = sorted(place for place in wanted if 0 <= place < len(case.messages))
    places = [place for place in places if can_mark(case.messages[place])]
    return tuple(Breakpoint(at=at, ttl=case.ttl) for at in places[-rules.most_breakpoints :])


def can_mark(message: BaseMessage) -> bool:
    """True where a breakpoint can stand: on a text that is not empty, or on an observation."""
    if message.type == "ai":
        return False
    return bool(message.content)


def marked(
    messages: Sequence[BaseMessage],
    breakpoints: Sequence[Breakpoint],
    mark: Mark = "cache_control",
) -> list[BaseMessage]:
    """`messages` with marks at the breakpoints, for LangChain's class of the provider.

    Only copies are marked, and nothing else about them changes, for the prefix must stay equal.
    """
    sent = list(messages)
    for point in breakpoints:
        control = {"type": "ephemeral", "ttl": point.ttl}
        if mark == "prompt_cache_breakpoint":
            control = {"mode": "explicit"}
        sent[point.at] = _marked(sent[point.at], mark, control)
    return sent


def is_marked(messages: Sequence[BaseMessage], mark: Mark) -> bool:
    """Whether somebody has set breakpoints already."""
    return any(
        isinstance(block, dict) and (mark in block or mark in (block.get("extras") or ()))
        for message in messages
        if isinstance(message.content, list)
        for block in message.content
    )


def _marked(message: BaseMessage, mark: Mark, control: dict[str, str]) -> BaseMessage:
    content: Any = message.content
    if isinstance(message, ToolMessage) and mark == "cache_control":
        block: dict[str, Any] = {
            "type": "tool_result",
            "content": content,
            "tool_use_id": message.tool_call_id,
            "is_error": message.status == "error",
        }
        return message.model_copy(update={"content": [{**block, "cache_control": control}]})
    blocks: list[Any] = [content] if isinstance(content, str) else list(content)
    last = blocks[-1]
    block = {"type": "text", "text": last} if isinstance(last, str) else dict(last)
    blocks[-1] = {**block, mark: control}
    return message.model_copy(update={"content": blocks})


@dataclass(frozen=True, kw_only=True, slots=True)
class LifetimeCase:
    """What a lifetime is chosen on: how often this task paused for longer than five minutes."""

    pauses_over_5m: int
    pauses: int
    prefix_tokens: int
    new_tokens: int
    write_5m: float
    write_1h: float
    read: float


def lifetime(case: LifetimeCase) -> Ttl:
    """An hour where, by the pauses so far, five minutes would expire so often as to cost more.

    An expiry writes the whole prefix anew instead of reading it; an hour makes each new token
    dearer to write. Two reads pay for an hour's write.
    """
    if case.pauses == 0 or case.pauses_over_5m == 0:
        return "5m"
    expiry = case.pauses_over_5m / case.pauses * case.prefix_tokens * (case.write_5m - case.read)
    return "1h" if expiry > case.new_tokens * (case.write_1h - case.write_5m) else "5m"
