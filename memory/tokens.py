"""Token counts of LangChain messages, remembered per message so that nothing is counted twice."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_IMAGE_TOKENS = 24_600
"""The most that any provider counts one image of a model that is not known (November 2026)."""
_FILE_KINDS = frozenset(
    {"file", "input_file", "document", "audio", "input_audio", "video", "media", "text-plain"}
    | {"container_upload"}
)
_TOOL_CALL_TOKENS = 12
_OWN_TOOLS = (None, "function", "custom")
_PROVIDERS_TOOL_TOKENS = 1_300
"""The most that the text of a tool counts which a provider has trained its models on and the client
runs (Anthropic's bash 245, editor 700, computer 735 and 499 of system text; November 2026)."""
_REASONING_KEYS = ("reasoning", "reasoning_content", "function_call")
"""Where LangChain's classes keep reasoning beside a message's content, and calls of old."""

Block = Mapping[str, Any]


class Media(NamedTuple):
    """What a request holds beside text: images, whose most tokens are known, and files, whose are
    not: a page of a PDF counts as text and as an image, and few bytes may be hundreds of pages."""

    images: bool = False
    files: bool = False


def media_of(messages: Sequence[BaseMessage]) -> Media:
    """What `messages` hold beside text, in any provider's or LangChain's shape."""
    images = files = False
    for message in messages:
        if isinstance(message.content, list):
            for block in _blocks(message.content):
                images = images or _is_image(block)
                files = files or _is_file(block)
    return Media(images, files)


class MessageCounter:
    """Counts messages with `count_text`; a message object is counted once while it lives."""

    def __init__(
        self,
        count_text: Callable[[str], int],
        *,
        message_overhead: int = 4,
        request_overhead: int = 3,
        tools_overhead: int = 12,
        image_tokens: Callable[[Block], int] = lambda _: _IMAGE_TOKENS,
    ) -> None:
        """`image_tokens` gives the most tokens of an image's content block."""
        self._count_text = count_text
        self._image_tokens = image_tokens
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
        theirs = sum(tool.get("type", "function") not in _OWN_TOOLS for tool in tools)
        text = json.dumps(list(tools), ensure_ascii=False, default=str)
        return self._tools_overhead + self._count_text(text) + theirs * _PROVIDERS_TOOL_TOKENS

    def _body(self, message: BaseMessage) -> int:
        tokens = self._content(message.content)
        if message.name:
            tokens += 1 + self._count_text(message.name)
        if isinstance(message, ToolMessage):
            tokens += self._count_text(message.tool_call_id)
        if isinstance(message, AIMessage):
            tokens += self._thoughts(message)
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                arguments = call["args"]
                text = arguments if isinstance(arguments, str) else json.dumps(arguments)
                text = f"{call['name']}{text}{call.get('id') or ''}"
                tokens += _TOOL_CALL_TOKENS + self._count_text(text)
        return tokens

    def _thoughts(self, message: AIMessage) -> int:
        """Tokens of the reasoning that goes back to the provider with `message`, beyond what is
        written of it there: that is a summary, or a name for what the provider keeps."""
        parts: list[Any] = [message.additional_kwargs.get(name) for name in _REASONING_KEYS]
        told = sum(self._count_text(_json(part)) for part in parts if part)
        written = told
        if isinstance(message.content, list):
            blocks: list[Any] = [*message.content]
            thoughts = [block for block in blocks if _is_thought(block)]
            parts += thoughts
            written += sum(map(self._block, thoughts))
        if not any(parts) or message.usage_metadata is None:
            return told
        details: Mapping[str, Any] = message.usage_metadata.get("output_token_details") or {}
        return told + max(0, int(details.get("reasoning") or 0) - written)

    def _content(self, content: str | list[str | dict[str, Any]]) -> int:
        if isinstance(content, str):
            return self._count_text(content)
        return sum(self._block(block) for block in content)

    def _block(self, block: str | dict[str, Any]) -> int:
        if isinstance(block, str):
            return self._count_text(block)
        if _is_image(block):
            return self._image_tokens(block)
        if _is_file(block):  # nothing tells; `media_of` does that there is one
            return 0
        text = block.get("text")
        if isinstance(text, str):
            return self._count_text(text) + 2
        inner = _inner(block)
        if inner:
            rest = {name: value for name, value in block.items() if name != "content"}
            return self._block(rest) + self._content(inner)
        return self._count_text(json.dumps(block, ensure_ascii=False, default=str))


def _blocks(content: list[Any]) -> Iterator[Block]:
    """The blocks of a content, and those within them."""
    for block in content:
        if isinstance(block, dict):
            known = cast("Block", block)
            yield known
            yield from _blocks(_inner(known))


def _inner(block: Block) -> list[Any]:
    """What a block holds, as the result of a tool does."""
    inner: list[Any] | None = block.get("content")
    return inner if isinstance(inner, list) else []


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _is_thought(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    return cast("Block", block).get("type") in ("reasoning", "thinking", "redacted_thinking")


def _is_image(block: Block) -> bool:
    return "image" in str(block.get("type", ""))


def _is_file(block: Block) -> bool:
    if str(block.get("type", "")) not in _FILE_KINDS or isinstance(block.get("text"), str):
        return False
    source: Any = block.get("source")  # Anthropic's documents may be plain text
    return not (isinstance(source, dict) and cast("Block", source).get("type") == "text")
