"""The positions of an Anthropic prompt, in the order of its cache: tools, system, messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from tests.wire import body as read
from tests.wire.cache import Ttl, Unit
from tests.wire.later_tools import read_addition, references
from tests.wire.model import WireModel
from tests.wire.script import Json, WireRequest
from tests.wire.tokens import IMAGE_TOKENS, Meter, canonical, tool_tokens

_MESSAGE_TOKENS = 3
_CALL_TOKENS = 8
_FORMAT_TOKENS = 200


def prompt_units(request: WireRequest, model: WireModel, meter: Meter) -> list[Unit]:
    """All positions of the request, with the breakpoints that `cache_control` sets."""
    units = [
        *_tool_units(request, model, meter),
        *_format_units(request.body, meter),
        *_system_units(request.body, meter),
        *_message_units(request, meter),
    ]
    automatic = request.body.get("cache_control")
    if automatic is not None and units and units[-1].breakpoint is None:
        units[-1] = replace(units[-1], breakpoint=lifetime(automatic))
    return units


def lifetime(control: object) -> Ttl:
    """The lifetime that a `cache_control` asks for."""
    return "1h" if read.mapping(control, "cache_control").get("ttl") == "1h" else "5m"


def controls(body: Json) -> Iterator[tuple[str, object]]:
    """Every `cache_control` in prompt order, with the place it is set."""
    for at, tool in enumerate(_mappings(body.get("tools"))):
        if tool.get("cache_control") is not None:
            yield f"tools.{at}", tool["cache_control"]
    for at, block in enumerate(_mappings(body.get("system"))):
        if block.get("cache_control") is not None:
            yield f"system.{at}", block["cache_control"]
    for at, message in enumerate(_mappings(body.get("messages"))):
        for place, block in enumerate(_mappings(message.get("content"))):
            for inner in (block, *_mappings(block.get("content"))):
                if inner.get("cache_control") is not None:
                    yield f"messages.{at}.content.{place}", inner["cache_control"]
    if body.get("cache_control") is not None:
        yield "cache_control", body["cache_control"]


def _tool_units(request: WireRequest, model: WireModel, meter: Meter) -> list[Unit]:
    listed = [t for t in _mappings(request.body.get("tools")) if not t.get("defer_loading")]
    forced = request.tool_choice not in ("auto", "none")
    units: list[Unit] = []
    for at, (tool, raw) in enumerate(zip(request.tools, listed, strict=True)):
        counted = tool_tokens(meter.count, tool.name, tool.description, tool.schema)
        preamble = model.tool_preamble_tokens[forced] if at == 0 else 0
        units.append(_unit("tools", raw, counted, fixed_tokens=preamble))
    return units


def _format_units(body: Json, meter: Meter) -> list[Unit]:
    """The system text that tells of a schema for the answer; its size is made up."""
    wanted = read.optional_mapping(body, "output_config").get("format")
    if wanted is None:
        return []
    text = canonical(wanted)
    return [Unit(content=text, counted_tokens=meter.count(text), fixed_tokens=_FORMAT_TOKENS)]


def _system_units(body: Json, meter: Meter) -> list[Unit]:
    system = body.get("system")
    if isinstance(system, str):
        return [Unit(content=canonical(["system", system]), counted_tokens=meter.count(system))]
    return [
        _unit("system", block, meter.count(str(block.get("text", ""))))
        for block in _mappings(system)
    ]


def _message_units(request: WireRequest, meter: Meter) -> list[Unit]:
    """Message blocks; the settings that break their cache are a part of the first one.

    A tool that is loaded is billed where it is.
    """
    body = request.body
    later = {
        tool.name: tool_tokens(meter.count, tool.name, tool.description, tool.schema)
        for tool in request.later_tools
    }
    settings = canonical([body.get("tool_choice"), body.get("thinking")])
    units: list[Unit] = []
    for message in _mappings(body.get("messages")):
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for at, block in enumerate(_mappings(blocks)):
            counted = block_tokens(block, meter) + (_MESSAGE_TOKENS if at == 0 else 0)
            counted += sum(later[name] for name in references(block))
            if block.get("type") == "tool_addition":
                counted += later[read_addition(block, "messages").name]
            units.append(_unit(f"{message.get('role')} {settings}", block, counted))
            settings = ""
    return units


def block_tokens(block: Mapping[str, object], meter: Meter) -> int:
    """Counted tokens of one content block."""
    kind = block.get("type")
    if kind == "tool_use":
        name, arguments = str(block.get("name")), canonical(block.get("input"))
        return _CALL_TOKENS + meter.count(name) + meter.count(arguments)
    if kind == "tool_result":
        content = block.get("content")
        if isinstance(content, str):
            return _CALL_TOKENS + meter.count(content)
        return _CALL_TOKENS + sum(block_tokens(part, meter) for part in _mappings(content))
    if kind in ("image", "document"):
        return IMAGE_TOKENS
    return meter.count(str(block.get("text") or block.get("thinking") or ""))


def _unit(section: str, raw: Json, counted: int, fixed_tokens: int = 0) -> Unit:
    control = raw.get("cache_control") or _inner_control(raw)
    return Unit(
        content=canonical([section, _without_control(raw)]),
        counted_tokens=counted,
        fixed_tokens=fixed_tokens,
        breakpoint=None if control is None else lifetime(control),
    )


def _inner_control(raw: Json) -> object:
    for part in _mappings(raw.get("content")):
        if part.get("cache_control") is not None:
            return part["cache_control"]
    return None


def _without_control(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {
            key: _without_control(part) for key, part in fields.items() if key != "cache_control"
        }
    if isinstance(value, list):
        return [_without_control(part) for part in cast("list[object]", value)]
    return value


def _mappings(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        return []
    entries = cast("list[object]", value)
    return [cast("dict[str, object]", entry) for entry in entries if isinstance(entry, dict)]
