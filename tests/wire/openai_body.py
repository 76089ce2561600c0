"""What OpenAI's two endpoints share: tools, limits and task tags of a request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.wire import body as read
from tests.wire.cache import Unit
from tests.wire.model import WireModel
from tests.wire.refusal import Refusal
from tests.wire.script import Json, WireTool
from tests.wire.tokens import IMAGE_TOKENS, TOOLS_END, Meter, canonical, tool_tokens

MOST_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def read_tools(body: Json, nested: bool) -> tuple[WireTool, ...]:
    """The offered functions; `nested` if each lies under `function` (chat completions)."""
    listed = read.optional_sequence(body, "tools")
    if len(listed) > MOST_TOOLS:
        raise Refusal(
            f"Invalid 'tools': array too long. Expected an array with maximum length {MOST_TOOLS}, "
            f"but got an array with length {len(listed)} instead.",
            param="tools",
            code="array_above_max_length",
        )
    return tuple(_tool(entry, at, nested) for at, entry in enumerate(listed))


def _tool(entry: object, at: int, nested: bool) -> WireTool:
    where = f"tools[{at}]"
    outer = read.mapping(entry, where)
    if outer.get("type") != "function":
        raise Refusal(
            f"Invalid value: '{outer.get('type')}'. Supported values are: 'function'.",
            param=f"{where}.type",
            code="invalid_value",
        )
    inner = read.mapping(outer.get("function"), f"{where}.function") if nested else outer
    name = read.text(inner.get("name"), f"{where}.name")
    if not _NAME.fullmatch(name):
        raise Refusal(
            f"Invalid '{where}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"{where}.name",
            code="invalid_value",
        )
    return WireTool(
        name=name,
        description=str(inner.get("description") or ""),
        schema=read.optional_mapping(inner, "parameters"),
    )


def read_tool_choice(body: Json, tools: Sequence[WireTool], nested: bool) -> str:
    """`auto`, `none`, `required`, or the name of an offered function."""
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    if not tools:
        raise Refusal(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
            param="tool_choice",
        )
    if isinstance(choice, str):
        if choice in ("auto", "none", "required"):
            return choice
        raise Refusal(f"Invalid value: '{choice}'.", param="tool_choice", code="invalid_value")
    chosen = read.mapping(choice, "tool_choice")
    inner = read.optional_mapping(chosen, "function") if nested else chosen
    name = str(inner.get("name"))
    if name not in {tool.name for tool in tools}:
        raise Refusal(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return name


def check_sampling(body: Json, model: WireModel) -> None:
    """Refuses what this server or this model does not do."""
    temperature = body.get("temperature")
    if model.only_default_temperature and temperature not in (None, 1, 1.0):
        raise Refusal(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        )
    if body.get("n") not in (None, 1):
        raise Refusal("This scripted provider gives one choice: n must be 1.", param="n")


def task_of(body: Json) -> str | None:
    """The task tag in the metadata, or the user's name."""
    tag = read.optional_mapping(body, "metadata").get("task")
    for value in (tag, body.get("safety_identifier"), body.get("user")):
        if isinstance(value, str) and value:
            return value
    return None


def tool_units(tools: Sequence[WireTool], listed: Sequence[object], meter: Meter) -> list[Unit]:
    """The tool definitions as the first positions of the prompt."""
    units = [
        Unit(
            content=canonical(entry),
            counted_tokens=tool_tokens(meter.count, tool.name, tool.description, tool.schema),
        )
        for tool, entry in zip(tools, listed, strict=True)
    ]
    return [*units, Unit(content="tools end", counted_tokens=TOOLS_END)] if units else []


def setting_units(body: Json, keys: Sequence[str], meter: Meter) -> list[Unit]:
    """Settings that the model is shown, such as a forced tool or a response schema."""
    shown = [canonical(body[key]) for key in keys if body.get(key) not in (None, "auto", "none")]
    return [Unit(content=text, counted_tokens=meter.count(text)) for text in shown]


def content_text(content: object, where: str) -> tuple[str, int]:
    """The text of string or part-list content, and the tokens of its images."""
    if isinstance(content, str):
        return content, 0
    texts: list[str] = []
    images = 0
    for at, entry in enumerate(read.sequence(content, where)):
        part = read.mapping(entry, f"{where}[{at}]")
        if "text" in part:
            texts.append(read.text(part["text"], f"{where}[{at}].text"))
        elif part.get("type") in ("image_url", "input_image"):
            images += 1
        elif part.get("type") != "refusal":
            raise Refusal(
                f"Invalid value: '{part.get('type')}'. Supported values are: 'text', 'image_url'.",
                param=f"{where}[{at}].type",
                code="invalid_value",
            )
    return "".join(texts), images * IMAGE_TOKENS
