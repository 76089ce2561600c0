"""The tools that a task may use: what a model is told of each, and how each is run."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentkit.tools.errors import DuplicateTool, InvalidTool
from agentkit.tools.functions import Schema, ToolSource, is_closed, schema_of, tool_of
from agentkit.tools.injection import InjectedArguments, injected_arguments
from agentkit.tools.naming import check_name

if TYPE_CHECKING:
    from agentkit.tools.arguments import ArgumentCheck
    from agentkit.tools.isolation import Reference

__all__ = ["CostClass", "Schema", "SideEffect", "ToolCatalogue", "ToolSource", "ToolSpec"]

SideEffect = Literal["read", "write", "spend"]
CostClass = Literal["free", "low", "high"]


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """One tool of a catalogue; make it with `ToolSpec.of`.

    `schema` is the original JSON schema of the arguments that the model fills in, without injected
    ones. `timeout_seconds` and `max_result_bytes` override the step's limits; None keeps them.
    `cost` is what one call costs outside of the models; `group` names the server or API that the
    tool belongs to. A failed call of a tool that only reads is tried `max_attempts` times. An
    `isolated` one runs in a process of its own, which its timeout ends. `max_calls` and `max_bytes`
    are for a whole task, which lands where one is passed. For `cache_seconds` a result serves the
    same call of the same tenant and user again; a LangChain tool may say so in its `metadata`.
    """

    name: str
    description: str
    schema: Schema
    side_effect: SideEffect
    timeout_seconds: float | None
    max_result_bytes: int | None
    max_calls: int | None
    max_bytes: int | None
    return_direct: bool
    injected: InjectedArguments
    tool: BaseTool
    tags: tuple[str, ...] = ()
    cost: CostClass = "free"
    group: str = ""
    max_attempts: int = 1
    isolated: bool = False
    cache_seconds: float | None = None

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
        max_calls: int | None = None,
        max_bytes: int | None = None,
        return_direct: bool | None = None,
        tags: Iterable[str] | None = None,
        cost: CostClass | None = None,
        group: str | None = None,
        max_attempts: int | None = None,
        isolated: bool | None = None,
        cache_seconds: float | None = None,
    ) -> ToolSpec:
        """A tool with what its function cannot say; what is None is taken from the source.

        Without `side_effect` a tool counts as "read": it may run beside others of its step, and
        whoever gave it to an agent has granted it. A tool declared "write" or "spend" has to be
        granted (`Permissions`). Raises InvalidTool where the source cannot be offered.
        """
        spec = (
            source
            if isinstance(source, ToolSpec)
            else _spec_of(tool_of(source, name=name, description=description))
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
            max_calls=spec.max_calls if max_calls is None else max_calls,
            max_bytes=spec.max_bytes if max_bytes is None else max_bytes,
            return_direct=spec.return_direct if return_direct is None else return_direct,
            tags=spec.tags if tags is None else tuple(tags),
            cost=cost or spec.cost,
            group=spec.group if group is None else group,
            max_attempts=spec.max_attempts if max_attempts is None else max_attempts,
            isolated=spec.isolated if isolated is None else isolated,
            cache_seconds=spec.cache_seconds if cache_seconds is None else cache_seconds,
        )
        _check(spec)
        return spec

    @functools.cached_property
    def arguments(self) -> ArgumentCheck:
        """Checks and repairs the arguments of a call against `schema`."""
        from agentkit.tools.arguments import ArgumentCheck  # loads jsonschema: first call only

        return ArgumentCheck(self.schema, closed=is_closed(self.tool))

    @functools.cached_property
    def reference(self) -> Reference:
        """Where another process finds the function; raises InvalidTool where it cannot."""
        from agentkit.tools.isolation import reference_of

        return reference_of(self)

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


def _spec_of(tool: BaseTool) -> ToolSpec:
    try:
        injected, schema = injected_arguments(tool), schema_of(tool)
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
        max_calls=None,
        max_bytes=None,
        return_direct=tool.return_direct,
        injected=injected,
        tool=tool,
        cache_seconds=_cache_seconds(tool),
    )


def _cache_seconds(tool: BaseTool) -> float | None:
    """What a LangChain tool's own metadata says."""
    value: object = (tool.metadata or {}).get("cache_seconds")
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise InvalidTool(
        f"tool {tool.name!r}: cache_seconds in its metadata is {value!r}; give a number",
        tool=tool.name,
    )


def _renamed(spec: ToolSpec, name: str, description: str) -> ToolSpec:
    tool = spec.tool.model_copy(update={"name": name, "description": description})
    return replace(spec, name=name, description=description, tool=tool)


def _check(spec: ToolSpec) -> None:
    check_name(spec.name, spec.origin)
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
    for field in ("timeout_seconds", "max_result_bytes", "max_calls", "max_bytes", "cache_seconds"):
        value = getattr(spec, field)
        if value is not None and not 0 < value < math.inf:
            raise InvalidTool(
                f"tool {spec.name!r}: {field} is {value!r}; give a number above 0, or None for "
                "no limit of its own",
                tool=spec.name,
            )
    if spec.max_attempts < 1 or (spec.max_attempts > 1 and spec.side_effect != "read"):
        raise InvalidTool(
            f"tool {spec.name!r}: max_attempts is {spec.max_attempts!r}; give 1 or more, and 1 for "
            f"a tool that is not 'read' (this one is {spec.side_effect!r}): a failed call may have "
            "had its effect",
            tool=spec.name,
        )
    if spec.cache_seconds is not None and (spec.side_effect != "read" or spec.injected.names):
        why = (
            f"it is {spec.side_effect!r}, and what it does must be done each time"
            if spec.side_effect != "read"
            else f"{', '.join(sorted(spec.injected.names))} is injected, and nothing can tell "
            "whether its result depends on that"
        )
        raise InvalidTool(f"tool {spec.name!r} cannot have cache_seconds: {why}", tool=spec.name)
    if spec.isolated:
        spec.reference  # noqa: B018  raises where no other process could find the function
    if isinstance(spec.tool.args_schema, dict):
        spec.arguments.check_schema(spec.name)
