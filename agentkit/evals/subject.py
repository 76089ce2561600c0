"""What is tried: each model alone, and all of them as a cascade; and the agents that try it."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import StructuredTool

from agentkit.agent import Agent
from agentkit.evals.case import Case
from agentkit.tools.catalogue import ToolCatalogue, ToolSpec

CASCADE = "cascade"
_KEPT_AGENTS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One way to answer: `models` are places in the run's list of models, cheap to dear."""

    name: str
    models: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What an agent is made of."""

    models: tuple[BaseChatModel, ...]
    tools: ToolCatalogue
    system: str


MakeAgent = Callable[[Subject], Agent]


def settings_of(models: Sequence[str], *, cascade: bool = True) -> tuple[Setting, ...]:
    """Each model alone, under its own name, and the cascade where there are several."""
    names = [name if models.count(name) == 1 else f"{name} #{n}" for n, name in enumerate(models)]
    found = [Setting(name=name, models=(place,)) for place, name in enumerate(names)]
    if cascade and len(models) > 1:
        found.append(Setting(name=CASCADE, models=tuple(range(len(models)))))
    return tuple(found)


class Subjects:
    """The agents of a run, made when they are needed: one for each setting, tools and system."""

    def __init__(
        self,
        models: Sequence[BaseChatModel],
        make: MakeAgent,
        *,
        tools: ToolCatalogue | None = None,
        system: str = "",
    ) -> None:
        self._models = tuple(models)
        self._make = make
        self._tools = tools if tools is not None else ToolCatalogue()
        self._system = system
        self._agents: OrderedDict[tuple[str, str, str], Agent] = OrderedDict()
        self._lock = threading.Lock()

    def agent(self, setting: Setting, case: Case) -> Agent:
        """The agent for a case; raises what `Agent` raises."""
        system = self._system if case.system is None else case.system
        key = (setting.name, json.dumps(list(case.tools), sort_keys=True), system)
        with self._lock:
            known = self._agents.get(key)
            if known is None:
                tools = offered_tools(case.tools) if case.tools else self._tools
                models = tuple(self._models[place] for place in setting.models)
                known = self._make(Subject(models=models, tools=tools, system=system))
                self._agents[key] = known
                if len(self._agents) > _KEPT_AGENTS:
                    self._agents.popitem(last=False)
            self._agents.move_to_end(key)
            return known


def offered_tools(definitions: Sequence[Mapping[str, Any]]) -> ToolCatalogue:
    """Tools that are offered and do nothing: a call that fits one ends the task.

    Raises ToolError for a definition that cannot be offered.
    """
    return ToolCatalogue([_offered(definition) for definition in definitions])


def _offered(definition: Mapping[str, Any]) -> ToolSpec:
    def called(**arguments: object) -> str:
        return f"called with {len(arguments)} arguments"

    tool = StructuredTool.from_function(
        func=called,
        name=str(definition["name"]),
        description=str(definition["description"]),
        args_schema=dict(definition["parameters"]),
    )
    return ToolSpec.of(tool, return_direct=True)
