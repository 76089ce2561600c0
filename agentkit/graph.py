"""The graph of a task: prepare → think → act → prepare …, and land as the one way out.

Four nodes, for every LangGraph superstep costs 1.5-2 ms and a checkpoint. Each is thin: it looks up
the running task and calls one function.
"""

# LangGraph's overloads are partly untyped, which strict checking reports at every use:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from agentkit.checkpoint import Checkpointer
from agentkit.effects import Blocking, adrive, drive
from agentkit.effects import Work as _Work
from agentkit.run import Run
from agentkit.state import AgentState, fresh

Graph = CompiledStateGraph[AgentState, None, AgentState, AgentState]
Work = _Work[AgentState]


class Steps(Protocol):
    """What the nodes call; the agent implements it."""

    def run_of(self, state: AgentState, config: RunnableConfig) -> Run: ...

    def opening_waits(self, state: AgentState) -> bool: ...

    def prepare(self, state: AgentState, run: Run) -> Work: ...

    def think(self, state: AgentState, run: Run) -> Work: ...

    def act(self, state: AgentState, run: Run) -> AgentState: ...

    async def aact(self, state: AgentState, run: Run) -> AgentState: ...

    def land(self, state: AgentState, run: Run) -> Work: ...


def nodes_of(steps: Steps) -> Mapping[str, Node]:
    """The four nodes by name, the first one first."""

    def begin(state: AgentState, config: RunnableConfig) -> Work:
        anew = state.get("outcome") is not None  # an earlier task of this thread has ended
        before: AgentState = fresh() if anew else {}
        state = {**state, **before}
        waits = steps.opening_waits(state)
        run: Run = yield Blocking(partial(steps.run_of, state, config), waits)
        update = yield from steps.prepare(state, run)
        return {**before, **update}

    def prepare(state: AgentState, config: RunnableConfig) -> AgentState:
        return drive(begin(state, config))

    async def aprepare(state: AgentState, config: RunnableConfig) -> AgentState:
        return await adrive(begin(state, config))

    def act(state: AgentState, config: RunnableConfig) -> AgentState:
        return steps.act(state, steps.run_of(state, config))

    async def aact(state: AgentState, config: RunnableConfig) -> AgentState:
        return await steps.aact(state, steps.run_of(state, config))

    think, athink = _carried_out(steps, steps.think)
    land, aland = _carried_out(steps, steps.land)
    return {
        "prepare": Node("prepare", prepare, aprepare, onward="think"),
        "think": Node("think", think, athink, onward="act"),
        "act": Node("act", act, aact, onward="prepare"),
        "land": Node("land", land, aland, onward=END),
    }


def build_graph(
    nodes: Mapping[str, Node], *, name: str, checkpointer: Checkpointer | None
) -> Graph:
    """The compiled LangGraph graph; works with `invoke`, `ainvoke`, `stream` and `astream`."""
    graph: StateGraph[AgentState, None, AgentState, AgentState] = StateGraph(AgentState)
    graph.add_edge(START, next(iter(nodes)))
    for label, node in nodes.items():
        graph.add_node(label, node, destinations=node.destinations)
    return graph.compile(checkpointer=checkpointer, name=name)


_Act = Callable[[AgentState, RunnableConfig], AgentState]
_AsyncAct = Callable[[AgentState, RunnableConfig], Awaitable[AgentState]]


class Node(Runnable[AgentState, Command[str]]):
    """A node for threads and for event loops, which goes `onward`, or to land with an ending.

    A RunnableLambda would look its functions' signatures up at each call and trace a run of its own
    inside LangGraph's, and a conditional edge would read the whole state again: together that was
    half of what a step cost.
    """

    def __init__(self, name: str, act: _Act, aact: _AsyncAct, *, onward: str) -> None:
        self.name = name
        self.act = act
        self.aact = aact
        self._onward = onward

    @property
    def destinations(self) -> tuple[str, ...]:
        """Where it may lead."""
        return (END,) if self._onward == END else (self._onward, "land")

    def after(self, state: AgentState, update: AgentState) -> str:
        """Where it leads from `state` with what it made of it."""
        ending = update["ending"] if "ending" in update else state.get("ending")
        return "land" if ending is not None and self._onward != END else self._onward

    def invoke(
        self, input: AgentState, config: RunnableConfig | None = None, **_: Any
    ) -> Command[str]:
        update = self.act(input, config or ensure_config())
        return Command(update=update, goto=self.after(input, update))

    async def ainvoke(
        self, input: AgentState, config: RunnableConfig | None = None, **_: Any
    ) -> Command[str]:
        update = await self.aact(input, config or ensure_config())
        return Command(update=update, goto=self.after(input, update))


def _carried_out(steps: Steps, work: Callable[[AgentState, Run], Work]) -> tuple[_Act, _AsyncAct]:
    """What carries out `work` in a thread, and on an event loop."""

    def act(state: AgentState, config: RunnableConfig) -> AgentState:
        return drive(work(state, steps.run_of(state, config)))

    async def aact(state: AgentState, config: RunnableConfig) -> AgentState:
        return await adrive(work(state, steps.run_of(state, config)))

    return act, aact
