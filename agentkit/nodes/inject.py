"""What LangGraph gives to tools beside a model's arguments: the state, the store, the runtime."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.runnables import ensure_config

from agentkit.errors import ConfigError
from agentkit.state import AgentState
from agentkit.tools.catalogue import ToolSpec
from agentkit.tools.injection import injected_hints, is_required


def injected(state: AgentState, spec: ToolSpec, call_id: str) -> Mapping[str, object]:
    """The values of a tool's injected arguments in a step, as LangGraph's ToolNode gives them."""
    from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime

    runtime = _runtime()
    given: dict[str, object] = {}
    for name, hint in injected_hints(spec.tool).items():
        marker = _marker(hint)
        if isinstance(marker, InjectedState):
            given[name] = state if marker.field is None else state.get(marker.field)
        elif isinstance(marker, InjectedStore):
            given[name] = runtime.store
        elif marker is ToolRuntime:
            given[name] = ToolRuntime(
                state=state,
                context=runtime.context,
                config=ensure_config(),
                stream_writer=runtime.stream_writer,
                tool_call_id=call_id,
                store=runtime.store,
            )
    return given


def require_injectable(specs: Iterable[ToolSpec]) -> None:
    """Raises ConfigError for a tool that needs what neither a model nor an agent can give."""
    for spec in specs:
        for name, hint in injected_hints(spec.tool).items() if spec.injected.names else ():
            if _marker(hint) is None and is_required(spec.tool, name):
                raise ConfigError(
                    f"tool {spec.name!r} needs {name!r}, which is injected: a model may not give "
                    "it, and an agent gives the state, the store and the runtime only; give it a "
                    "default, or make the tool within a function that knows it"
                )


def _runtime() -> Any:
    """LangGraph's runtime; one without a store where the agent walks its nodes by itself."""
    from langgraph.runtime import Runtime, get_runtime

    try:
        return get_runtime()
    except RuntimeError:
        return Runtime()


def _marker(hint: object) -> Any:
    """What says that an argument comes from LangGraph: an annotation, or a type of it; else None.

    An annotation may be a class, which stands for an instance of it.
    """
    from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime

    for part in _parts(hint):
        if isinstance(part, InjectedState | InjectedStore):
            return part
        if isinstance(part, type) and issubclass(part, ToolRuntime):
            return ToolRuntime
        if part is InjectedState:
            return InjectedState()
        if part is InjectedStore:
            return InjectedStore()
    return None


def _parts(hint: object) -> Iterator[object]:
    """A type, what it is a kind of, and what annotates it."""
    yield hint
    origin = typing.get_origin(hint)
    if origin is not None:
        yield origin
    yield from typing.get_args(hint)
