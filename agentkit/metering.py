"""A paid call: reserve the worst case, call with the output clamped, settle what was reported.

Everything that spends goes through `metered_call`: the agent's steps, its landing answer, and
models that users wrapped with `agentkit.metered`.
"""

from __future__ import annotations

import atexit
import logging
import os
from dataclasses import replace
from functools import partial
from weakref import WeakSet

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    message_chunk_to_message,
)
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGenerationChunk
from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential_jitter

from agentkit.batch.waiting import deadline_of
from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.journal import CallRecord, PaidResponse
from agentkit.budgets.task import Task
from agentkit.effects import Blocking, Invoke, Pause, Reply, Work, adrive, drive
from agentkit.model_call import Call, plan_of
from agentkit.models.provider import is_transient, retry_after_seconds
from agentkit.models.usage import usage_of
from agentkit.replay import kept_response, replayed
from agentkit.settling import settle_failure, settle_reply

_log = logging.getLogger("agentkit")
_LONGEST_WAIT_SECONDS = 20.0
_BACKOFF = wait_exponential_jitter(multiplier=0.5, max=_LONGEST_WAIT_SECONDS)


def metered_call(task: Task, call: Call) -> Work[tuple[Reply, CallRecord]]:
    """Carry out `call` on the budget of `task`; each attempt is a reservation of its own.

    Raises BudgetExceeded or DeadlineExceeded before anything is sent, PriceUnknown where money is
    limited and the model has no price, and the provider's own error once attempts are used up.
    """
    blocking = task.ledger.store.blocking
    if task.responses.any_left:
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
            settle = partial(settle_failure, task, held, call, error, started=effect.started)
            if isinstance(error, GeneratorExit):  # it was let go of, and may ask for nothing more
                settle()
                raise
            yield Blocking(settle, blocking)
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
        self.task = task
        self._call = call
        self._held: HeldCall | None = None
        self._usage: UsageMetadata | None = None
        self._finished = False
        self._tools: list[str] = []
        self._message: AIMessageChunk | None = None
        self._pid = os.getpid()

    def replayed(self) -> AIMessage | None:
        """The stored answer of a resumed task: then there is nothing to hold and to send."""
        known = replayed(self.task, self._call)
        return None if known is None else known[0]

    def __enter__(self) -> HeldCall:
        return drive(self._reserve())

    def abandon(self) -> None:
        """Settle a stream that nobody reads on, for its process ends."""
        self._end(GeneratorExit())

    async def __aenter__(self) -> HeldCall:
        try:
            return await adrive(self._reserve())
        except BaseException as error:
            if self._held is not None:  # cancelled while it was held: nothing has been sent
                await adrive(self._ending(error, started=False))
            raise

    def take(self, chunk: ChatGenerationChunk) -> None:
        """Note what a chunk reports."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk):
            raise TypeError(f"a chat model streamed a {type(message).__name__}")
        self._usage = add_usage(self._usage, message.usage_metadata)
        if self.task.responses.are_kept:
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
        plan = plan_of(self.task, self._call)
        held: HeldCall = yield Blocking(
            partial(self.task.hold_call, plan), self.task.ledger.store.blocking
        )
        self._held = held
        _open_streams.add(self)
        if self._call.observer is not None:
            self._call.observer.begin_call(held)
        return held

    def _ending(self, error: BaseException | None, *, started: bool = True) -> Work[None]:
        end = partial(self._end, error, started=started)
        yield Blocking(end, self.task.ledger.store.blocking)

    def _end(self, error: BaseException | None, *, started: bool = True) -> None:
        held, self._held = self._held, None
        if held is None or self._pid != os.getpid():  # the parent of a fork reads on
            return
        _open_streams.discard(self)
        message = AIMessage("", usage_metadata=self._usage)
        usage = usage_of(message, cache_write=held.plan.cache_write)
        if usage is not None and usage.total_tokens > 0 and (error is None or self._finished):
            record = self.task.settle_call(
                held, usage, tools_called=tuple(self._tools), response=self._response(held)
            )
        elif error is None:
            record = self.task.forfeit_call(held, status="cut", error="the stream carried no usage")
        else:
            settle_failure(self.task, held, self._call, error, started=started)
            return
        if self._call.observer is not None:
            self._call.observer.end_call(record)

    def _response(self, held: HeldCall) -> PaidResponse | None:
        if self._message is None:
            return None
        whole = message_chunk_to_message(self._message)
        if not isinstance(whole, AIMessage):
            return None
        return kept_response(self.task, self._call, held.call_id, whole)


def _seconds_left(task: Task, call: Call) -> float | None:
    left = task.seconds_left(landing=call.purpose == "landing")
    return None if left is None else max(0.05, left)


def _wait_seconds(attempt: int, error: BaseException) -> float:
    asked = retry_after_seconds(error)
    if asked is not None:
        return min(asked, _LONGEST_WAIT_SECONDS)
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    return float(_BACKOFF(state))
