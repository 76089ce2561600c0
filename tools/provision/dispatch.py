"""Tools that come later and leave the beginning of what is sent alone: one to find, one to call.

Definitions of tools stand before everything else in a request, so a tool added there makes a
provider's cache write all of it anew. These two are offered from the first step on; what they find
is described in the transcript, at its end, and called through the second, or by name where the
provider adds tools there (`native`). The arguments are checked against the real tool's schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from langchain_core.messages import InvalidToolCall, ToolCall
from langchain_core.tools import ToolException

if TYPE_CHECKING:
    from agentkit.tools.catalogue import Schema, ToolCatalogue, ToolSpec
    from agentkit.tools.provision.compaction import CompactTool

AnyCall = ToolCall | InvalidToolCall

FIND, CALL = "find_tools", "call_tool"
_FIND_TEXT = (
    "Find more tools by what they should do. Use it when no tool at hand fits. "
    f"What it finds is called with {CALL}, or by name once it is loaded."
)
_CALL_TEXT = (
    f"Call a tool that {FIND} or a note described: its name, and its arguments as that says."
)
_NOTE = f"More tools that may help now; call them with {CALL}:"
_FOUND = "Found: "
_NOTHING = "No tool fits that. Say it in other words, or go on without one."


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """The two tools under names that the catalogue does not use."""

    find: ToolSpec
    call: ToolSpec

    @classmethod
    def beside(
        cls, catalogue: ToolCatalogue, find: Callable[[str], Sequence[CompactTool]]
    ) -> Dispatcher:
        """`find` gives the tools for a need, best first."""
        from agentkit.tools.catalogue import ToolSpec

        def find_tools(need: str) -> str:
            names = [tool.original_name for tool in find(need)]
            return f"{_FOUND}{', '.join(names)}" if names else _NOTHING

        def call_tool(name: str, arguments: dict[str, object]) -> str:
            del arguments  # a call of a real tool is carried out in its own name
            raise ToolException(f"{name[:64]!r} cannot be called this way; name a tool that exists")

        return cls(
            find=ToolSpec.of(
                find_tools, name=_free(FIND, catalogue), description=_FIND_TEXT, side_effect="read"
            ),
            call=ToolSpec.of(
                call_tool, name=_free(CALL, catalogue), description=_CALL_TEXT, side_effect="read"
            ),
        )

    def resolved(self, call: AnyCall) -> AnyCall:
        """The call that is meant: the named tool's own where it comes through the dispatcher.

        Arguments may come as an object, as JSON, or beside the name. What names no tool stays.
        """
        if call["name"] != self.call.name:
            return call
        given = call["args"]
        if not isinstance(given, dict):
            return call
        name, inner = given.get("name"), given.get("arguments")
        if not isinstance(name, str) or name == self.call.name:
            return call
        if "arguments" not in given:
            inner = {key: value for key, value in given.items() if key != "name"}
        if isinstance(inner, str):
            return _from_text(name, inner, call["id"])
        if not isinstance(inner, Mapping):
            return call
        arguments = dict(cast("Mapping[str, object]", inner))
        return ToolCall(name=name, args=arguments, id=call["id"], type="tool_call")


def note(tools: Sequence[CompactTool]) -> str:
    """What the transcript says of tools that came later."""
    return f"{_NOTE}\n{described(tools)}"


def found_in(result: str) -> list[str]:
    """The names in a result of the tool that finds others."""
    if not result.startswith(_FOUND):
        return []
    return result.removeprefix(_FOUND).split(", ")


def described_in(text: str) -> dict[str, Schema]:
    """The definitions that a note describes, by name; a line that was cut is left out."""
    found: dict[str, Schema] = {}
    first, *lines = text.splitlines()
    if first != _NOTE:
        return found
    for line in lines:
        try:
            tool = json.loads(line)
            function = {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["arguments"],
            }
        except (ValueError, TypeError, KeyError):
            continue
        found[str(tool["name"])] = {"type": "function", "function": function}
    return found


def described(tools: Sequence[CompactTool]) -> str:
    """One line of JSON a tool."""
    return "\n".join(
        json.dumps(
            {"name": tool.name, "description": tool.description, "arguments": tool.schema},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for tool in tools
    )


def _from_text(name: str, text: str, call_id: str | None) -> AnyCall:
    """Arguments as a text are parsed where a call is prepared, which says what is wrong with it."""
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        arguments = cast("dict[str, object]", parsed)
        return ToolCall(name=name, args=arguments, id=call_id, type="tool_call")
    return InvalidToolCall(name=name, args=text, id=call_id, error=None, type="invalid_tool_call")


def _free(name: str, catalogue: ToolCatalogue) -> str:
    while name in catalogue:
        name += "_"
    return name
