"""What a request's tokens are: system text, tools, summary, history, observations, the user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from agentkit.budgets.journal import Component
from agentkit.memory.tokens import MessageCounter

SUMMARY_MARK = "agentkit_summary"
"""In a message's `additional_kwargs`: it stands for messages that are no longer sent."""
_PREFIX_DIGITS = 12

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestParts:
    """Tokens of a request by component, and a digest of its system text and tools."""

    tokens: Mapping[Component, int] = field(default_factory=dict[Component, int])
    prefix: str = ""


def request_parts(
    messages: Sequence[BaseMessage], tools: Tools, counter: MessageCounter
) -> RequestParts:
    """The components of a request as `counter` counts them, without its wrapping."""
    tokens: dict[Component, int] = {"tools": counter.tools(tools)} if tools else {}
    for message in messages:
        kind = component_of(message)
        tokens[kind] = tokens.get(kind, 0) + counter.message(message)
    return RequestParts(tokens=tokens, prefix=Prefix().digest(messages, tools))


def component_of(message: BaseMessage) -> Component:
    """The component that a message belongs to: `user` is what people said, `history` the model."""
    if message.additional_kwargs.get(SUMMARY_MARK):
        return "summary"
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, ToolMessage):
        return "observations"
    return "history" if isinstance(message, AIMessage) else "user"


class Prefix:
    """Names what stands before a conversation; made anew only where it has changed."""

    def __init__(self) -> None:
        self._head: list[BaseMessage] = []
        self._tools: Tools | None = None
        self._digest = ""

    def digest(self, messages: Sequence[BaseMessage], tools: Tools) -> str:
        """The same for the same system texts and tools, in every process."""
        head: list[BaseMessage] = []
        for message in messages:
            if not isinstance(message, SystemMessage):
                break
            head.append(message)
        is_known = len(head) == len(self._head) and all(map(is_, head, self._head))
        if not is_known or tools is not self._tools:
            told = [[message.content for message in head], list(tools)]
            text = json.dumps(told, default=str, sort_keys=True)
            digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
            self._head, self._tools, self._digest = head, tools, digest[:_PREFIX_DIGITS]
        return self._digest
