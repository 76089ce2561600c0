"""A paid call: reserve the worst case, call with the output clamped, settle what was reported.

Everything that spends goes through `metered_call`: the agent's steps, its landing answer, and
models that users wrapped with `agentkit.metered`.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, cast
from weakref import WeakSet

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    message_chunk_to_message,
)
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential_jitter

from agentkit.batch.waiting import deadline_of
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.errors import PriceUnknown
from agentkit.budgets.journal import CallRecord, CallStatus, Lever, PaidResponse, Purpose
from agentkit.budgets.price import CacheWrite, Price
from agentkit.budgets.task import Task
from agentkit.effects import Blocking, Invoke, Pause, Reply, Work, adrive, drive
from agentkit.errors import PromptTooLong
from agentkit.memory.components import RequestParts, request_parts
from agentkit.models.provider import classify, describe, is_transient, retry_after_seconds
from agentkit.models.tier import Tier, ToolSchemas, cache_write_asked, check_billing
from agentkit.models.usage import from_cache, usage_of
from agentkit.replay import kept_response, replayed

_log = logging.getLogger("agentkit")
_ATTEMPTS = 4
_LONGEST_WAIT_SECONDS = 20.0
_BACKOFF = wait_exponential_jitter(multiplier=0.5, max=_LONGEST_WAIT_SECONDS)
LEAST_OUTPUT_TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """What was found out about an answer before its record is written."""

    confidence: float | None = None
    accepted: bool | None = None
    reason: str | None = None


class CallObserver(Protocol):
    """Told of each attempt: when it is about to be sent, and when it has been settled."""

    def begin_call(self, held: HeldCall) -> None: ...

    def end_call(self, record: CallRecord) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request to one tier.

    `send` and `asend` carry it out with the output limit and the seconds that are left.
    `input_tokens` and `parts` are our own counts where the caller keeps them; `resolved` gives the
    call that is meant by one through a dispatcher. `escalation` says what a cheaper tier gave way
    on; `dearest` is the tier that could have been asked instead, and `spared` the
    input tokens that each lever left out.
    `cache_write` is what marks that only `send` sets ask for.
    """

    tier: Tier
    messages: Sequence[BaseMessage]
    tools: ToolSchemas
    send: Callable[[HeldCall, float | None], Reply]
    asend: Callable[[HeldCall, float | None], Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_tokens: int | None = None
    purpose: Purpose = "step"
    step: int = 0
    review: Callable[[AIMessage], Review] | None = None
    resolved: Callable[[ToolCall | InvalidToolCall], ToolCall | InvalidToolCall] | None = None
    observer: CallObserver | None = None
    wanted_output_tokens: int | None = None
    parts: RequestParts | None = None
    escalation: str | None = None
    dearest: Tier | None = None
    spared: Mapping[Lever, int] = field(default_factory=dict[Lever, int])
    cache_write: CacheWrite = "none"
    attempts: int = _ATTEMPTS

    def names_called(self, message: AIMessage) -> tuple[str, ...]:
        """The tools that an answer calls, those behind a dispatcher by their own names."""
        calls = message.tool_calls
        meant = calls if self.resolved is None else map(self.resolved, calls)
        return tuple(each["name"] or "?" for each in meant)


def metered_call(task: Task, call: Call) -> Work[tuple[Reply, CallRecord]]:
    """Carry out `call` on the budget of `task`; each attempt is a reservation of its own.

    Raises BudgetExceeded or DeadlineExceeded before anything is sent, PriceUnknown where money is
    limited and the model has no price, and the provider's own error once attempts are used up.
    """
    blocking = task.ledger.store.blocking
    if task.has_responses:
        known: tuple[AIMessage, CallRecord] | None
        known = yield Blocking(partial(replayed, task, call), blocking)
        if known is not None:
            return known
    plan = plan_of(task, call)
    if deadline_of(task) is not None:
        from agentkit.batch.call import batched_call

        outcome: tuple[Reply, CallRecord] | None = yield from batched_call(task, call, plan)
        if outcome is not None:
            return outcome
    attempt = 1
    while True:
        hold = task.hold_landing_call if plan.purpose == "landing" else task.hold_call
        held: HeldCall = yield Blocking(partial(hold, replace(plan, attempt=attempt)), blocking)
        left = _seconds_left(task, call)
        effect = Invoke(
            partial(call.send, held, left), partial(call.asend, held, left), timeout_seconds=left
        )
        try:
            if call.observer is not None:
                call.observer.begin_call(held)
            reply = yield effect
        except BaseException as error:  # the money is settled whatever happened, then it goes on
            _settle_failure(task, held, call, error, started=effect.started)
            if attempt >= call.attempts or not is_transient(error):
                raise
            wait = _wait_seconds(attempt, error)
            left = _seconds_left(task, call)
            if left is not None and wait >= left:
                raise
            attempt += 1
            yield Pause(wait)
            continue
        record = yield Blocking(partial(settle_reply, task, held, call, reply), blocking)
        return reply, record


_open_streams: WeakSet[StreamedCall] = WeakSet()


@atexit.register
def _end_open_streams() -> None:
    """A generator that is closed after this, while modules are taken down, could not settle."""
    for streamed in list(_open_streams):
        try:
            streamed.abandon()
        except Exception as error:  # noqa: BLE001  the others are settled; its lease ends this one
            _log.warning("a stream could not be settled at exit: %s", type(error).__name__)


class StreamedCall:
    """A streamed call as a context: held on entry, settled on exit, however it is left.

    Usage that arrived with the end of the answer settles it; a stream that is cut, closed early or
    cancelled before that is charged at its worst case. A request that the provider refused, or that
    provably never left, is not charged.
    """

    def __init__(self, task: Task, call: Call) -> None:
        self._task = task
        self._call = call
        self._held: HeldCall | None = None
        self._usage: UsageMetadata | None = None
        self._finished = False
        self._tools: list[str] = []
        self._message: AIMessageChunk | None = None

    def replayed(self) -> AIMessage | None:
        """The stored answer of a resumed task: then there is nothing to hold and to send."""
        known = replayed(self._task, self._call)
        return None if known is None else known[0]

    def __enter__(self) -> HeldCall:
        return drive(self._reserve())

    def abandon(self) -> None:
        """Settle a stream that nobody reads on, for its process ends."""
        self._end(GeneratorExit())

    async def __aenter__(self) -> HeldCall:
        return await adrive(self._reserve())

    def take(self, chunk: ChatGenerationChunk) -> None:
        """Note what a chunk reports."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk):
            raise TypeError(f"a chat model streamed a {type(message).__name__}")
        self._usage = add_usage(self._usage, message.usage_metadata)
        if self._task.keeps_responses:
            self._message = message if self._message is None else self._message + message
        told = {**(chunk.generation_info or {}), **message.response_metadata}
        ends = told.get("finish_reason") or told.get("stop_reason")
        self._finished = self._finished or bool(ends) or message.chunk_position == "last"
        self._tools += [call["name"] for call in message.tool_call_chunks if call["name"]]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self._end(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, GeneratorExit):  # perhaps at exit, where no loop is left to wait on
            self._end(error)
        else:
            await adrive(self._ending(error))

    def _reserve(self) -> Work[HeldCall]:
        plan = plan_of(self._task, self._call)
        held: HeldCall = yield Blocking(
            partial(self._task.hold_call, plan), self._task.ledger.store.blocking
        )
        self._held = held
        _open_streams.add(self)
        if self._call.observer is not None:
            self._call.observer.begin_call(held)
        return held

    def _ending(self, error: BaseException | None) -> Work[None]:
        yield Blocking(partial(self._end, error), self._task.ledger.store.blocking)

    def _end(self, error: BaseException | None) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        _open_streams.discard(self)
        message = AIMessage("", usage_metadata=self._usage)
        usage = usage_of(message, cache_write=held.plan.cache_write)
        if usage is not None and usage.total_tokens > 0 and (error is None or self._finished):
            record = self._task.settle_call(
                held, usage, tools_called=tuple(self._tools), response=self._response(held)
            )
        elif error is None:
            record = self._task.forfeit_call(
                held, status="cut", error="the stream carried no usage"
            )
        else:
            _settle_failure(self._task, held, self._call, error, started=True)
            return
        if self._call.observer is not None:
            self._call.observer.end_call(record)

    def _response(self, held: HeldCall) -> PaidResponse | None:
        if self._message is None:
            return None
        whole = message_chunk_to_message(self._message)
        if not isinstance(whole, AIMessage):
            return None
        return kept_response(self._task, self._call, held.call_id, whole)


def message_of(reply: Reply) -> AIMessage:
    """The answer itself."""
    if isinstance(reply, ChatResult):
        message = reply.generations[0].message
        if not isinstance(message, AIMessage):
            raise TypeError(f"a chat model answered with a {type(message).__name__}")
        return message
    return reply


def plan_of(task: Task, call: Call) -> CallPlan:
    """The call as the ledger needs to know it. Raises PriceUnknown and PromptTooLong."""
    tier = call.tier
    check_billing(call.kwargs)
    price = _priced(task, tier)
    if price.state == "unknown" and task.budget.limits_money:
        raise PriceUnknown(model=tier.name, provider=tier.provider)
    counted = call.input_tokens
    if counted is None:
        counted = tier.count(call.messages, call.tools)
    if tier.context_tokens is not None and counted > tier.context_tokens and not tier.is_local:
        raise PromptTooLong(
            model=tier.label, prompt_tokens=counted, window_tokens=tier.context_tokens
        )
    bound = task.ledger.margins.bound(counted, model=tier.name, provider=tier.provider)
    wanted = call.wanted_output_tokens or tier.output_tokens
    if tier.context_tokens is not None and tier.is_local:
        wanted = max(1, min(wanted, tier.context_tokens - counted))
    parts = call.parts or request_parts(call.messages, call.tools, tier.counter)
    dearest = call.dearest
    return CallPlan(
        price=price,
        counted_input_tokens=counted,
        input_tokens=bound,
        wanted_output_tokens=wanted,
        least_output_tokens=min(wanted, LEAST_OUTPUT_TOKENS),
        cache_write=_longest_write(call),
        purpose=call.purpose,
        step=call.step,
        tier=tier.index,
        tools_offered=tuple(_tool_name(tool) for tool in call.tools),
        components=parts.tokens,
        prefix=parts.prefix,
        escalation=call.escalation,
        dearest=None if dearest is None else _priced(task, dearest),
        spared=call.spared,
        lease_seconds=task.ledger.lease_seconds,
    )


def _priced(task: Task, tier: Tier) -> Price:
    return task.ledger.prices.price(tier.name, tier.provider)


def _longest_write(call: Call) -> CacheWrite:
    asked = (call.cache_write, cache_write_asked(call.messages, call.kwargs))
    if "1h" in asked:
        return "1h"
    return "5m" if "5m" in asked else "none"


def _seconds_left(task: Task, call: Call) -> float | None:
    left = task.seconds_left(landing=call.purpose == "landing")
    return None if left is None else max(0.05, left)


def settle_reply(task: Task, held: HeldCall, call: Call, reply: Reply) -> CallRecord:
    """Charge what an answer took, judge it, and write its record."""
    message = message_of(reply)
    review = call.review(message) if call.review is not None else Review()
    usage = usage_of(message, cache_write=held.plan.cache_write)
    if from_cache(message):
        record = task.release_call(held, error="answered by the model's own cache")
    elif usage is None or (usage.total_tokens == 0 and not call.tier.is_local):
        # ChatAnthropic makes zeros of usage that did not arrive
        record = task.forfeit_call(held, status="ok", error="the answer carried no usage")
    else:
        record = task.settle_call(
            held,
            usage,
            tools_called=call.names_called(message),
            confidence=review.confidence,
            accepted=review.accepted,
            reason=review.reason,
            response=kept_response(task, call, held.call_id, message),
        )
    if call.observer is not None:
        call.observer.end_call(record)
    return record


def _settle_failure(
    task: Task, held: HeldCall, call: Call, error: BaseException, *, started: bool
) -> None:
    told = describe(error)
    failure = classify(error, call.tier.provider) if started else "unsent"
    if failure == "unsent":
        record = task.release_call(held, error=told)
    elif failure == "rejected":
        record = task.reject_call(held, error=told)
    else:
        status: CallStatus = "error" if isinstance(error, Exception) else "cancelled"
        record = task.forfeit_call(held, status=status, error=told)
    if call.observer is not None:
        call.observer.end_call(record)


def _wait_seconds(attempt: int, error: BaseException) -> float:
    asked = retry_after_seconds(error)
    if asked is not None:
        return min(asked, _LONGEST_WAIT_SECONDS)
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    return float(_BACKOFF(state))


def _tool_name(tool: Mapping[str, Any]) -> str:
    function: Any = tool.get("function")
    named = cast("Mapping[str, Any]", function) if isinstance(function, dict) else tool
    return str(named.get("name") or named.get("type") or "?")
