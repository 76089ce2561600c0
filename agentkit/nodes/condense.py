"""Earlier turns make way for a summary where that pays or must be, on the task's budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.budgets.errors import BudgetError
from agentkit.budgets.money import format_usd
from agentkit.budgets.price import CacheWrite
from agentkit.effects import Blocking, Work
from agentkit.errors import PromptTooLong
from agentkit.memory.allocation import AllotmentExceeded
from agentkit.memory.context import DOES_NOT_FIT, Condensed, ContextPlan, Rewrite
from agentkit.memory.engine import Moment
from agentkit.memory.rewriting import RewriteCase
from agentkit.memory.summary import Summary, instruction
from agentkit.metering import metered_call
from agentkit.model_call import Call, message_of
from agentkit.models.provider import describe
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.nodes.sent import Sending, senders
from agentkit.replay import fingerprint
from agentkit.run import Run
from agentkit.state import transcript

_MOST_OF_WHAT_IS_LEFT = 0.25
_INSTRUCTION_TOKENS = 220
_SUMMARY_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Who writes a summary, at most for how much; `live` where it reads the step's own prefix."""

    tier: Tier
    live: bool
    nusd: float


def condense(sending: Sending, tiers: Sequence[Tier]) -> Work[Condensed]:
    """What earlier messages have become before this step."""
    run, state = sending.run, sending.state
    condensed = sending.condensed
    step = state.get("step", 0)
    writers = _Writers(sending, tiers)
    rewrite = sending.engine.rewriting(
        transcript(state),
        condensed,
        sending.frame(),
        Moment(
            calls=step,
            now=run.task.ledger.clock(),
            savings=run.context.savings,
            summary_nusd=writers.price,
            forced=writers.paid_before if run.task.responses.any_left else None,
        ),
    )
    if rewrite is None:
        return condensed
    call = writers.call(rewrite)
    written = None if call is None else (yield from _written(run, call))
    goal = transcript(state)[state.get("request_at", 0)].text
    after = sending.engine.condensed(rewrite, condensed, written, goal)
    yield Blocking(
        partial(_note, run, step, rewrite, after, written is not None),
        run.task.ledger.store.blocking,
    )
    return after


class _Writers:
    """Who could write a summary of one rewriting, and with which call.

    The step's own tier goes on from its prefix, which is in its provider's cache; another one is
    sent the turns anew, as text.
    """

    def __init__(self, sending: Sending, tiers: Sequence[Tier]) -> None:
        self._sending = sending
        self._tiers = tiers if sending.run.context.policy.summaries == "cheapest" else ()
        self._plan: ContextPlan | None = None

    def price(self, sent_tokens: int, warm_tokens: int, summary_tokens: int) -> float:
        """The most that the cheapest of them costs; 0 where there is none."""
        found = self._ranked(sent_tokens, warm_tokens, summary_tokens)
        return found[0].nusd if found else 0.0

    def paid_before(self, rewrite: Rewrite) -> bool:
        """True where a resumed task has a summary of this very rewriting that it paid for."""
        return self._stored(rewrite) is not None

    def call(self, rewrite: Rewrite) -> Call | None:
        """The call that was paid for, or the cheapest that the task can afford."""
        if self._sending.run.task.responses.any_left:
            stored = self._stored(rewrite)
            if stored is not None:
                return stored
        ranked = self._ranked(rewrite.sent_tokens, rewrite.warm_tokens, rewrite.summary_tokens)
        if not ranked or not _affordable(self._sending, rewrite, ranked[0]):
            return None
        return self._call(rewrite, ranked[0])

    def _stored(self, rewrite: Rewrite) -> Call | None:
        task = self._sending.run.task
        for writer in self._ranked(0, 0, 0):
            call = self._call(rewrite, writer)
            if call is not None and task.responses.has(fingerprint(call)):
                return call
        return None

    def _ranked(self, sent: int, warm: int, most: int) -> list[Writer]:
        """The tiers that write answers and have room for it, from the cheapest up."""
        return sorted(
            filter(None, (self._writer(tier, sent, warm, most) for tier in self._tiers)),
            key=lambda writer: writer.nusd,
        )

    def _writer(self, tier: Tier, sent: int, warm: int, most: int) -> Writer | None:
        run = self._sending.run
        engine, room = run.context.engine(tier), run.context.room_tokens(tier)
        live = tier.index == self._sending.tier.index
        tokens = sent + _INSTRUCTION_TOKENS
        if not tier.writes_answers or (room is not None and tokens + most > room):
            return None
        if tier.is_local:
            return Writer(tier=tier, live=live, nusd=0.0)
        price = engine.prices(tokens)
        margins = run.task.ledger.margins
        factor = margins.learned_factor(model=tier.name, provider=tier.provider)
        nusd = factor * price.call(tokens, warm=warm if live else 0) + price.output * most
        return Writer(tier=tier, live=live, nusd=nusd)

    def _call(self, rewrite: Rewrite, writer: Writer) -> Call | None:
        """None where the request could not hold all that is to be summarized."""
        if self._plan is None:
            try:
                self._plan = self._sending.plan(allotted=False)
            except (PromptTooLong, AllotmentExceeded):  # the step itself will say so
                return None
        plan = self._plan
        if plan.shortened or any(part.why == DOES_NOT_FIT for part in plan.left_out):
            return None
        asked = HumanMessage(instruction(rewrite.summary_tokens))
        if writer.live:
            return self._going_on(plan, asked, rewrite, writer)
        told: list[BaseMessage] = [SystemMessage(asked.text), HumanMessage(_as_text(plan.messages))]
        return self._asking(writer, told, told, {}, (), rewrite, "none")

    def _going_on(
        self, plan: ContextPlan, asked: HumanMessage, rewrite: Rewrite, writer: Writer
    ) -> Call:
        tier = writer.tier
        context, tools = self._sending.run.context, self._sending.tools
        kwargs = tier.tool_arguments(tools)
        marked = context.as_sent(plan, tier, kwargs)
        write: CacheWrite = "none" if marked is plan.messages else plan.ttl
        kwargs = {**kwargs, **context.cache_arguments(plan, tier, tools, kwargs)}
        told: list[BaseMessage] = [*plan.messages, asked]
        return self._asking(writer, told, [*marked, asked], kwargs, tools, rewrite, write)

    def _asking(
        self,
        writer: Writer,
        messages: list[BaseMessage],
        sent: list[BaseMessage],
        kwargs: Mapping[str, Any],
        tools: ToolSchemas,
        rewrite: Rewrite,
        write: CacheWrite,
    ) -> Call:
        run, tier = self._sending.run, writer.tier
        conversation = run.task_id if writer.live else f"{run.task_id}.summary"
        send, asend = senders(run, tier, sent, kwargs, conversation)
        return Call(
            tier=tier,
            messages=messages,
            tools=tools,
            kwargs=kwargs,
            send=send,
            asend=asend,
            purpose="summary",
            step=self._sending.state.get("step", 0),
            observer=run,
            cache_write=write,
            wanted_output_tokens=rewrite.summary_tokens,
            attempts=2,
        )


def _affordable(sending: Sending, rewrite: Rewrite, writer: Writer) -> bool:
    """A summary takes at most a quarter of what is left, and no call that a step will want."""
    run = sending.run
    room = run.task.room()
    steps = run.context.policy.calls_left(sending.state.get("step", 0))
    share = _MOST_OF_WHAT_IS_LEFT
    tokens = rewrite.sent_tokens + _INSTRUCTION_TOKENS + rewrite.summary_tokens
    seconds = run.task.seconds_left()
    return (
        (room.nusd is None or writer.nusd <= room.nusd * share)
        and (room.tokens is None or tokens <= room.tokens * share)
        and (room.fresh_tokens is None or tokens <= room.fresh_tokens * share)
        and (room.calls is None or room.calls > steps + 1)
        and (seconds is None or seconds * share >= _SUMMARY_SECONDS)
    )


def _written(run: Run, call: Call) -> Work[Summary | None]:
    """The model's summary; None where it wrote none, for whatever reason."""
    try:
        reply, record = yield from metered_call(run.task, call)
    except BudgetError as refusal:
        reason = str(refusal)
    except Exception as error:  # noqa: BLE001  whatever a client raises: extraction takes its place
        reason = describe(error)
    else:
        run.context.paid(record)
        found = Summary.read(message_of(reply).text)
        if found is not None:
            return found
        reason = "the model wrote no summary"
    note = partial(
        run.task.note,
        "summary_failed",
        f"no summary by {call.tier.label}: {reason}",
        step=call.step,
    )
    yield Blocking(note, run.task.ledger.store.blocking)
    return None


def _as_text(messages: Sequence[BaseMessage]) -> str:
    """A conversation as text, for a model that did not take part in it."""
    lines: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            lines.append(f"[{message.name or 'tool'} said] {message.text}")
        elif isinstance(message, AIMessage):
            calls = [f"[calls {call['name']} with {call['args']}]" for call in message.tool_calls]
            lines.append(" ".join(["[assistant]", message.text, *calls]))
        elif not isinstance(message, SystemMessage):
            lines.append(f"[user] {message.text}")
    return "\n".join(lines)


def _note(run: Run, step: int, rewrite: Rewrite, after: Condensed, by_model: bool) -> None:
    how = "a model's summary" if by_model else "an extract"
    if not after.summary:
        how = "nothing"
    case = rewrite.case
    run.task.note(
        "context_rewritten",
        f"{len(rewrite.dropped)} messages ({rewrite.dropped_tokens} tokens) made way for {how}: "
        f"{rewrite.reason}{_figures(case)}",
        step=step,
        data={
            "reason": rewrite.reason,
            "messages": len(rewrite.dropped),
            "tokens": rewrite.dropped_tokens,
            "by_model": by_model,
            "sent_tokens": case.sent_tokens,
            "new_tokens": case.new_tokens,
            "price_nusd": round(case.price_nusd),
            "saving_nusd": round(case.saving_nusd),
            "calls_left": case.calls_left,
            "room_nusd": round(case.savings.room(case.risk)),
        },
    )


def _figures(case: RewriteCase) -> str:
    """What it was decided on, in money; nothing where no price is known."""
    if case.price.output <= 0 or case.price.read == 0:  # unknown, or prefill
        return ""
    saving, price = round(case.saving_nusd), round(case.price_nusd)
    a_call = f"saves {format_usd(saving)}" if saving >= 0 else f"costs {format_usd(-saving)} more"
    now = f"costs {format_usd(price)}" if price >= 0 else f"saves {format_usd(-price)}"
    return f"; it {a_call} a call, {now} now, and {case.calls_left:.0f} calls may follow"
