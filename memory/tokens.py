"""Token counts of LangChain messages, remembered per message so that nothing is counted twice."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_IMAGE_TOKENS = 2_000
"""No provider bills an image higher (Anthropic about 1,600, OpenAI about 1,500; Nov. 2026)."""
_TOOL_CALL_TOKENS = 12


class MessageCounter:
    """Counts messages with `count_text`; a message object is counted once while it lives."""

    def __init__(
        self,
        count_text: Callable[[str], int],
        *,
        message_overhead: int = 4,
        request_overhead: int = 3,
        tools_overhead: int = 12,
    ) -> None:
        self._count_text = count_text
        self._message_overhead = message_overhead
        self._request_overhead = request_overhead
        self._tools_overhead = tools_overhead
        self._memo: dict[int, tuple[weakref.ref[BaseMessage], Any, int]] = {}

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        return self._count_text(text)

    def request(self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of a whole request."""
        return self._request_overhead + self.messages(messages) + self.tools(tools)

    def messages(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of `messages` with their wrapping."""
        return sum(map(self.message, messages))

    def message(self, message: BaseMessage) -> int:
        """Tokens of one message with its wrapping."""
        key = id(message)
        known = self._memo.get(key)
        if known is not None and known[0]() is message and known[1] is message.content:
            return known[2]
        tokens = self._message_overhead + self._body(message)
        memo = self._memo
        # with the message its content goes, which may be large
        gone = weakref.ref(message, lambda _: memo.pop(key, None))
        memo[key] = (gone, message.content, tokens)
        return tokens

    def tools(self, tools: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of tool definitions, counted as their JSON."""
        if not tools:
            return 0
        text = json.dumps(list(tools), ensure_ascii=False, default=str)
        return self._tools_overhead + self._count_text(text)

    def _body(self, message: BaseMessage) -> int:
        tokens = self._content(message.content)
        if message.name:
            tokens += 1 + self._count_text(message.name)
        if isinstance(message, ToolMessage):
            tokens += self._count_text(message.tool_call_id)
        if isinstance(message, AIMessage):
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                arguments = call["args"]
                text = arguments if isinstance(arguments, str) else json.dumps(arguments)
                text = f"{call['name']}{text}{call.get('id') or ''}"
                tokens += _TOOL_CALL_TOKENS + self._count_text(text)
        return tokens

    def _content(self, content: str | list[str | dict[str, Any]]) -> int:
        if isinstance(content, str):
            return self._count_text(content)
        return sum(self._block(block) for block in content)

    def _block(self, block: str | dict[str, Any]) -> int:
        if isinstance(block, str):
            return self._count_text(block)
        kind = str(block.get("type", ""))
        if "image" in kind:
            return _IMAGE_TOKENS
        text = block.get("text")
        if isinstance(text, str):
            return self._count_text(text) + 2
        return self._count_text(json.dumps(block, ensure_ascii=False, default=str))
