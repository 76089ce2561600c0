"""What the scripted model says: a normalised view of a request in, a reply out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.wire.fault import Fault

Protocol = Literal["openai", "anthropic"]
Role = Literal["system", "user", "assistant", "tool"]
Json = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class WireToolCall:
    """A tool call in the history; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WireMessage:
    """One message of either protocol; an Anthropic `tool_result` block has the role tool."""

    role: Role
    text: str = ""
    tool_calls: tuple[WireToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WireTool:
    """A tool as offered in the request."""

    name: str
    description: str
    schema: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class WireRequest:
    """A valid request of either protocol.

    `tool_choice` is `auto`, `none`, `required` or the name of a tool. `attempt` counts requests
    with this very body and task from 1; `step` counts, from 0, the different bodies of the task
    that the model was shown before. `later_tools` came in the middle of the conversation; deferred
    ones that nothing has loaded are left out. `body` is the request as sent.
    """

    protocol: Protocol
    path: str
    model: str
    messages: tuple[WireMessage, ...]
    tools: tuple[WireTool, ...] = ()
    later_tools: tuple[WireTool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = True
    thinking: bool = True
    task: str | None = None
    attempt: int = 1
    step: int = 0
    body: Json = field(default_factory=dict[str, object], repr=False)

    @property
    def may_call(self) -> bool:
        """Whether the model may call a tool."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def tool_turns(self) -> int:
        """Assistant messages with tool calls, all of which have been answered."""
        return sum(1 for message in self.messages if message.tool_calls)

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return self.messages[-1].text if self.messages else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the model produces, before `max_tokens` cuts it.

    `raw_arguments` replaces the arguments of the first call by this text, which need not be JSON.
    `empty` makes an answer without content. `fault` lets this request fail. Tool calls that the
    request does not allow are left out, as a provider would. `pause_seconds` lie between the parts
    of a stream.
    """

    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, object]]] = ()
    reasoning_tokens: int = 0
    raw_arguments: str | None = None
    empty: bool = False
    delay_seconds: float = 0.0
    pause_seconds: float = 0.0
    fault: Fault | None = None


Script = Callable[[WireRequest], Reply]


def answer(text: str, *, reasoning_tokens: int = 0) -> Script:
    """A model that always says `text`."""
    reply = Reply(text=text, reasoning_tokens=reasoning_tokens)
    return lambda _: reply


def echo(request: WireRequest) -> Reply:
    """A model that repeats the last message, or says so if that was empty."""
    return Reply(text=request.last_text or "(nothing to repeat)")


def always_tool(
    name: str, arguments: Mapping[str, object] | None = None, *, otherwise: str = "I stop here."
) -> Script:
    """A runaway: calls `name` whenever a tool may be called, else says `otherwise`."""

    def script(request: WireRequest) -> Reply:
        if not request.may_call:
            return Reply(text=otherwise)
        return Reply(tool_calls=[(name, arguments or {})])

    return script


def steps(
    replies: Sequence[Reply],
    *,
    count_by: Literal["turns", "task"] = "turns",
    otherwise: str = "I stop here.",
) -> Script:
    """A model that gives `replies` one a step and stays at the last.

    The step is the number of answered tool turns in the request (`turns`, no state), or of
    different requests the task has made (`task`, for agents that condense their history). A reply
    that wants a tool where none may be called becomes `otherwise`.
    """
    if not replies:
        raise ValueError("steps needs at least one reply")

    def script(request: WireRequest) -> Reply:
        at = request.tool_turns if count_by == "turns" else request.step
        reply = replies[min(at, len(replies) - 1)]
        if reply.tool_calls and not reply.text and not request.may_call:
            return Reply(text=otherwise)
        return reply

    return script
