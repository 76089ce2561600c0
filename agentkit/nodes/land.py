"""land: the one way out. It closes the task, after a final answer from the reserve if need be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.budgets.errors import BudgetError
from agentkit.budgets.journal import Outcome
from agentkit.effects import Blocking, Work
from agentkit.landing import (
    LandingPlan,
    digest_of,
    extractive_answer,
    landing_messages,
)
from agentkit.metering import metered_call
from agentkit.model_call import Call, message_of
from agentkit.models.provider import describe
from agentkit.nodes.sent import senders
from agentkit.result import Check, checked, result_of
from agentkit.run import Run
from agentkit.state import AgentState, transcript

_ROUNDING_TOKENS = 16


def land(
    state: AgentState,
    run: Run,
    *,
    plan: LandingPlan | None,
    system: str,
    check: Check | None,
) -> Work[AgentState]:
    """The end of the task: its answer and its outcome."""
    ending = state.get("ending")
    reason = state.get("reason")
    update: AgentState = {}
    if ending == "answer":
        outcome: Outcome = "answered"
        answer = state.get("answer", "")
    elif ending == "budget":
        answer, trouble = yield from _final_answer(state, run, plan, system)
        if trouble is not None:
            answer = extractive_answer(transcript(state))
            instead = "the answer is what the last tools said" if answer else "there is no answer"
            reason = f"{reason}; {instead}, for {trouble}"
        outcome = "landed" if answer else "exhausted"
        if answer:
            update["messages"] = [AIMessage(answer)]
    else:
        outcome = "cancelled" if ending == "stopped" else "failed"
        answer = ""
    record = yield Blocking(
        partial(_close, run, state, outcome, answer, reason, check), run.task.ledger.store.blocking
    )
    run.trace.end(record)
    return {**update, "answer": answer, "outcome": record.outcome, "reason": record.reason}


def _close(
    run: Run,
    state: AgentState,
    outcome: Outcome,
    answer: str,
    reason: str | None,
    check: Check | None,
) -> Any:
    if outcome == "answered" and check is not None:
        result = result_of(run.task.record, answer=answer, calls=run.task.calls)
        outcome, reason = checked(check, result)
    return run.task.close(
        outcome,
        reason=reason,
        steps=state.get("step", 0),
        escalations=state.get("escalations", 0),
        trace_id=run.trace.trace_id,
    )


def _final_answer(
    state: AgentState, run: Run, plan: LandingPlan | None, system: str
) -> Work[tuple[str, str | None]]:
    """The answer, or "" and why there is none."""
    messages: Sequence[BaseMessage] = transcript(state)
    if plan is None:
        return "", "no tier here writes answers"
    request = messages[state.get("request_at", 0)].text
    digest = digest_of(
        messages[state.get("request_at", 0) + 1 :],
        count=plan.tier.counter.text,
        limit_tokens=_digest_tokens(run, plan, system, request),
    )
    final = landing_messages(system, request, digest)
    send, asend = senders(run, plan.tier, final, {}, f"{run.task_id}.landing")
    call = Call(
        tier=plan.tier,
        messages=final,
        tools=(),
        send=send,
        asend=asend,
        purpose="landing",
        step=state.get("step", 0),
        observer=run,
        wanted_output_tokens=plan.output_tokens,
        attempts=3,
    )
    try:
        reply, _ = yield from metered_call(run.task, call)
    except BudgetError as refusal:
        return "", f"the landing call was refused: {refusal}"
    except Exception as error:  # noqa: BLE001  whatever the provider's client raises
        return "", f"the landing call failed: {describe(error)}"
    answer = message_of(reply).text.strip()
    return answer, None if answer else "the model answered with nothing"


def _digest_tokens(run: Run, plan: LandingPlan, system: str, request: str) -> int:
    """What fits the reserve by what has been learned of the model's counting since it was made."""
    fixed = plan.tier.count(landing_messages(system, request, ""), ())
    factor = run.task.ledger.margins.factor(model=plan.tier.name, provider=plan.tier.provider)
    reserved = plan.worst.tokens - plan.output_tokens
    return min(plan.digest_tokens, int((reserved - _ROUNDING_TOKENS) / factor) - fixed)
