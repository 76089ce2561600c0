"""What a step offers: kept in the state, so that it outlives checkpoints, and only added to."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentkit.models.tier import Tier
from agentkit.nodes.sent import sent_tokens
from agentkit.run import Run
from agentkit.state import AgentState, is_request, note_of, transcript
from agentkit.tools.catalogue import Schema
from agentkit.tools.provision.placing import Place, place
from agentkit.tools.provision.together import Together
from agentkit.tools.provision.toolbox import Batch, Toolbox, name_of

_MOST_ERROR_CHARS = 200
_MOST_EARLIER_CHARS = 500
_ARGUMENTS = "invalid arguments"


def provide(
    state: AgentState,
    run: Run,
    *,
    tier: Tier,
    toolbox: Toolbox,
    system: BaseMessage | None,
    together: Together | None = None,
) -> AgentState:
    """The update that adds the tools which this step calls for; empty where it calls for none.

    What earlier tasks used `together` raises each other.
    """
    if toolbox.offers_all:
        return {}
    messages = transcript(state)
    offered = state.get("offered") or []
    if not offered:
        used = _used(messages, toolbox)
        request = messages[state.get("request_at", 0)].text
        return {"offered": [toolbox.begin(request, used=used, together=together)]}
    found = _found(state, tier, toolbox)
    names = found or toolbox.later(offered, _needs(state), together=together)
    if not names:
        return {}
    where = _place(state, run, tier, toolbox, system, names, searched=bool(found))
    batch: Batch = {"names": names, "place": where}
    update: AgentState = {"offered": [*offered, batch]}
    if where == "transcript":
        update["messages"] = [note_of(toolbox.note(names))]
    run.task.note(
        "tools",
        f"{', '.join(names)} came later, in the {where}",
        step=state.get("step", 0) + 1,
        data={"tools": names, "place": where},
    )
    return update


def schemas_of(state: AgentState, tier: Tier, toolbox: Toolbox) -> tuple[Schema, ...]:
    """The definitions that `tier` is sent at this step."""
    return toolbox.schemas(
        state.get("offered") or [],
        tier=tier.index,
        window_tokens=tier.context_tokens,
        is_local=tier.is_local,
        recalls=state.get("recalls", False),
    )


def _found(state: AgentState, tier: Tier, toolbox: Toolbox) -> list[str]:
    """What the model searched for itself, but for tools whose definitions it is sent."""
    if state.get("step", 0) == 0:
        return []
    found = toolbox.found(_latest(transcript(state)))
    defined = set(map(name_of, schemas_of(state, tier, toolbox)))
    return [name for name in found if name not in defined]


def _needs(state: AgentState) -> list[str]:
    """What a step is about: the request of a new task, else the model's last words and what failed.

    A request often goes on from the one before it, so that one is looked at too.

    An error may come from a tool, which nobody trusts: it can have a tool of the user's offered,
    and grants nothing.
    """
    messages = transcript(state)
    if state.get("step", 0) == 0:
        at = state.get("request_at", 0)
        earlier = next((m.text for m in reversed(messages[:at]) if is_request(m)), "")
        return [messages[at].text, earlier[:_MOST_EARLIER_CHARS]]
    results = _latest(messages)
    at = len(messages) - len(results)
    words = messages[at - 1].text if at else ""
    return [words, "\n".join(_errors(results))]


def _latest(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """What came after the model's last words."""
    at = len(messages)
    while at and not isinstance(messages[at - 1], AIMessage):
        at -= 1
    return messages[at:]


def _errors(messages: Sequence[BaseMessage]) -> list[str]:
    """Why calls failed, but for arguments that the same tool wants otherwise."""
    failed = [m for m in messages if isinstance(m, ToolMessage) and m.status == "error"]
    return [m.text[:_MOST_ERROR_CHARS] for m in failed if not m.text.startswith(_ARGUMENTS)]


def _used(messages: Sequence[BaseMessage], toolbox: Toolbox) -> list[str]:
    """Tools that the transcript calls: a provider may refuse calls that no definition explains."""
    calls = [
        call
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
    ]
    return [toolbox.resolved(call)["name"] or "" for call in calls]


def _place(
    state: AgentState,
    run: Run,
    tier: Tier,
    toolbox: Toolbox,
    system: BaseMessage | None,
    names: Sequence[str],
    *,
    searched: bool,
) -> Place:
    wanted = toolbox.provisioning.later
    if wanted == "definitions" or not toolbox.can_call_later:
        return "definitions"
    if wanted in ("transcript", "deferred"):
        return "transcript"
    offered = state.get("offered") or []
    head = tier.counter.request(
        [] if system is None else [system], schemas_of(state, tier, toolbox)
    )
    return place(
        run.task.ledger.prices.price(tier.name, tier.provider),
        prefix_tokens=head + sent_tokens(state, run, tier),
        tools=len(names),
        is_local=tier.is_local,
        changes=sum(batch["place"] == "definitions" for batch in offered[1:]),
        by_name=_calls_by_name(tier, searched=searched),
    )


def _calls_by_name(tier: Tier, *, searched: bool) -> bool:
    """Whether tools at the end of the transcript are called without the dispatcher.

    A reference stands in the result of a search only.
    """
    if tier.way == "tool_reference":
        return searched
    return tier.way != "described"
