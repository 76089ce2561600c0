"""Tools and tool choice as callers write them, in one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentkit.models.local.dialect import OfferedTool, ToolChoice
from agentkit.models.local.errors import ModelSettingsInvalid
from agentkit.models.local.json_value import as_object


def tool_spec(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    """A tool in OpenAI's form, in which LangChain passes them on."""
    return convert_to_openai_tool(tool)


def offered_tools(specs: Sequence[Mapping[str, Any]]) -> tuple[OfferedTool, ...]:
    """Tools in OpenAI's form as they are offered; the first of a name counts."""
    found: dict[str, OfferedTool] = {}
    for spec in specs:
        function = spec.get("function", spec)
        name = str(function["name"])
        schema = as_object(function.get("parameters")) or {"type": "object", "properties": {}}
        found.setdefault(name, OfferedTool(name=name, schema=schema, spec=spec))
    return tuple(found.values())


def tool_choice(choice: object) -> ToolChoice:
    """What a caller's `tool_choice` means. Raises ModelSettingsInvalid where it means nothing."""
    match choice:
        case None | False | "auto":
            return ToolChoice(mode="auto")
        case "none":
            return ToolChoice(mode="none")
        case True | "any" | "required":
            return ToolChoice(mode="required")
        case str(name) | {"name": str(name)} | {"function": {"name": str(name)}}:
            return ToolChoice(mode="required", name=name)
        case {"type": "any"}:
            return ToolChoice(mode="required")
        case {"type": "auto"}:
            return ToolChoice(mode="auto")
        case {"type": "none"}:
            return ToolChoice(mode="none")
        case _:
            raise ModelSettingsInvalid(
                f"tool_choice is {choice!r}; use 'auto', 'none', 'any' or a tool's name"
            )
