"""Single messages made such that every provider takes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import tool_call

NOTHING_SAID = "(nothing)"

_CALL_BLOCKS = frozenset({"tool_use", "tool_call", "function_call", "input_json_delta"})
_Message = TypeVar("_Message", bound=BaseMessage)


def is_blank(message: BaseMessage) -> bool:
    """True where a message says nothing and calls nothing."""
    if isinstance(message, AIMessage) and has_calls(message):
        return False
    content = message.content
    if isinstance(content, str):
        return not content or content.isspace()
    return all(map(_is_blank_block, content))


def has_calls(message: AIMessage) -> bool:
    """True where the model calls tools, be it in broken JSON."""
    return bool(message.tool_calls or message.invalid_tool_calls)


def takes_empty_results(provider: str) -> bool:
    """Whether a provider takes an observation that says nothing: OpenAI does, so that three tokens
    a call are spared."""
    return provider == "openai"


def without_blanks(message: _Message) -> _Message:
    """`message` without empty parts; an observation that is empty says so."""
    content = message.content
    kept: Any = content
    if isinstance(content, str):
        kept = "" if content.isspace() else content
    elif any(map(_is_blank_block, content)):
        kept = [block for block in content if not _is_blank_block(block)]
    if not kept:
        kept = "" if isinstance(message, AIMessage) else NOTHING_SAID
    return message if kept is content else message.model_copy(update={"content": kept})


def named_apart(message: AIMessage, taken: Collection[str]) -> tuple[AIMessage, dict[str, str]]:
    """`message` with call ids that nobody used before, and the new id of each given one.

    Calls without an id can have no result and are left out; of two calls with one id the first
    stays.
    """
    names: dict[str, str] = {}
    valid = _named(message.tool_calls, names, taken)
    invalid = _named(message.invalid_tool_calls, names, taken)
    calls = len(message.tool_calls) + len(message.invalid_tool_calls)
    if len(names) == calls and all(given == name for given, name in names.items()):
        if not _has_stray_blocks(message, names):
            return message, names
    return _with_calls(message, valid, invalid), names


def thoughts_of(message: BaseMessage) -> list[dict[str, Any]]:
    """The signed thoughts before a message's calls, in Anthropic's shape or LangChain's, which
    have to go back with the calls as they came; else none."""
    if not isinstance(message, AIMessage) or not has_calls(message):
        return []
    blocks = [block for block in message.content if isinstance(block, dict)]
    return [block for block in blocks if _is_signed(block)]


def in_words(message: _Message, text: str, **update: Any) -> _Message:
    """`message` that says `text` in place of its content, its signed thoughts kept before it."""
    thoughts = thoughts_of(message)
    content: Any = [*thoughts, {"type": "text", "text": text}] if thoughts else text
    told = dict(message.response_metadata)
    if not thoughts:  # clients read plain text as blocks where this is left
        told.pop("output_version", None)
    return message.model_copy(update={**update, "content": content, "response_metadata": told})


def without_calls(message: AIMessage) -> AIMessage:
    """A message that calls nothing, without what is left of a call in its content."""
    return _with_calls(message, [], []) if _has_stray_blocks(message, ()) else message


def as_calls(message: AIMessage, *, leave_out: Collection[str]) -> AIMessage:
    """`message` with calls that every provider takes, without those whose ids are in `leave_out`.

    A call in broken JSON becomes one with its text as the only argument: some clients leave such
    calls out, and their results would be orphans.
    """
    if not leave_out and not message.invalid_tool_calls:
        return without_blanks(message)
    kept = [dict(call) for call in message.tool_calls if call["id"] not in leave_out]
    kept += [
        dict(tool_call(name=call["name"] or "unknown", args={"text": call["args"]}, id=call["id"]))
        for call in message.invalid_tool_calls
        if call["id"] not in leave_out
    ]
    return _with_calls(message, kept, [])


def _with_calls(message: AIMessage, calls: list[Any], invalid: list[Any]) -> AIMessage:
    return without_blanks(
        message.model_copy(
            update={
                "tool_calls": calls,
                "invalid_tool_calls": invalid,
                "content": _without_call_blocks(message.content),
                "additional_kwargs": {
                    key: value
                    for key, value in message.additional_kwargs.items()
                    if key not in ("tool_calls", "function_call")
                },
            }
        )
    )


def _without_call_blocks(content: str | list[str | dict[str, Any]]) -> Any:
    if isinstance(content, str):
        return content
    kept = [b for b in content if isinstance(b, str) or b.get("type") not in _CALL_BLOCKS]
    return kept or ""


def _is_blank_block(block: str | dict[str, Any]) -> bool:
    text = block if isinstance(block, str) else block.get("text")
    if isinstance(block, dict) and block.get("type", "text") != "text":
        return False
    return not isinstance(text, str) or not text or text.isspace()


def _is_signed(block: dict[str, Any]) -> bool:
    if block.get("type") in ("thinking", "redacted_thinking"):
        return True
    extras: Any = block.get("extras")
    return block.get("type") == "reasoning" and isinstance(extras, dict) and "signature" in extras


def _named(calls: Any, names: dict[str, str], taken: Collection[str]) -> list[Any]:
    """The calls that count, under their new ids, which are added to `names`."""
    kept: list[Any] = []
    for call in calls:
        given = call["id"]
        if given and given not in names:
            names[given] = _free_name(given, taken)
            kept.append({**call, "id": names[given]})
    return kept


def _has_stray_blocks(message: AIMessage, ids: Collection[str]) -> bool:
    """True where the content holds a call that is not among the message's calls."""
    if isinstance(message.content, str):
        return False
    return any(
        isinstance(block, dict)
        and block.get("type") in _CALL_BLOCKS
        and (block.get("id") or block.get("call_id")) not in ids
        for block in message.content
    )


def _free_name(given: str, taken: Collection[str]) -> str:
    name, number = given, 1
    while name in taken:
        number += 1
        name = f"{given}_{number}"
    return name
