"""What a step sends to a tier, by the task's context policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from langchain_core.messages import BaseMessage

from agentkit.budgets.call_plan import HeldCall
from agentkit.effects import Reply
from agentkit.errors import PromptTooLong
from agentkit.memory.allocation import AllotmentExceeded, WindowTooSmall
from agentkit.memory.context import Condensed, ContextPlan
from agentkit.memory.engine import ContextEngine
from agentkit.memory.request import Frame
from agentkit.models.streamed import Reading, aread_answer, read_answer
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.run import Run
from agentkit.state import AgentState, transcript

_TIGHTENINGS = 8
_SURE_SHARE = 0.9
"""A request this far below its limit fits, although the two ways of counting differ a little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """A step's request to one tier, before it is planned."""

    state: AgentState
    run: Run
    tier: Tier
    tools: ToolSchemas
    system: BaseMessage | None

    @property
    def engine(self) -> ContextEngine:
        """What decides for this tier."""
        return self.run.context.engine(self.tier)

    @property
    def condensed(self) -> Condensed:
        """What became of earlier messages."""
        return self.run.context.restore(self.state.get("context"))

    def frame(self, *, allotted: bool = True) -> Frame:
        """What the request holds beside the transcript, and what it may take."""
        context = self.run.context
        frame = Frame(
            system=self.system,
            tools_tokens=context.tools_tokens(self.tier, self.tools),
            tools_key=id(self.tools),
            request_at=self.state.get("request_at", 0),
            limit_tokens=context.limit_tokens(self.tier, allotted=allotted),
        )
        room = context.room_tokens(self.tier)
        if self.tier.exact_count is None or room is None:
            return frame
        try:
            plan = self.engine.plan(transcript(self.state), self.condensed, frame)
        except (WindowTooSmall, AllotmentExceeded):  # the plan of the step says so
            return frame
        exact = self.tier.count(plan.messages, self.tools)
        limit = plan.input_tokens * room // max(exact, 1)
        return replace(frame, limit_tokens=max(1, min(limit, frame.limit_tokens or limit)))

    def plan(self, *, allotted: bool = True) -> ContextPlan:
        """The request; raises PromptTooLong where it fits only with the task itself cut short, and
        AllotmentExceeded where system texts or tools take more than is allotted to them.

        Without the step's allotment it takes what the window holds.
        """
        frame, condensed = self.frame(allotted=allotted), self.condensed
        now = self.run.task.ledger.clock()
        try:
            plan = self.engine.plan(transcript(self.state), condensed, frame, now=now)
            plan = self._exactly(plan, condensed, frame)
        except WindowTooSmall as error:
            raise self.too_long(error.needed_tokens) from error
        if plan.shortened and not self._holds_request(plan):
            raise self.too_long(plan.replay_tokens)
        return plan

    def too_long(self, prompt_tokens: int) -> PromptTooLong:
        """The error that says so."""
        most = self.tier.context_tokens or self.run.context.policy.limit_tokens
        return PromptTooLong(
            model=self.tier.label, prompt_tokens=prompt_tokens, window_tokens=most or 0
        )

    def _holds_request(self, plan: ContextPlan) -> bool:
        request = transcript(self.state)[self.state.get("request_at", 0)].text
        return any(message.text == request for message in plan.messages)

    def _exactly(self, plan: ContextPlan, condensed: Condensed, frame: Frame) -> ContextPlan:
        """`plan` made to fit by the model's own count, where there is one."""
        room, limit = self.run.context.room_tokens(self.tier), frame.limit_tokens
        if self.tier.exact_count is None or room is None or limit is None:
            return plan
        if plan.input_tokens < limit * _SURE_SHARE:
            return plan
        for _ in range(_TIGHTENINGS):
            exact = self.tier.count(plan.messages, self.tools)
            if exact <= room:
                break
            limit = min(limit, plan.input_tokens) * room // exact - 1
            frame = replace(frame, limit_tokens=max(1, limit))
            plan = self.engine.plan(transcript(self.state), condensed, frame)
        return plan


class Holder(Protocol):
    """Keeps what was held for a call."""

    held: HeldCall | None


def senders(
    run: Run,
    tier: Tier,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    conversation: str,
    judge: Holder | None = None,
    *,
    cut_babble: bool = False,
) -> tuple[Callable[[HeldCall, float | None], Reply], Callable[[HeldCall, float | None], Any]]:
    """What carries out a call within its span, in a thread and on an event loop.

    A `judge` is told what is held for it. With `cut_babble`, or where the run asks for it, the
    answer of a hosted model is read as it is written.
    """
    reads = (cut_babble or run.streams) and not tier.is_local
    model = tier.model_for(messages)

    def arguments(held: HeldCall, seconds: float | None) -> dict[str, Any]:
        own = tier.call_arguments(held.max_output_tokens, seconds, conversation)
        return {**kwargs, **own}

    def send(held: HeldCall, seconds: float | None) -> Reply:
        if judge is not None:
            judge.held = held
        with run.trace.inside_call(held):
            if reads:
                reading = Reading(seconds, cut_babble, partial(run.begin_answer, held))
                return read_answer(model, messages, arguments(held, seconds), reading)
            return model.invoke(list(messages), **arguments(held, seconds))

    async def asend(held: HeldCall, seconds: float | None) -> Reply:
        if judge is not None:
            judge.held = held
        with run.trace.inside_call(held):
            if reads:
                reading = Reading(None, cut_babble, partial(run.begin_answer, held))
                return await aread_answer(model, messages, arguments(held, seconds), reading)
            return await model.ainvoke(list(messages), **arguments(held, seconds))

    return send, asend


def sent_tokens(state: AgentState, run: Run, tier: Tier) -> int:
    """Tokens of the messages of the last request of a step, without its tools."""
    condensed = run.context.restore(state.get("context"))
    frame = Frame(request_at=state.get("request_at", 0))
    return run.context.engine(tier).tokens(transcript(state), condensed, frame)
