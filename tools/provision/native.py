"""Tools that came later, as a request says them in the provider's own way.

In the transcript a note describes them, as every provider takes it. Some providers add a tool in
the middle of a conversation: what stands before it stays cached, and the model calls it by its
name. Collected November 2026 from the providers' documentation and LangChain's classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from agentkit.tools.provision.dispatch import described_in, found_in

if TYPE_CHECKING:
    from agentkit.tools.catalogue import Schema

Way = Literal["described", "tool_reference", "tool_addition", "additional_tools"]
"""How a model is told of a later tool: in words; by Anthropic's `tool_reference`, which loads a
definition sent with `defer_loading`; by its `tool_addition`; or by OpenAI's `additional_tools`."""

_LOADED = "What was found is loaded: call it by its name."
_KNOWN = "Still at hand, as said above: {names}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A request's messages, one for each of the transcript's, and definitions sent as deferred."""

    messages: list[BaseMessage]
    deferred: tuple[Schema, ...] = ()


@dataclass(kw_only=True, slots=True)
class _Sent:
    """What the messages before a place have said of tools."""

    way: Way
    known: set[str]
    deferred: dict[str, Schema] = field(default_factory=dict[str, "Schema"])
    loaded: set[str] = field(default_factory=set[str])


def natively(
    messages: Sequence[BaseMessage],
    way: Way,
    *,
    find: str,
    defined: Collection[str],
    is_note: Callable[[BaseMessage], bool],
) -> Shown:
    """`messages` with the notes on later tools said in a provider's own `way`.

    `find` names the tool that finds others, `defined` the tools whose definitions are sent in
    front. The same beginning of a transcript always becomes the same messages.
    """
    if way == "described":
        return Shown(messages=list(messages))
    sent = _Sent(way=way, known=set(defined))
    shown = list(messages)
    for at, message in enumerate(messages):
        if not is_note(message):
            continue
        tools = described_in(message.text)
        if not tools:
            continue
        if way == "tool_reference":
            shown[at] = _referenced(shown, at, tools, find, sent)
        elif way == "additional_tools" or _stands_alone(messages, at):
            shown[at] = _added(message, tools, sent)
    return Shown(messages=shown, deferred=tuple(sent.deferred.values()))


def _added(note: BaseMessage, tools: Mapping[str, Schema], sent: _Sent) -> BaseMessage:
    """The note as a message that adds those of its tools that nothing before has added."""
    new = {name: schema for name, schema in tools.items() if name not in sent.known}
    if not new:
        return note.model_copy(update={"content": _KNOWN.format(names=", ".join(tools))})
    sent.known.update(new)
    if sent.way == "additional_tools":
        functions = [{"type": "function", **_function(schema)} for schema in new.values()]
        return SystemMessage(
            [{"type": "additional_tools", "role": "developer", "tools": functions}]
        )
    return SystemMessage(
        [
            {
                "type": "tool_addition",
                "tool": {"type": "tool_definition", "definition": _anthropic(schema)},
            }
            for schema in new.values()
        ]
    )


def _referenced(
    shown: list[BaseMessage], at: int, tools: Mapping[str, Schema], find: str, sent: _Sent
) -> BaseMessage:
    """The note on tools that `find` found becomes a line; its result becomes references to them.

    A reference is only taken in a tool's result, so a note that follows none stays as it is.
    """
    for place in range(at - 1, -1, -1):
        result = shown[place]
        if not isinstance(result, ToolMessage):
            break
        if result.name != find or result.status == "error":
            continue
        new = [n for n in found_in(result.text) if n in tools and n not in sent.known]
        if not new:
            continue
        sent.known.update(new)
        sent.loaded.update(new)
        sent.deferred.update({name: _deferred(tools[name]) for name in new})
        references: list[str | dict[str, Any]] = [
            {"type": "tool_reference", "tool_name": name} for name in new
        ]
        shown[place] = result.model_copy(update={"content": references})
    note = shown[at]
    if not sent.loaded.issuperset(tools):
        return note
    return note.model_copy(update={"content": _LOADED})


def _stands_alone(messages: Sequence[BaseMessage], at: int) -> bool:
    """Anthropic takes a system message after a person's or a tool's, and before the model's."""
    follows = at > 0 and isinstance(messages[at - 1], HumanMessage | ToolMessage)
    return follows and (at + 1 == len(messages) or isinstance(messages[at + 1], AIMessage))


def _function(schema: Schema) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", schema["function"]))


def _anthropic(schema: Schema) -> dict[str, Any]:
    function = _function(schema)
    return {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }


def _deferred(schema: Schema) -> dict[str, Any]:
    return {**_anthropic(schema), "defer_loading": True}


def text_of(schema: Schema) -> str:
    """A definition as the JSON that is counted."""
    return json.dumps(schema, ensure_ascii=False, default=str)
