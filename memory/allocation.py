"""How many tokens of a request each part may take, and how a part is cut to fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.budgets.errors import InvalidLimit
from agentkit.memory.repair import in_words

Component = str
_Message = TypeVar("_Message", bound=BaseMessage)
_LEFT_OUT = "\n[… {tokens} tokens left out here to fit …]\n"
_NOTE_TOKENS = 20
_LEAST_TOKENS = 48
_SMALL_WINDOW_SHARE = 0.5


class WindowTooSmall(ValueError):
    """Not even the system text, the tools and the shortest form of the last turn fit."""

    def __init__(self, *, needed_tokens: int, limit_tokens: int) -> None:
        super().__init__(
            f"a request takes at least {needed_tokens} tokens, and {limit_tokens} are allowed; "
            "offer fewer tools, shorten the system text, or use a model with a larger window"
        )
        self.needed_tokens = needed_tokens
        self.limit_tokens = limit_tokens


class AllotmentExceeded(ValueError):
    """A part that cannot be cut takes more than is allotted to it; nothing was sent."""

    def __init__(self, part: Literal["system", "tools"], *, tokens: int, limit_tokens: int) -> None:
        told, way = _WHOLE_PARTS[part]
        super().__init__(
            f"{told} {tokens:,} tokens, and {limit_tokens:,} are allotted; {way}, or raise "
            f"Allocation({part}=...)"
        )
        self.part = part
        self.tokens = tokens
        self.limit_tokens = limit_tokens


_WHOLE_PARTS = {
    "system": ("the system texts take", "shorten them"),
    "tools": ("the definitions of the tools take", "offer fewer tools"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """The most tokens of each part of a request; None is what the others leave.

    `recent` is what stays verbatim when history is rewritten, `observation` bounds a single one,
    `reply` is kept free for the answer. `system` and `tools` cannot be cut: a request that passes
    them is refused with AllotmentExceeded, and an agent offers no more tools than `tools` hold.
    Where the whole limit is small, `summary` and `recent` shrink with it.
    """

    system: int | None = None
    tools: int | None = None
    summary: int = 600
    recent: int = 4_000
    observation: int | None = None
    reply: int | None = None

    def __post_init__(self) -> None:
        for name in ("system", "tools", "summary", "recent", "observation", "reply"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidLimit(f"an allocation of {value} tokens for {name}; use 1 or more")

    def require(self, part: Literal["system", "tools"], tokens: int) -> None:
        """Raises AllotmentExceeded where a part that is sent whole takes more than its share."""
        limit = self.system if part == "system" else self.tools
        if limit is not None and tokens > limit:
            raise AllotmentExceeded(part, tokens=tokens, limit_tokens=limit)

    def summary_tokens(self, room: int | None) -> int:
        """The most for a summary where `room` tokens are left beside system and tools."""
        return self.summary if room is None else max(1, min(self.summary, room // 5))

    def recent_tokens(self, room: int | None) -> int:
        """The most for the turns that stay."""
        return (
            self.recent
            if room is None
            else max(1, min(self.recent, int(room * _SMALL_WINDOW_SHARE)))
        )


def shortened(
    message: _Message, *, most_tokens: int, count: Callable[[BaseMessage], int]
) -> _Message:
    """`message` in at most `most_tokens`: its start and its end, and how much lies between.

    Arguments of calls that do not fit are left out. `most_tokens` below 48 count as 48.
    """
    tokens = count(message)
    most_tokens = max(most_tokens, _LEAST_TOKENS)
    if tokens <= most_tokens:
        return message
    text = message.text
    update: dict[str, Any] = {}
    if isinstance(message, AIMessage):
        update["tool_calls"] = [_small_call(call, most_tokens // 4) for call in message.tool_calls]
        update["additional_kwargs"] = {}
    bare = in_words(message, "", **update)
    share = (most_tokens - count(bare) - _NOTE_TOKENS) / max(tokens, 1)
    while True:
        kept = max(0, int(len(text) * share / 2))
        note = _LEFT_OUT.format(tokens=tokens - most_tokens)
        cut = text[:kept] + note + (text[-kept:] if kept else "")
        short = in_words(message, cut, **update)
        if kept == 0 or count(short) <= most_tokens:
            return short
        share *= 0.8


def caps(tokens: Sequence[int], room: int) -> int:
    """The largest bound on each message under which messages of `tokens` fit into `room`."""
    low, high = 0, max(tokens, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(each, middle) for each in tokens) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _small_call(call: Any, most_tokens: int) -> Any:
    text = json.dumps(call["args"], ensure_ascii=False, default=str)
    if len(text) <= 2 * most_tokens:
        return call
    return {**call, "args": {"left_out": f"{len(text)} characters"}}
