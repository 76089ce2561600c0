"""think: ask the cheapest tier that can; escalate on evidence; pay for every attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.asking import ask_person
from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.errors import BudgetError, BudgetExceeded, DeadlineExceeded
from agentkit.budgets.event import Land
from agentkit.budgets.journal import CallRecord
from agentkit.cascade import review
from agentkit.effects import Blocking, Reply, Work
from agentkit.metering import Call, message_of, metered_call
from agentkit.models.provider import describe
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.nodes.provide import schemas_of
from agentkit.nodes.sent import Sent
from agentkit.run import Run
from agentkit.state import AgentState
from agentkit.tools.provision.toolbox import Toolbox

_FINISH = "finish_reason"
_CUT = frozenset({"length", "max_tokens"})


def think(
    state: AgentState,
    run: Run,
    *,
    tiers: Sequence[Tier],
    toolbox: Toolbox,
    system: BaseMessage | None,
) -> Work[AgentState]:
    """One answer from the cheapest tier that is sure enough, or why there is none.

    Where a person is to be asked about the budget, that comes first.
    """
    if state.get("asking"):
        answer = ask_person(run.task) if run.can_ask else Land()
        run.task.decide(answer, once=f"asked at step {state.get('step', 0)}")
    wish = run.task.wish
    if wish in ("land", "stop"):
        return {
            "asking": False,
            "ending": "budget" if wish == "land" else "stopped",
            "reason": f"a budget callback asked to {wish}",
        }
    update = yield from _ask_tiers(state, run, tiers, toolbox, system)
    return {**update, "asking": False} if state.get("asking") else update


def _ask_tiers(
    state: AgentState,
    run: Run,
    tiers: Sequence[Tier],
    toolbox: Toolbox,
    system: BaseMessage | None,
) -> Work[AgentState]:
    escalations = state.get("escalations", 0)
    gave_way: str | None = None
    for index in range(state.get("tier", 0), len(tiers)):
        tier = tiers[index]
        last = index + 1 == len(tiers)
        try:
            reply, record = yield from metered_call(
                run.task,
                _call(
                    state, run, tier, toolbox, system,
                    last=last, dearest=tiers[-1], escalation=gave_way,
                ),
            )  # fmt: skip
        except (BudgetExceeded, DeadlineExceeded) as refusal:
            return _ended("budget", str(refusal), index, escalations)
        except BudgetError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a client raises: a dearer tier may answer
            reason = f"{tier.label}: {describe(error)}: {_first_line(error)}"
            if last:
                return _ended("failed", reason, index, escalations)
            gave_way = describe(error)
            yield from _escalate(state, run, tier, gave_way)
            escalations += 1
            continue
        if record.accepted is not False:
            if record.reason:
                yield from _note_doubt(run, state, tier, record.reason)
            return _answered(message_of(reply), tier, escalations)
        if last:
            return _ended("failed", _nobody(record, tiers), index, escalations)
        gave_way = record.reason or "not sure enough"
        yield from _escalate(state, run, tier, gave_way)
        escalations += 1
    raise AssertionError("unreachable: the last tier always ends the loop")


def _call(
    state: AgentState,
    run: Run,
    tier: Tier,
    toolbox: Toolbox,
    system: BaseMessage | None,
    *,
    last: bool,
    dearest: Tier,
    escalation: str | None,
) -> Call:
    tools: ToolSchemas = schemas_of(state, tier, toolbox)
    sent = Sent.of(state)
    messages = sent.messages(run, system)
    kwargs = tier.tool_arguments(tools)
    fixed = tier.counter.request([] if system is None else [system], tools)
    judged = not last or not tier.writes_answers
    return Call(
        tier=tier,
        messages=messages,
        tools=tools,
        kwargs=kwargs,
        input_tokens=None if tier.exact_count else fixed + sent.tokens(run, tier),
        send=partial(_send, run, tier, messages, kwargs),
        asend=partial(_asend, run, tier, messages, kwargs),
        step=state.get("step", 0),
        review=partial(review, toolbox=toolbox, last=last) if judged else None,
        resolved=toolbox.resolved,
        observer=run,
        parts=run.parts(tier, messages, tools),
        escalation=escalation,
        dearest=dearest,
    )


def _send(
    run: Run,
    tier: Tier,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    held: HeldCall,
    seconds: float | None,
) -> Reply:
    with run.trace.inside_call(held):
        arguments = tier.call_arguments(held.max_output_tokens, seconds, run.task_id)
        return tier.model.invoke(list(messages), **{**kwargs, **arguments})


async def _asend(
    run: Run,
    tier: Tier,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    held: HeldCall,
    seconds: float | None,
) -> Reply:
    with run.trace.inside_call(held):
        arguments = tier.call_arguments(held.max_output_tokens, seconds, run.task_id)
        return await tier.model.ainvoke(list(messages), **{**kwargs, **arguments})


def _escalate(state: AgentState, run: Run, tier: Tier, reason: str) -> Work[None]:
    step = state.get("step", 0)
    run.trace.escalation(step=step, tier=tier.index, to_tier=tier.index + 1, reason=reason)
    note = partial(
        run.task.note,
        "escalation",
        f"{tier.label} gave way: {reason}",
        step=step,
        data={"tier": tier.index, "to_tier": tier.index + 1, "reason": reason},
    )
    yield Blocking(note, run.task.ledger.store.blocking)


def _note_doubt(run: Run, state: AgentState, tier: Tier, reason: str) -> Work[None]:
    """An unsure answer of the dearest tier stands, but not in silence."""
    note = partial(
        run.task.note,
        "doubt",
        f"{tier.label} would have given way: {reason}",
        step=state.get("step", 0),
        data={"tier": tier.index, "reason": reason},
    )
    yield Blocking(note, run.task.ledger.store.blocking)


def _answered(message: AIMessage, tier: Tier, escalations: int) -> AgentState:
    update: AgentState = {"tier": tier.index, "escalations": escalations}
    if message.tool_calls or message.invalid_tool_calls:
        return {**update, "messages": [message]}
    was_cut = message.response_metadata.get(_FINISH) in _CUT or (
        message.response_metadata.get("stop_reason") in _CUT
    )
    if not message.text.strip():
        why = " within its output limit" if was_cut else ""
        return {
            **update,
            "ending": "failed",
            "reason": f"{tier.label} answered with nothing{why}",
        }
    return {
        **update,
        "messages": [message],
        "ending": "answer",
        "answer": message.text,
        "reason": "the answer was cut at its output limit" if was_cut else None,
    }


def _ended(ending: Any, reason: str, tier: int, escalations: int) -> AgentState:
    return {"ending": ending, "reason": reason, "tier": tier, "escalations": escalations}


def _nobody(record: CallRecord, tiers: Sequence[Tier]) -> str:
    dearest = tiers[-1].label
    return (
        f"{record.reason}; {dearest} is the dearest tier here: add one above it, "
        "like models=[..., 'openai:gpt-5-mini']"
    )


def _first_line(error: Exception) -> str:
    """The start of a provider's message; it goes to the caller, not to logs or traces."""
    return (str(error).splitlines() or [""])[0][:300]
