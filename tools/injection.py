"""Which arguments of a tool the application fills in, never the model."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool
from pydantic import BaseModel


@dataclass(frozen=True, kw_only=True)
class InjectedArguments:
    """Names that a model may neither see nor set; `call_id` says that one takes the call's id."""

    names: frozenset[str] = frozenset()
    call_id: bool = False


def injected_arguments(tool: BaseTool) -> InjectedArguments:
    """The arguments that are annotated as LangChain's InjectedToolArg or a kind of it."""
    hints = _hints(tool)
    names = {name for name, hint in hints.items() if _is_marked(hint, InjectedToolArg)}
    full, offered = tool.args_schema, tool.tool_call_schema
    if _is_model(full) and _is_model(offered):
        # LangChain leaves out every injected field, also those injected by type (ToolRuntime).
        names |= full.model_fields.keys() - offered.model_fields.keys()
    call_id = any(_is_marked(hint, InjectedToolCallId) for hint in hints.values())
    return InjectedArguments(names=frozenset(names), call_id=call_id)


def injected_hints(tool: BaseTool) -> dict[str, object]:
    """The annotations of a tool's injected arguments, by name, the call's id left out."""
    hints, names = _hints(tool), injected_arguments(tool).names
    return {
        name: hints.get(name, object)
        for name in sorted(names)
        if not _is_marked(hints.get(name), InjectedToolCallId)
    }


def is_required(tool: BaseTool, name: str) -> bool:
    """Whether a tool cannot run without the argument `name`."""
    schema = tool.args_schema
    field = schema.model_fields.get(name) if _is_model(schema) else None
    return field is None or field.is_required()


def _hints(tool: BaseTool) -> dict[str, object]:
    sources: list[object] = [tool.args_schema] if _is_model(tool.args_schema) else []
    sources.append(_function_of(tool))
    hints: dict[str, object] = {}
    for source in sources:
        try:
            hints |= typing.get_type_hints(source, include_extras=True)
        except (NameError, TypeError):
            continue  # a forward reference that only its author's scope can resolve
    return hints


def _function_of(tool: BaseTool) -> Callable[..., object]:
    if isinstance(tool, StructuredTool):
        return tool.func or tool.coroutine or tool.invoke
    # A subclass declares its arguments there, by LangChain's rule, protected or not.
    return cast("Callable[..., object]", getattr(tool, "_run"))  # noqa: B009


def _is_model(schema: object) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _is_marked(hint: object, marker: type) -> bool:
    return any(
        isinstance(part, marker) or (isinstance(part, type) and issubclass(part, marker))
        for part in typing.get_args(hint)[1:]
    )
