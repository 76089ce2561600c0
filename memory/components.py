"""What a request's tokens are: system text, tools, summary, history, observations, the user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.budgets.journal import Component
from agentkit.memory.tokens import MessageCounter

SUMMARY_MARK = "agentkit_summary"
"""In a message's `additional_kwargs`: it stands for messages that are no longer sent."""
_PREFIX_DIGITS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestParts:
    """Tokens of a request by component, and a digest of its system text and tools.

    `user` is the last message of a person; `history` is all before it that is no observation, and
    what the model itself has said.
    """

    tokens: Mapping[Component, int] = field(default_factory=dict[Component, int])
    prefix: str = ""


class ComponentCount:
    """Counts the components of requests that grow: of a longer list, only what was added.

    A list that does not go on from the last one is counted from its start.
    """

    def __init__(self, counter: MessageCounter) -> None:
        self._counter = counter
        self._known: list[BaseMessage] = []
        self._sums: dict[Component, int] = {}
        self._tools: Sequence[Mapping[str, Any]] | None = None
        self._tool_tokens = 0
        self._prefix: tuple[list[BaseMessage], str] | None = None

    def parts(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]
    ) -> RequestParts:
        """The components of a request of `messages` that offers `tools`."""
        known = len(self._known)
        if known > len(messages) or not all(map(is_, self._known, messages)):
            self._known, self._sums, known = [], {}, 0
        for message in messages[known:]:
            self._add(message)
        if tools is not self._tools:
            self._tools, self._tool_tokens = tools, self._counter.tools(tools)
            self._prefix = None
        tokens = dict(self._sums)
        if tools:
            tokens["tools"] = self._tool_tokens
        return RequestParts(tokens=tokens, prefix=self._prefix_of(messages, tools))

    def _add(self, message: BaseMessage) -> None:
        self._known.append(message)
        kind = component_of(message)
        if kind == "user":
            self._sums["history"] = self._sums.get("history", 0) + self._sums.pop("user", 0)
        self._sums[kind] = self._sums.get(kind, 0) + self._counter.message(message)

    def _prefix_of(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]
    ) -> str:
        head: list[BaseMessage] = []
        for message in messages:
            if not isinstance(message, SystemMessage):
                break
            head.append(message)
        known = self._prefix
        if known is None or len(known[0]) != len(head) or not all(map(is_, known[0], head)):
            told = [[message.content for message in head], list(tools)]
            digest = hashlib.sha256(json.dumps(told, default=str).encode("utf-8", "replace"))
            self._prefix = known = (head, digest.hexdigest()[:_PREFIX_DIGITS])
        return known[1]


def component_of(message: BaseMessage) -> Component:
    """The component of a message; of several by persons, all but the last then become history."""
    if message.additional_kwargs.get(SUMMARY_MARK):
        return "summary"
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, ToolMessage):
        return "observations"
    return "user" if isinstance(message, HumanMessage) else "history"
