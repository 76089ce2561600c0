"""The graph of a task: prepare → think → act → prepare …, and land as the one way out.

Four nodes, for every LangGraph superstep costs 1.5-2 ms and a checkpoint. Each is thin: it looks up
the running task and calls one function.
"""

# LangGraph's overloads are partly untyped, which strict checking reports at every use:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agentkit.checkpoint import Checkpointer
from agentkit.effects import Work as _Work
from agentkit.effects import adrive, drive
from agentkit.run import Run
from agentkit.state import AgentState, fresh

Graph = CompiledStateGraph[AgentState, None, AgentState, AgentState]
Work = _Work[AgentState]


class Steps(Protocol):
    """What the nodes call; the agent implements it."""

    def run_of(self, state: AgentState, config: RunnableConfig) -> Run: ...

    def prepare(self, state: AgentState, run: Run) -> Work: ...

    def think(self, state: AgentState, run: Run) -> Work: ...

    def act(self, state: AgentState, run: Run) -> AgentState: ...

    async def aact(self, state: AgentState, run: Run) -> AgentState: ...

    def land(self, state: AgentState, run: Run) -> Work: ...


def build_graph(steps: Steps, *, name: str, checkpointer: Checkpointer | None) -> Graph:
    """The compiled LangGraph graph; works with `invoke`, `ainvoke`, `stream` and `astream`."""

    def begun(state: AgentState, config: RunnableConfig) -> tuple[AgentState, Work]:
        if state.get("outcome") is None:
            return {}, steps.prepare(state, steps.run_of(state, config))
        anew: AgentState = {**state, **fresh()}  # an earlier task of this thread has ended
        return fresh(), steps.prepare(anew, steps.run_of(anew, config))

    def prepare(state: AgentState, config: RunnableConfig) -> AgentState:
        before, work = begun(state, config)
        return {**before, **drive(work)}

    async def aprepare(state: AgentState, config: RunnableConfig) -> AgentState:
        before, work = begun(state, config)
        return {**before, **(await adrive(work))}

    def act(state: AgentState, config: RunnableConfig) -> AgentState:
        return steps.act(state, steps.run_of(state, config))

    async def aact(state: AgentState, config: RunnableConfig) -> AgentState:
        return await steps.aact(state, steps.run_of(state, config))

    graph: StateGraph[AgentState, None, AgentState, AgentState] = StateGraph(AgentState)
    graph.add_node("prepare", RunnableLambda(prepare, afunc=aprepare, name="prepare"))
    graph.add_node("think", _node(steps, steps.think))
    graph.add_node("act", RunnableLambda(act, afunc=aact, name="act"))
    graph.add_node("land", _node(steps, steps.land))
    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", _after_prepare)
    graph.add_conditional_edges("think", _after_think)
    graph.add_conditional_edges("act", _after_act)
    graph.add_edge("land", END)
    return graph.compile(checkpointer=checkpointer, name=name)


def _node(steps: Steps, work: Callable[[AgentState, Run], Work]) -> Any:
    """A node that carries out `work` in a thread or on the event loop."""

    def node(state: AgentState, config: RunnableConfig) -> AgentState:
        return drive(work(state, steps.run_of(state, config)))

    async def anode(state: AgentState, config: RunnableConfig) -> AgentState:
        return await adrive(work(state, steps.run_of(state, config)))

    return RunnableLambda(node, afunc=anode, name=work.__name__)


def _after_prepare(state: AgentState) -> Literal["think", "land"]:
    return "land" if state.get("ending") else "think"


def _after_think(state: AgentState) -> Literal["act", "land"]:
    return "land" if state.get("ending") else "act"


def _after_act(state: AgentState) -> Literal["prepare", "land"]:
    return "land" if state.get("ending") else "prepare"
