"""How a model is spoken to: messages and tools make a prompt, generated text an answer."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from langchain_core.messages import BaseMessage, InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call

from agentkit.models.local.generation import Constraint, Generated

_ID_ALPHABET = string.ascii_letters + string.digits
CALL_ID_LENGTH = 9
"""Mistral's chat template refuses ids of any other length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OfferedTool:
    """A tool as the model is told of it; `schema` is the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolChoice:
    """`none`: no call; `auto`: the model decides; `required`: a call, to `name` where given."""

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What the model is to generate from; the fields mean what they mean in `Request`.

    `tries` other answers may be looked at where the greedy one was unsure.
    """

    prompt: tuple[int, ...]
    constraint: Constraint | None = None
    once: frozenset[int] = frozenset()
    banned: frozenset[int] = frozenset()
    stop: tuple[str, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    tries: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A finished answer; `metadata` goes into the message's `response_metadata`."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Dialect(Protocol):
    """One way to speak to a model. `prepare` answers at once where nothing need be generated."""

    writes_answers: bool
    logprob_floor: float | None

    def prepare(
        self, messages: Sequence[BaseMessage], tools: Sequence[OfferedTool], choice: ToolChoice
    ) -> Turn | Answer:
        """The prompt for the next message of the model."""
        ...

    def read(self, turn: Turn, generated: Generated) -> Answer:
        """The answer that was generated for `turn`."""
        ...


def new_call(name: str, arguments: dict[str, Any]) -> ToolCall:
    """A tool call with an id of its own."""
    return tool_call(name=name, args=arguments, id=_call_id())


def broken_call(name: str | None, text: str, error: str) -> InvalidToolCall:
    """What the model wrote where a tool call should be."""
    return invalid_tool_call(name=name, args=text, id=_call_id(), error=error)


def _call_id() -> str:
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(CALL_ID_LENGTH))
