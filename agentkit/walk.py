"""A task carried through its nodes without LangGraph's loop, for fan-outs.

LangGraph's loop reads, copies and versions every field of the state at each node and stores it:
over half of what a short task costs. A walk keeps checkpoints of the same graph, but only where
another process needs them: at the start, after tools have run, at the end, and where an exception
leaves it. In between, the paid answers are in the ledger, and the same requests find them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    empty_checkpoint,
)

from agentkit.budgets.task import Task
from agentkit.checkpoint import Checkpointer
from agentkit.effects import off_loop
from agentkit.graph import Graph, Node
from agentkit.state import AgentState, append, transcript


class Keeper:
    """Keeps the states of one walk as checkpoints that the graph of the same nodes goes on from."""

    def __init__(
        self, graph: Graph, saver: Checkpointer, config: RunnableConfig, task: Task
    ) -> None:
        self._task = task
        task.responses.outlast = True
        self._triggers = {name: node.triggers for name, node in graph.nodes.items()}
        self._saver = saver
        thread = config.get("configurable", {})["thread_id"]
        self._at: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self._kept: dict[str, Any] = {}
        self._versions: ChannelVersions = {}
        self._version: str | int | float | None = None
        self._steps = itertools.count()

    def keep(self, state: AgentState, onward: str) -> None:
        """Store `state` with the node `onward` to come; raises what the checkpointer raises."""
        values: dict[str, Any] = {**state, **dict.fromkeys(self._triggers.get(onward, ()))}
        changed = [k for k, v in values.items() if k not in state or self._kept.get(k) is not v]
        version: str | int | float = self._saver.get_next_version(self._version, None)
        new_versions: ChannelVersions = dict.fromkeys(changed, version)
        self._version = version
        self._versions = {**self._versions, **new_versions}
        checkpoint: Checkpoint = {
            **empty_checkpoint(),
            "channel_values": values,
            "channel_versions": self._versions,
        }
        told: CheckpointMetadata = {"source": "loop", "step": next(self._steps), "parents": {}}
        self._at = self._saver.put(self._at, checkpoint, told, new_versions)
        self._kept = {**state}
        if onward not in self._triggers:
            self._task.forget_responses()

    async def akeep(self, state: AgentState, onward: str) -> None:
        """As `keep`, off the event loop; a cancellation is raised once it is stored."""
        _, cancelled = await off_loop(partial(self.keep, state, onward))
        if cancelled is not None:
            raise cancelled


def walk(
    nodes: Mapping[str, Node], state: AgentState, config: RunnableConfig, keeper: Keeper | None
) -> AgentState:
    """The state at the end, as the graph would have it; kept before each step, and at the end."""
    at = first = next(iter(nodes))
    try:
        while at in nodes:
            node = nodes[at]
            if keeper is not None and at == first:
                keeper.keep(state, at)
            update = node.act(state, config)
            at = node.after(state, update)
            state = _updated(state, update)
    finally:
        if keeper is not None:
            keeper.keep(state, at)
    return state


async def awalk(
    nodes: Mapping[str, Node], state: AgentState, config: RunnableConfig, keeper: Keeper | None
) -> AgentState:
    """As `walk`, on the event loop."""
    at = first = next(iter(nodes))
    try:
        while at in nodes:
            node = nodes[at]
            if keeper is not None and at == first:
                await keeper.akeep(state, at)
            update = await node.aact(state, config)
            at = node.after(state, update)
            state = _updated(state, update)
    finally:
        if keeper is not None:
            await keeper.akeep(state, at)
    return state


def _updated(state: AgentState, update: AgentState) -> AgentState:
    if "messages" not in update:
        return {**state, **update}
    return {**state, **update, "messages": append(transcript(state), update["messages"])}
