"""think: ask the cheapest tier that can; escalate on evidence; pay for every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.asking import ask_person
from agentkit.budgets.errors import BudgetError, BudgetExceeded, DeadlineExceeded
from agentkit.budgets.event import Land
from agentkit.budgets.journal import CallRecord, Lever
from agentkit.cascade.decision import Action, Verdict
from agentkit.effects import Blocking, Work
from agentkit.memory.components import RequestParts
from agentkit.memory.context import ContextPlan, LeftOut
from agentkit.memory.misses import Miss
from agentkit.metering import metered_call
from agentkit.model_call import Call, message_of
from agentkit.models.provider import describe
from agentkit.models.tier import Tier
from agentkit.nodes.attempt import Attempt
from agentkit.nodes.explain import explain
from agentkit.nodes.judging import BY_FLOOR, Judge, Judging
from agentkit.nodes.provide import schemas_of
from agentkit.nodes.sent import Sending, senders
from agentkit.nodes.tell import tell
from agentkit.run import Run
from agentkit.state import AgentState, Ending
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
    judging: Judging = BY_FLOOR,
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
    update = yield from _ask_tiers(state, run, tiers, toolbox, system, judging)
    return {**update, "asking": False} if state.get("asking") else update


def _ask_tiers(
    state: AgentState,
    run: Run,
    tiers: Sequence[Tier],
    toolbox: Toolbox,
    system: BaseMessage | None,
    judging: Judging,
) -> Work[AgentState]:
    step = _Step(
        state=state, run=run, tiers=tiers, toolbox=toolbox, system=system, judging=judging,
        escalations=state.get("escalations", 0), confirmed=state.get("confirmed", 0),
    )  # fmt: skip
    attempt = Attempt(index=_place(state, tiers))
    while True:
        tier = tiers[attempt.index]
        try:
            call, plan, judge = step.call(tier, attempt)
            reply, record = yield from metered_call(run.task, call)
        except (BudgetExceeded, DeadlineExceeded) as refusal:
            return step.ended("budget", str(refusal), tier)
        except BudgetError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a client raises: a dearer tier may answer
            reason = f"{tier.label}: {describe(error)}: {_first_line(error)}"
            if step.is_last(tier):
                return step.ended("failed", reason, tier)
            yield from step.escalate(tier, describe(error))
            attempt = attempt.dearer()
            continue
        yield from _after(run, tier, plan, record)
        message = message_of(reply)
        if attempt.kind == "hint":
            following = attempt.continued(message, was_cut=_was_cut(message))
            if following is None:
                yield from step.escalate(tiers[attempt.index - 1], step.gave_way or "")
                return step.answered(call, message, tier)
            step.gave_way = None
            attempt = following
            continue
        verdict = yield from _verdict(run, judge, message, record)
        if judging.cascade is not None and judge is not None:
            yield from explain(run, tier, attempt, judge, verdict, record)
        if verdict.accepted:
            if verdict.reason:
                yield from _note_doubt(run, state, tier, verdict.reason)
            return step.answered(call, attempt.whole(message), tier)
        reason = verdict.reason or "not sure enough"
        if verdict.probability:  # unsure, and not at fault
            step.doubted.append(call.names_called(message))
        if verdict.action == "give_up":
            return step.ended("failed", _nobody(reason, tiers), tier)
        step.gave_way = reason if verdict.action == "hint" else None
        if verdict.action == "escalate":
            yield from step.escalate(tier, reason)
        attempt = attempt.after(verdict, message, toolbox, reason)


def _place(state: AgentState, tiers: Sequence[Tier]) -> int:
    """Where the state's tier stands among `tiers`, of which a route may have left some out."""
    floor = state.get("tier", 0)
    return next((at for at, tier in enumerate(tiers) if tier.index >= floor), len(tiers) - 1)


@dataclass(kw_only=True, slots=True)
class _Step:
    """One step while its tiers are asked: what stays the same, and what has given way.

    `doubted` are the tools that each answer called which was without fault, but too unsure.
    """

    state: AgentState
    run: Run
    tiers: Sequence[Tier]
    toolbox: Toolbox
    system: BaseMessage | None
    judging: Judging
    escalations: int
    confirmed: int
    gave_way: str | None = None
    doubted: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def is_last(self, tier: Tier) -> bool:
        return tier.index == self.tiers[-1].index

    def call(self, tier: Tier, attempt: Attempt) -> tuple[Call, ContextPlan, Judge | None]:
        """The call of one try, the plan of its context, and what will judge its answer."""
        last = self.is_last(tier)
        state, run = self.state, self.run
        tools = schemas_of(state, tier, self.toolbox)
        sending = Sending(state=state, run=run, tier=tier, tools=tools, system=self.system)
        plan = sending.plan()
        if plan.shortened and not last:  # a tier with a larger window may take it whole
            raise sending.too_long(plan.replay_tokens)
        kwargs = tier.tool_arguments(tools)
        told = tell(plan.messages, tier, self.toolbox, tools)
        sent = run.context.as_sent(replace(plan, messages=told.messages), tier, kwargs)
        cached = run.context.cache_arguments(plan, tier, tools, kwargs)
        kwargs = {**kwargs, **cached, **attempt.arguments(tier, tools)}
        more = attempt.messages(tier)
        judge = self._judge(tier, attempt, plan)
        native = told.arguments(kwargs)
        send, asend = senders(
            run, tier, [*sent, *more], native, run.task_id, judge,
            cut_babble=self.judging.cuts_babble,
        )  # fmt: skip
        parts = run.parts(tier, plan, tools)
        call = Call(
            tier=tier,
            messages=[*plan.messages, *more],
            tools=tools,
            kwargs=kwargs,
            input_tokens=told.bound(attempt.input_tokens(tier, plan, tools)),
            send=send,
            asend=asend,
            purpose=attempt.purpose,
            step=state.get("step", 0),
            review=judge,
            resolved=self.toolbox.resolved,
            observer=run,
            wanted_output_tokens=self._hint_tokens(attempt),
            parts=None if more else parts,
            spared=_spared(run, tier, self.toolbox, plan, parts),
            escalation=self.gave_way,
            dearest=self.tiers[-1],
            cache_write="none" if sent is told.messages else plan.ttl,
        )
        return call, plan, judge

    def escalate(self, tier: Tier, reason: str) -> Work[None]:
        """Count and tell that the next tier is asked."""
        self.gave_way = reason
        self.escalations += 1
        above = next(each.index for each in self.tiers if each.index > tier.index)
        yield from _escalate(self.state, self.run, tier, above, reason)

    def answered(self, call: Call, message: AIMessage, tier: Tier) -> AgentState:
        """The end of the step; the task stays on a dearer tier once it escalated often enough.

        Where that tier calls the tools that the first doubtful answer called, the cheaper one knew
        what to do, so the next step begins with it again; this is forgiven as often as it takes to
        stay.
        """
        names = call.names_called(message)
        if names and names in self.doubted[:1]:
            self.confirmed += self.escalations - self.state.get("escalations", 0)
        enough = self.judging.sticky_after
        stays = self.escalations - min(self.confirmed, enough) >= enough
        update: AgentState = {
            "tier": tier.index if stays else self.state.get("tier", 0),
            "escalations": self.escalations,
            "confirmed": self.confirmed,
        }
        return _answered(message, tier, update)

    def ended(self, ending: Ending, reason: str, tier: Tier) -> AgentState:
        """The end of the task."""
        return {
            "ending": ending, "reason": reason, "tier": tier.index,
            "escalations": self.escalations,
        }  # fmt: skip

    def _judge(self, tier: Tier, attempt: Attempt, plan: ContextPlan) -> Judge | None:
        if attempt.kind == "hint" or (self.is_last(tier) and tier.writes_answers):
            return None
        return Judge(
            judging=self.judging,
            run=self.run,
            state=self.state,
            tiers=self.tiers,
            toolbox=self.toolbox,
            attempt=attempt,
            sent=plan.messages,
        )

    def _hint_tokens(self, attempt: Attempt) -> int | None:
        cascade = self.judging.cascade
        return cascade.hint_tokens if cascade is not None and attempt.kind == "hint" else None


def _verdict(
    run: Run, judge: Judge | None, message: AIMessage, record: CallRecord
) -> Work[Verdict]:
    """What the judge said; it is asked again where the answer was a stored one."""
    if judge is None:
        return Verdict(action="accept")
    if judge.verdict is None:
        yield Blocking(partial(judge, message), run.task.ledger.store.blocking)
    verdict = judge.verdict
    if verdict is None:
        raise AssertionError("unreachable: a judge that was called has a verdict")
    if record.accepted is None or record.accepted == verdict.accepted:
        return verdict
    action: Action = "accept" if record.accepted else "escalate"  # as it was decided before
    return replace(verdict, action=action, reason=record.reason)


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


def _escalate(state: AgentState, run: Run, tier: Tier, to_tier: int, reason: str) -> Work[None]:
    step = state.get("step", 0)
    run.trace.escalation(step=step, tier=tier.index, to_tier=to_tier, reason=reason)
    note = partial(
        run.task.note,
        "escalation",
        f"{tier.label} gave way: {reason}",
        step=step,
        data={"tier": tier.index, "to_tier": to_tier, "reason": reason},
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


def _answered(message: AIMessage, tier: Tier, update: AgentState) -> AgentState:
    if message.tool_calls or message.invalid_tool_calls:
        return {**update, "messages": [message]}
    was_cut = _was_cut(message)
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


def _was_cut(message: AIMessage) -> bool:
    told = message.response_metadata
    return told.get(_FINISH) in _CUT or told.get("stop_reason") in _CUT


def _nobody(reason: str, tiers: Sequence[Tier]) -> str:
    dearest = tiers[-1].label
    return (
        f"{reason}; {dearest} is the dearest tier here: add one above it, "
        "like models=[..., 'openai:gpt-5-mini']"
    )


def _first_line(error: Exception) -> str:
    """The start of a provider's message; it goes to the caller, not to logs or traces."""
    return (str(error).splitlines() or [""])[0][:300]
