"""think: ask the cheapest tier that can; escalate on evidence; pay for every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.asking import ask_person
from agentkit.budgets.errors import BudgetError, BudgetExceeded, DeadlineExceeded
from agentkit.budgets.event import Land
from agentkit.budgets.journal import CallRecord, Lever
from agentkit.cascade import review
from agentkit.effects import Blocking, Work
from agentkit.memory.components import RequestParts
from agentkit.memory.context import ContextPlan, LeftOut
from agentkit.memory.misses import Miss
from agentkit.metering import Call, message_of, metered_call
from agentkit.models.provider import describe
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.nodes.provide import schemas_of
from agentkit.nodes.sent import Sending, senders
from agentkit.run import Run
from agentkit.state import AgentState
from agentkit.tools.observation import SPARED
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
            call, plan = _call(
                state, run, tier, toolbox, system,
                last=last, dearest=tiers[-1], escalation=gave_way,
            )  # fmt: skip
            reply, record = yield from metered_call(run.task, call)
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
        yield from _after(run, tier, plan, record)
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
) -> tuple[Call, ContextPlan]:
    tools: ToolSchemas = schemas_of(state, tier, toolbox)
    sending = Sending(state=state, run=run, tier=tier, tools=tools, system=system)
    plan = sending.plan()
    if plan.shortened and not last:  # a tier with a larger window may take it whole
        raise sending.too_long(plan.replay_tokens)
    kwargs = tier.tool_arguments(tools)
    sent = run.context.as_sent(plan, tier, kwargs)
    kwargs = {**kwargs, **run.context.cache_arguments(plan, tier, tools)}
    send, asend = senders(run, tier, sent, kwargs, run.task_id)
    judged = not last or not tier.writes_answers
    parts = run.parts(tier, plan, tools)
    call = Call(
        tier=tier,
        messages=plan.messages,
        tools=tools,
        kwargs=kwargs,
        input_tokens=None if tier.exact_count else plan.input_tokens,
        send=send,
        asend=asend,
        step=state.get("step", 0),
        review=partial(review, toolbox=toolbox, last=last) if judged else None,
        resolved=toolbox.resolved,
        observer=run,
        parts=parts,
        spared=_spared(run, tier, toolbox, plan, parts),
        escalation=escalation,
        dearest=dearest,
        cache_write="none" if sent is plan.messages else plan.ttl,
    )
    return call, plan


def _spared(
    run: Run, tier: Tier, toolbox: Toolbox, plan: ContextPlan, parts: RequestParts
) -> dict[Lever, int]:
    """Input tokens that levers left out of a request: tools, messages, parts of observations."""
    spared: dict[Lever, int] = {
        "summary": plan.replay_tokens - plan.input_tokens,
        "pruning": sum(message.response_metadata.get(SPARED, 0) for message in plan.messages),
    }
    if not toolbox.offers_all:
        whole = run.catalogue_tokens(tier, toolbox.catalogue)
        spared["provisioning"] = whole - parts.tokens.get("tools", 0)
    return {lever: tokens for lever, tokens in spared.items() if tokens > 0}


def _after(run: Run, tier: Tier, plan: ContextPlan, record: CallRecord) -> Work[None]:
    """Take in what a call cost; tell what it left out and where the prompt cache missed."""
    miss = run.context.settled(plan, tier, record)
    left_out = run.context.news(plan.left_out)
    if miss is None and not left_out:
        return
    note = partial(_note_context, run, record.step, miss, left_out)
    yield Blocking(note, run.task.ledger.store.blocking)


def _note_context(run: Run, step: int, miss: Miss | None, left_out: Sequence[LeftOut]) -> None:
    if left_out:
        told = ", ".join(
            f"{part.messages} messages ({part.tokens} tokens) of {part.what}: {part.why}"
            for part in left_out
        )
        data = {"left_out": [asdict(part) for part in left_out]}
        run.task.note("context", f"left out: {told}", step=step, data=data)
    if miss is not None:
        run.task.note("cache_missed", miss.told, step=step, data=asdict(miss))


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
