"""A task carried through its nodes without LangGraph, where nothing is stored or streamed between.

LangGraph's loop reads, copies and versions every field of the state at each node, which is what a
checkpoint is made of. Without one that is over half of what a short task costs.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.runnables import RunnableConfig

from agentkit.graph import Node
from agentkit.state import AgentState, append, transcript


def walk(nodes: Mapping[str, Node], state: AgentState, config: RunnableConfig) -> AgentState:
    """The state at the end, as the graph would have it."""
    at = next(iter(nodes))
    while at in nodes:
        update = nodes[at].act(state, config)
        at = nodes[at].after(state, update)
        state = _updated(state, update)
    return state


async def awalk(nodes: Mapping[str, Node], state: AgentState, config: RunnableConfig) -> AgentState:
    """As `walk`, on the event loop."""
    at = next(iter(nodes))
    while at in nodes:
        update = await nodes[at].aact(state, config)
        at = nodes[at].after(state, update)
        state = _updated(state, update)
    return state


def _updated(state: AgentState, update: AgentState) -> AgentState:
    if "messages" not in update:
        return {**state, **update}
    return {**state, **update, "messages": append(transcript(state), update["messages"])}
