"""prepare: which part of the transcript the next step sends, and which tools it offers."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from agentkit.errors import ConfigError
from agentkit.memory.window import window_start
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.nodes.provide import provide, schemas_of
from agentkit.nodes.sent import Sent
from agentkit.run import Run
from agentkit.state import AgentState, is_request, transcript
from agentkit.tools.provision.toolbox import Toolbox

_OUTPUT_SHARE = 0.25
"""Part of a model's window that stays free for its output, where the output may not need less."""


def begin(state: AgentState) -> BaseMessage:
    """The request of the task: the last message of a person."""
    return transcript(state)[_request_at(transcript(state))]


def prepare(
    state: AgentState,
    run: Run,
    *,
    tier: Tier,
    toolbox: Toolbox,
    system: BaseMessage | None,
) -> AgentState:
    """Begin a step: count it, offer its tools, and move the window where it no longer fits."""
    run.task.keep_landing()
    messages = transcript(state)
    update: AgentState = {"step": state.get("step", 0) + 1, "task_id": run.task_id}
    if update["step"] == 1:
        state = {**state, "request_at": _request_at(messages), "window_start": 0}
        update["request_at"] = state["request_at"]
    provided = provide(state, run, tier=tier, toolbox=toolbox, system=system)
    if notes := provided.get("messages"):
        messages = [*messages, *notes]
    state = {**state, **provided, "messages": messages}
    tools = schemas_of(state, tier, toolbox)
    sent = Sent.of(state)
    limit = _limit_tokens(run, tier, sent, tools, system)
    start = sent.start
    if limit is not None and sent.tokens(run, tier) > limit:
        start = window_start(
            messages,
            count=tier.counter.message,
            limit_tokens=limit - sent.pinned_tokens(tier),
            head=sent.head,
            start=sent.start,
        )
    if run.task.wish == "ask":
        update["asking"] = True
    return {**update, **provided, "window_start": start}


def _request_at(messages: Sequence[BaseMessage]) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if is_request(messages[index]):
            return index
    raise ConfigError("there is no message of a person to answer; add a HumanMessage")


def _limit_tokens(
    run: Run, tier: Tier, sent: Sent, tools: ToolSchemas, system: BaseMessage | None
) -> int | None:
    """Tokens of messages, as our counter counts them, that fit the tier's window; None if unknown.

    Beside them there is room for the tools, the system text and the output. Where the model counts
    exactly, the limit is scaled by how far our counter is off on what would be sent now.
    """
    window = tier.context_tokens
    if window is None:
        return None
    room = window - min(tier.output_tokens, int(window * _OUTPUT_SHARE))
    fixed = tier.counter.request([] if system is None else [system], tools)
    if tier.exact_count is None:
        return room - fixed
    ours = fixed + sent.tokens(run, tier)
    exact = tier.count(sent.messages(run, system), tools)
    return int(room * min(1.0, ours / max(exact, 1))) - fixed
