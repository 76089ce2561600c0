"""The tools that a task may use: what a model is told of each, and how each is run."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from agentkit.tools.errors import DuplicateTool, InvalidTool
from agentkit.tools.injection import InjectedArguments, injected_arguments

if TYPE_CHECKING:
    from agentkit.tools.arguments import ArgumentCheck

SideEffect = Literal["read", "write", "spend"]
ToolSource = Callable[..., object] | BaseTool
Schema = dict[str, object]

# What every provider accepts: OpenAI and Anthropic both allow these 64 characters.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """One tool of a catalogue; make it with `ToolSpec.of`.

    `schema` is the original JSON schema of the arguments that the model fills in, without injected
    ones. `timeout_seconds` and `max_result_bytes` override the step's limits; None keeps them.
    """

    name: str
    description: str
    schema: Schema
    side_effect: SideEffect
    timeout_seconds: float | None
    max_result_bytes: int | None
    return_direct: bool
    injected: InjectedArguments
    tool: BaseTool

    @classmethod
    def of(
        cls,
        source: ToolSource | ToolSpec,
        *,
        name: str | None = None,
        description: str | None = None,
        side_effect: SideEffect | None = None,
        timeout_seconds: float | None = None,
        max_result_bytes: int | None = None,
        return_direct: bool | None = None,
    ) -> ToolSpec:
        """A tool with what its function cannot say; what is None is taken from the source.

        Without `side_effect` a tool counts as "read": it may run beside others of its step.
        Raises InvalidTool where the source cannot be offered.
        """
        spec = (
            source
            if isinstance(source, ToolSpec)
            else _spec_of(_tool_of(source, name=name, description=description))
        )
        if name is not None or description is not None:
            spec = _renamed(spec, name or spec.name, description or spec.description)
        spec = replace(
            spec,
            side_effect=side_effect or spec.side_effect,
            timeout_seconds=spec.timeout_seconds if timeout_seconds is None else timeout_seconds,
            max_result_bytes=(
                spec.max_result_bytes if max_result_bytes is None else max_result_bytes
            ),
            return_direct=spec.return_direct if return_direct is None else return_direct,
        )
        _check(spec)
        return spec

    @functools.cached_property
    def arguments(self) -> ArgumentCheck:
        """Checks and repairs the arguments of a call against `schema`."""
        from agentkit.tools.arguments import ArgumentCheck  # loads jsonschema: first call only

        return ArgumentCheck(self.schema, closed=_is_closed(self.tool))

    @functools.cached_property
    def openai_schema(self) -> Schema:
        """The definition as OpenAI-compatible APIs take it; do not change it."""
        return cast("Schema", convert_to_openai_tool(self.tool))

    @property
    def origin(self) -> str:
        """Where the tool was defined, for messages: `module.function` or the tool's class."""
        function: object = self.tool
        if isinstance(self.tool, StructuredTool):
            function = self.tool.func or self.tool.coroutine or self.tool
        if not hasattr(function, "__qualname__"):
            function = type(function)
        return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"


class ToolCatalogue:
    """Tools by name, in the order given; that order is the order in which they are offered.

    >>> def add(a: int, b: int) -> int:
    ...     "Add two whole numbers."
    ...     return a + b
    >>> ToolCatalogue([add]).names
    ('add',)
    """

    def __init__(self, sources: Iterable[ToolSource | ToolSpec] | ToolCatalogue = (), /) -> None:
        """Takes functions, LangChain tools, ToolSpecs, or the tools of another catalogue.

        Raises InvalidTool or DuplicateTool.
        """
        specs: dict[str, ToolSpec] = {}
        for source in sources:
            spec = source if isinstance(source, ToolSpec) else ToolSpec.of(source)
            if (first := specs.get(spec.name)) is not None:
                raise DuplicateTool(spec.name, first=first.origin, second=spec.origin)
            specs[spec.name] = spec
        self._specs: Mapping[str, ToolSpec] = specs

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._specs)

    def get(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        return self._specs.get(name)

    def openai_schemas(self) -> tuple[Schema, ...]:
        """The definitions as OpenAI-compatible APIs take them, in order; do not change them."""
        return self._openai_schemas

    @functools.cached_property
    def _openai_schemas(self) -> tuple[Schema, ...]:
        return tuple(spec.openai_schema for spec in self)

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self._specs.values())

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __repr__(self) -> str:
        return f"ToolCatalogue({list(self.names)!r})"


def _tool_of(source: ToolSource, *, name: str | None, description: str | None) -> BaseTool:
    if isinstance(source, BaseTool):
        return source
    if inspect.isclass(source) or not callable(source):
        raise InvalidTool(
            f"{source!r} is not a tool: give a function, a LangChain tool or a ToolSpec",
            tool=repr(source),
        )
    name = name if name is not None else str(getattr(source, "__name__", ""))
    _check_name(name, repr(source))
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


def _spec_of(tool: BaseTool) -> ToolSpec:
    try:
        injected, schema = injected_arguments(tool), _schema_of(tool)
    except Exception as error:  # a schema class may raise anything; pydantic alone has many kinds
        raise InvalidTool(
            f"tool {tool.name!r}: its schema cannot be read ({type(error).__name__}: {error})",
            tool=tool.name,
        ) from error
    return ToolSpec(
        name=tool.name,
        description=tool.description,
        schema=schema,
        side_effect="read",
        timeout_seconds=None,
        max_result_bytes=None,
        return_direct=tool.return_direct,
        injected=injected,
        tool=tool,
    )


def _schema_of(tool: BaseTool) -> Schema:
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return cast("Schema", schema)
    if issubclass(schema, BaseModel):
        return schema.model_json_schema()
    return schema.schema()  # a model of pydantic's first version


def _renamed(spec: ToolSpec, name: str, description: str) -> ToolSpec:
    tool = spec.tool.model_copy(update={"name": name, "description": description})
    return replace(spec, name=name, description=description, tool=tool)


def _check(spec: ToolSpec) -> None:
    _check_name(spec.name, spec.origin)
    if not spec.description.strip():
        raise InvalidTool(
            f"tool {spec.name!r} has an empty description, so no model can know when to call it: "
            "use ToolSpec.of(tool, description=...)",
            tool=spec.name,
        )
    if spec.schema.get("type", "object") != "object":
        raise InvalidTool(
            f"tool {spec.name!r}: the schema of its arguments is of type "
            f"{spec.schema['type']!r}; models can only send an object",
            tool=spec.name,
        )
    for field in ("timeout_seconds", "max_result_bytes"):
        value = getattr(spec, field)
        if value is not None and not 0 < value < math.inf:
            raise InvalidTool(
                f"tool {spec.name!r}: {field} is {value!r}; give a number above 0, or None for "
                "the limits of the step",
                tool=spec.name,
            )
    if isinstance(spec.tool.args_schema, dict):
        spec.arguments.check_schema(spec.name)


def _check_name(name: str, origin: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidTool(
            f"{name!r} ({origin}) is no name for a tool: 1 to 64 letters, digits, '_' or '-'; "
            "use ToolSpec.of(tool, name=...)",
            tool=name,
        )


def _is_closed(tool: BaseTool) -> bool:
    """Whether arguments that the schema does not name are mistakes: the function takes no more."""
    schema = tool.args_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return False
    return schema.model_config.get("extra") != "allow" and "kwargs" not in schema.model_fields
