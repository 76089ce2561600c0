"""Functions, LangChain tools and pydantic models as tools: name, description, arguments."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import cast

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel

from agentkit.tools.errors import InvalidTool
from agentkit.tools.naming import check_name

ToolSource = Callable[..., object] | BaseTool | type[BaseModel]
Schema = dict[str, object]


def tool_of(source: ToolSource, *, name: str | None, description: str | None) -> BaseTool:
    """The source as a LangChain tool; raises InvalidTool where it cannot be one."""
    if isinstance(source, BaseTool):
        return source
    if inspect.isclass(source) and issubclass(source, BaseModel):
        return _tool_of_model(source, name=name, description=description)
    if inspect.isclass(source) or not callable(source):
        raise InvalidTool(
            f"{source!r} is not a tool: give a function, a LangChain tool, a pydantic model or a "
            "ToolSpec",
            tool=repr(source),
        )
    name = name if name is not None else str(getattr(source, "__name__", ""))
    check_name(name, repr(source))
    doc = inspect.getdoc(source) or ""
    if not (description or doc).strip():
        raise InvalidTool(
            f"tool {name!r} has no description, so no model can know when to call it: "
            f"give the function a docstring, or use ToolSpec.of({name}, description=...)",
            tool=name,
        )
    function: Callable[..., object] = source
    if not inspect.isroutine(source):  # an instance: its method has the signature
        function = getattr(source, "__call__")  # noqa: B004, B009  mypy takes a function's for none
    if not inspect.isroutine(source) and not inspect.ismethod(function):
        raise InvalidTool(
            f"tool {name!r}: no schema can be made from {source!r}; wrap it in a function with "
            "type hints",
            tool=name,
        )
    return _structured(function, name, description, parse_docstring="Args:" in doc)


def schema_of(tool: BaseTool) -> Schema:
    """The JSON schema of what a model fills in."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return cast("Schema", schema)
    if issubclass(schema, BaseModel):
        return schema.model_json_schema()
    return schema.schema()  # a model of pydantic's first version


def is_closed(tool: BaseTool) -> bool:
    """Whether arguments that the schema does not name are mistakes: the function takes no more."""
    schema = tool.args_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return False
    return schema.model_config.get("extra") != "allow" and "kwargs" not in schema.model_fields


def _structured(
    function: Callable[..., object], name: str, description: str | None, *, parse_docstring: bool
) -> BaseTool:
    is_async = inspect.iscoroutinefunction(function)
    try:
        return StructuredTool.from_function(
            func=None if is_async else function,
            coroutine=cast("Callable[..., Awaitable[object]]", function) if is_async else None,
            name=name,
            description=description,
            parse_docstring=parse_docstring,
        )
    except Exception as error:  # LangChain and pydantic raise many kinds over a signature
        if parse_docstring:  # the docstring's "Args:" may be prose or out of date
            return _structured(function, name, description, parse_docstring=False)
        raise InvalidTool(
            f"tool {name!r}: no schema can be made from its signature "
            f"({type(error).__name__}: {error}); use type hints that pydantic knows",
            tool=name,
        ) from error


def _tool_of_model(
    model: type[BaseModel], *, name: str | None, description: str | None
) -> BaseTool:
    """The fields are the arguments; an instance that can be called does the work.

    Without `__call__` the result is the data itself: a model's way to hand in a form.
    """
    name = name if name is not None else model.__name__
    check_name(name, repr(model))
    description = description or (model.__doc__ and inspect.cleandoc(model.__doc__))
    if not description:  # inspect.getdoc would take BaseModel's own
        raise InvalidTool(
            f"tool {name!r} has no description, so no model can know when to call it: give the "
            f"pydantic model a docstring, or use ToolSpec.of({name}, description=...)",
            tool=name,
        )
    work = getattr(model, "__call__", None) if "__call__" in dir(model) else None  # noqa: B004

    def call(**arguments: object) -> object:
        filled = model.model_validate(arguments)
        return filled if work is None else work(filled)

    async def acall(**arguments: object) -> object:
        return await cast("Callable[[BaseModel], Awaitable[object]]", work)(
            model.model_validate(arguments)
        )

    schema = cast("Schema", model.model_json_schema())
    if model.model_config.get("extra") != "allow":
        schema["additionalProperties"] = False
    is_async = inspect.iscoroutinefunction(work)
    return StructuredTool.from_function(
        func=None if is_async else call,
        coroutine=acall if is_async else None,
        name=name,
        description=description,
        args_schema=schema,
    )
