"""Token counts of OpenAI-shaped chat requests: messages and tool definitions as they are sent.

The wrapping is OpenAI's own rule as of November 2026 (its cookbook, "How to count tokens"): 3
tokens a message, 1 a name, 3 for the reply. What that rule leaves open is counted from above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from agentkit.budgets.tokens import EncodingName, count_text, encoding_for_model

MESSAGE_TOKENS = 3
NAME_TOKENS = 1
REPLY_TOKENS = 3

TOOL_TOKENS = 10
TOOL_TOKENS_GPT_4O = 7
PROPERTIES_TOKENS = 3
PROPERTY_TOKENS = 3
ENUM_TOKENS = -3
ENUM_ITEM_TOKENS = 3
TOOLS_END_TOKENS = 12

TOOL_CALL_TOKENS = 12
"""Not published; above what was seen for the wrapping of one call."""
IMAGE_TOKENS = 3_800
"""The dearest image outside gpt-4o-mini: 1,536 patches, each counted 2.46 times (gpt-5-nano)."""
IMAGE_TOKENS_GPT_4O_MINI = 48_169
"""2,833 and 5,667 for each of at most 8 tiles."""

_PLAIN_PROPERTY = frozenset({"type", "description", "enum", "title", "default"})


def count_chat(
    messages: Sequence[Mapping[str, object]],
    tools: Sequence[Mapping[str, object]] = (),
    *,
    model: str,
) -> int:
    """Input tokens of a chat request to `model`.

    Every text is counted once and remembered, so that a growing transcript costs what was added.
    """
    counted = sum(_message(message, model) for message in messages)
    return REPLY_TOKENS + counted + _tools(tools, model)


def _message(message: Mapping[str, object], model: str) -> int:
    encoding = encoding_for_model(model)
    tokens = MESSAGE_TOKENS
    for key, value in message.items():
        if value is None:
            continue
        if key == "content" and _is_list(value):
            tokens += sum(_part(part, model) for part in value)
        elif key == "tool_calls" and _is_list(value):
            tokens += sum(TOOL_CALL_TOKENS + _text(call, encoding) for call in value)
        else:
            tokens += _text(value, encoding) + (NAME_TOKENS if key == "name" else 0)
    return tokens


def _part(part: object, model: str) -> int:
    encoding = encoding_for_model(model)
    if not _is_mapping(part):
        return _text(part, encoding)
    if part.get("type") in ("image_url", "input_image"):
        return IMAGE_TOKENS_GPT_4O_MINI if "gpt-4o-mini" in model else IMAGE_TOKENS
    text = part.get("text")
    return _text(text if isinstance(text, str) else part, encoding)


def _tools(tools: Sequence[Mapping[str, object]], model: str) -> int:
    """OpenAI's published rule for tools; what it does not cover is counted as its JSON."""
    if not tools:
        return 0
    encoding = encoding_for_model(model)
    each = TOOL_TOKENS_GPT_4O if "gpt-4o" in model else TOOL_TOKENS
    return TOOLS_END_TOKENS + sum(each + _tool(tool, encoding) for tool in tools)


def _tool(tool: Mapping[str, object], encoding: EncodingName) -> int:
    function = tool.get("function")
    if not _is_mapping(function):
        return _text(tool, encoding)
    tokens = count_text(f"{function.get('name', '')}:{_description(function)}", encoding)
    parameters = function.get("parameters")
    if not _is_mapping(parameters):
        return tokens
    properties = parameters.get("properties")
    if not _is_mapping(properties):
        return tokens + _text(parameters, encoding)
    if "$defs" in parameters:
        tokens += _text(parameters["$defs"], encoding)
    if properties:
        tokens += PROPERTIES_TOKENS
    return tokens + sum(_property(name, of, encoding) for name, of in properties.items())


def _property(name: str, schema: object, encoding: EncodingName) -> int:
    if not _is_mapping(schema) or not _PLAIN_PROPERTY.issuperset(schema):
        return PROPERTY_TOKENS + count_text(name, encoding) + _text(schema, encoding)
    tokens = PROPERTY_TOKENS
    choices = schema.get("enum")
    if _is_list(choices):
        tokens += ENUM_TOKENS
        tokens += sum(ENUM_ITEM_TOKENS + _text(choice, encoding) for choice in choices)
    return tokens + count_text(f"{name}:{schema.get('type', '')}:{_description(schema)}", encoding)


def _description(of: Mapping[str, object]) -> str:
    return str(of.get("description") or "").removesuffix(".")


def _text(value: object, encoding: EncodingName) -> int:
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return count_text(value, encoding)


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))
