"""prepare: which part of the transcript the next step sends, and which tools it offers."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from agentkit.effects import Work
from agentkit.errors import ConfigError
from agentkit.models.tier import Tier
from agentkit.nodes.condense import condense
from agentkit.nodes.provide import provide, schemas_of
from agentkit.nodes.sent import Sending
from agentkit.past_tools import past_tools
from agentkit.run import Run
from agentkit.state import AgentState, is_request, transcript
from agentkit.tools.provision.toolbox import Toolbox


def begin(state: AgentState) -> BaseMessage:
    """The request of the task: the last message of a person."""
    return transcript(state)[_request_at(transcript(state))]


def prepare(
    state: AgentState,
    run: Run,
    *,
    tiers: Sequence[Tier],
    toolbox: Toolbox,
    system: BaseMessage | None,
) -> Work[AgentState]:
    """Begin a step: count it, offer its tools, and condense earlier turns where that pays."""
    run.task.keep_landing()
    messages = transcript(state)
    update: AgentState = {"step": state.get("step", 0) + 1, "task_id": run.task_id}
    if update["step"] == 1:
        state = {**state, "request_at": _request_at(messages), "context": {}}
        update["request_at"] = state["request_at"]
    tier = tiers[state.get("tier", 0)]
    together = yield from past_tools(run, toolbox)
    provided = provide(state, run, tier=tier, toolbox=toolbox, system=system, together=together)
    if notes := provided.get("messages"):
        messages = [*messages, *notes]
    state = {**state, **provided, "messages": messages}
    tools = schemas_of(state, tier, toolbox)
    sending = Sending(state=state, run=run, tier=tier, tools=tools, system=system)
    condensed = yield from condense(sending, tiers)
    if run.task.wish == "ask":
        update["asking"] = True
    return {**update, **provided, "context": run.context.to_dict(condensed)}


def _request_at(messages: Sequence[BaseMessage]) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if is_request(messages[index]):
            return index
    raise ConfigError("there is no message of a person to answer; add a HumanMessage")
