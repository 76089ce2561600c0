"""Tools that a request brings in the middle of a conversation, by Anthropic's rules.

A definition with `defer_loading` is neither shown nor billed until a `tool_reference` in a tool's
result names it; a `tool_addition` in a system message brings its definition along. Both are billed
where they stand, so the prompt before them stays cached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.wire import body as read
from tests.wire.model import WireModel
from tests.wire.refusal import Refusal
from tests.wire.script import Json, WireTool


def check_deferred(body: Json) -> None:
    """One tool at least is shown, and no deferred one asks for a cache breakpoint."""
    listed = [
        read.mapping(entry, f"tools.{at}")
        for at, entry in enumerate(read.optional_sequence(body, "tools"))
    ]
    if listed and all(entry.get("defer_loading") for entry in listed):
        raise Refusal("At least one tool must have defer_loading=false.")
    for at, entry in enumerate(listed):
        if entry.get("defer_loading") and entry.get("cache_control") is not None:
            raise Refusal(f"tools.{at}: tools with defer_loading cannot set cache_control")


def check_place(roles: Sequence[object], at: int, model: WireModel) -> None:
    """A system message follows a user's and comes last or before the assistant's."""
    if not model.changes_tools:
        raise Refusal(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
            'parameter, not "system" as an input message role.'
        )
    after = roles[at + 1] if at + 1 < len(roles) else "assistant"
    if at == 0 or roles[at - 1] != "user" or after not in ("assistant", "system"):
        raise Refusal(f"messages.{at}: a system message must follow a user turn and end it")


def read_addition(block: Json, where: str) -> WireTool:
    """The tool that a `tool_addition` defines."""
    tool = read.mapping(block.get("tool"), f"{where}.tool")
    if tool.get("type") != "tool_definition":
        raise Refusal(f"{where}.tool.type: Input should be 'tool_definition'")
    definition = read.mapping(tool.get("definition"), f"{where}.tool.definition")
    schema = read.mapping(definition.get("input_schema"), f"{where}.input_schema")
    if schema.get("type") != "object":
        raise Refusal(f"{where}.tool.definition.input_schema.type: Input should be 'object'")
    return WireTool(
        name=read.text(definition.get("name"), f"{where}.name"),
        description=str(definition.get("description") or ""),
        schema=schema,
    )


def loaded(
    turns: Sequence[tuple[str, Sequence[Json]]], deferred: Mapping[str, WireTool]
) -> tuple[WireTool, ...]:
    """The tools that the messages make known, in order."""
    found: list[WireTool] = []
    for at, (_, blocks) in enumerate(turns):
        for place, block in enumerate(blocks):
            where = f"messages.{at}.content.{place}"
            if block.get("type") == "tool_addition":
                found.append(read_addition(block, where))
            found += [_referenced(name, deferred) for name in references(block)]
    return tuple(found)


def references(block: Json) -> Iterator[str]:
    """The names that a tool's result refers to; such a result holds nothing else."""
    content = block.get("content")
    if block.get("type") != "tool_result" or not isinstance(content, list):
        return
    parts = [read.mapping(part, "content") for part in read.sequence(content, "content")]
    named = [str(p.get("tool_name")) for p in parts if p.get("type") == "tool_reference"]
    if named and len(named) < len(parts):
        raise Refusal("tool_result: tool_reference blocks cannot stand beside other content")
    yield from named


def _referenced(name: str, deferred: Mapping[str, WireTool]) -> WireTool:
    if name not in deferred:
        raise Refusal(f"Tool reference '{name}' not found in available tools")
    return deferred[name]
