"""Runs the tool calls of one step: in parallel where that is safe, each within its limits.

Calls to "read" tools that follow each other run side by side; a call to any other tool runs alone,
in its place. Results keep the order of the calls, and every call gets exactly one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import cast

from langchain_core.messages import AIMessage

from agentkit.tools.call import Around, Call, Inject, ReadyCall, prepare
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.consent import Consent
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Observation
from agentkit.tools.remembered import Results
from agentkit.tools.workers import PLACES

_DEFAULT_LIMITS = ExecutionLimits()

Outcome = Observation | BaseException


def calls_of(message: AIMessage) -> list[Call]:
    """The calls of an answer, those with broken JSON after the others."""
    return [*message.tool_calls, *message.invalid_tool_calls]


def run_calls(
    calls: Sequence[Call],
    catalogue: ToolCatalogue,
    limits: ExecutionLimits = _DEFAULT_LIMITS,
    *,
    inject: Inject | None = None,
    around: Around | None = None,
    consent: Consent | None = None,
    results: Results | None = None,
) -> list[Observation]:
    """One observation per call, in order; a tool that fails gives one that says so.

    `inject` gives the values of a tool's injected arguments. `around` makes a context manager that
    is entered where the tool runs, and which sees its exception. Async tools run in an event loop
    of their own. `consent` says what may run; without it whoever calls this has decided. `results`
    remembers those of tools with `cache_seconds`. Raises what is not for the model: LangGraph's
    interrupts and KeyboardInterrupt.
    """
    step = _Step(calls, catalogue, limits, inject, around, consent, results)
    for batch in step.batches():
        step.take(_run_batch(batch, limits))
    return step.observations()


async def arun_calls(
    calls: Sequence[Call],
    catalogue: ToolCatalogue,
    limits: ExecutionLimits = _DEFAULT_LIMITS,
    *,
    inject: Inject | None = None,
    around: Around | None = None,
    consent: Consent | None = None,
    results: Results | None = None,
) -> list[Observation]:
    """As `run_calls`; async tools run in the caller's event loop, and may not block it."""
    step = _Step(calls, catalogue, limits, inject, around, consent, results)
    for batch in step.batches():
        step.take(await _arun_batch(batch, limits))
    return step.observations()


class _Step:
    """The calls of a step, what may run when, and what came of each."""

    def __init__(
        self,
        calls: Sequence[Call],
        catalogue: ToolCatalogue,
        limits: ExecutionLimits,
        inject: Inject | None,
        around: Around | None,
        consent: Consent | None,
        results: Results | None,
    ) -> None:
        self._ready: list[ReadyCall] = []
        self._observed: dict[int, Observation] = {}
        self._unsettled = ""  # a tool with side effects that timed out and may still be at it
        for index, call in enumerate(calls):
            item = prepare(
                index, call, catalogue, limits,
                inject=inject, around=around, consent=consent, results=results,
            )  # fmt: skip
            if isinstance(item, ReadyCall):
                self._ready.append(item)
            else:
                self._observed[index] = item

    def batches(self) -> Iterable[list[ReadyCall]]:
        """Calls that may run side by side, batch after batch."""
        reads: list[ReadyCall] = []
        for ready in self._ready:
            if ready.spec.side_effect == "read":
                reads.append(ready)
                continue
            if reads:
                yield reads
                reads = []
            if self._unsettled:
                self._observed[ready.index] = ready.refused(
                    f"not run: {self._unsettled} timed out before it in this step and may still "
                    "be running; check what it did, then call again"
                )
            else:
                yield [ready]
        if reads:
            yield reads

    def take(self, outcomes: Iterable[tuple[ReadyCall, Outcome]]) -> None:
        """Keeps what a batch came to; raises what is not for the model, the earliest call's."""
        for ready, outcome in sorted(outcomes, key=lambda pair: pair[0].index):
            if isinstance(outcome, BaseException):
                raise outcome
            self._observed[ready.index] = outcome
            if outcome.status == "timeout" and ready.spec.side_effect != "read":
                self._unsettled = ready.spec.name

    def observations(self) -> list[Observation]:
        return [self._observed[index] for index in sorted(self._observed)]


def _refusal(ready: ReadyCall, limits: ExecutionLimits) -> Observation | None:
    """Keeps tools that never return from piling up threads without end."""
    abandoned = PLACES.abandoned
    if abandoned < limits.max_abandoned:
        return None
    return ready.refused(
        f"not run: {abandoned} timed-out calls still hold their threads, and no more than "
        f"{limits.max_abandoned} may"
    )


def _run_batch(
    batch: Sequence[ReadyCall], limits: ExecutionLimits
) -> list[tuple[ReadyCall, Outcome]]:
    outcomes: list[tuple[ReadyCall, Outcome]] = []
    done: SimpleQueue[tuple[ReadyCall, Outcome]] = SimpleQueue()
    running: dict[int, tuple[float, ReadyCall, Callable[[], None]]] = {}
    waiting = deque(batch)
    try:
        while waiting or running:
            while waiting and len(running) < limits.parallel:
                ready = waiting.popleft()
                if refusal := _refusal(ready, limits):
                    outcomes.append((ready, refusal))
                    continue
                deadline = time.monotonic() + ready.timeout_seconds
                running[ready.index] = (deadline, ready, _start(ready, done))
            if not running:
                continue
            nearest = min(deadline for deadline, _, _ in running.values())
            try:
                ready, outcome = done.get(timeout=max(0.0, nearest - time.monotonic()))
            except Empty:
                outcomes += _expire(running)
            else:
                if running.pop(ready.index, None):  # else it came after its timeout
                    outcomes.append((ready, outcome))
    except BaseException:  # Ctrl-C: nothing is waited for
        for _, _, give_up in running.values():
            give_up()
        raise
    return outcomes


def _start(ready: ReadyCall, done: SimpleQueue[tuple[ReadyCall, Outcome]]) -> Callable[[], None]:
    """Begins a call elsewhere; returns what gives it up."""

    def finish(outcome: object) -> None:
        done.put((ready, cast("Outcome", outcome)))

    if ready.is_async:
        return PLACES.loop_thread.start(ready.aperform, finish, copy_context())
    return _start_in_thread(ready, finish)


def _start_in_thread(ready: ReadyCall, finish: Callable[[object], None]) -> Callable[[], None]:
    context = copy_context()
    workers, children = PLACES.workers, PLACES.children
    if not ready.spec.isolated:
        job = workers.start(lambda: context.run(ready.perform), finish)
        return lambda: workers.abandon(job)
    child = children.borrow()

    def work() -> object:
        try:
            return context.run(ready.perform, child)
        finally:
            children.give_back(child)

    job = workers.start(work, finish)

    def give_up() -> None:
        workers.abandon(job)
        child.kill()

    return give_up


def _expire(
    running: dict[int, tuple[float, ReadyCall, Callable[[], None]]],
) -> list[tuple[ReadyCall, Outcome]]:
    now = time.monotonic()
    late = [item for item in running.values() if item[0] <= now]
    for _, ready, give_up in late:
        del running[ready.index]
        give_up()
    return [(ready, ready.timed_out(ended=ready.can_be_ended)) for _, ready, _ in late]


async def _arun_batch(
    batch: Sequence[ReadyCall], limits: ExecutionLimits
) -> list[tuple[ReadyCall, Outcome]]:
    if len(batch) == 1:
        return [(batch[0], await _arun_one(batch[0], limits))]
    places = asyncio.Semaphore(limits.parallel)

    async def run(ready: ReadyCall) -> tuple[ReadyCall, Outcome]:
        async with places:
            return ready, await _arun_one(ready, limits)

    async with asyncio.TaskGroup() as group:  # a cancellation from outside cancels them all
        tasks = [group.create_task(run(ready)) for ready in batch]
    return [task.result() for task in tasks]


async def _arun_one(ready: ReadyCall, limits: ExecutionLimits) -> Outcome:
    if refusal := _refusal(ready, limits):
        return refusal
    if ready.prefers_async:
        task = asyncio.create_task(ready.aperform())
        return await _outcome(task, task.cancel, ready, ended=True)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()

    def finish(outcome: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    def settle(outcome: object) -> None:
        if not future.done():
            future.set_result(cast("Outcome", outcome))

    give_up = _start_in_thread(ready, finish)
    return await _outcome(future, give_up, ready, ended=ready.can_be_ended)


async def _outcome(
    future: asyncio.Future[Outcome], give_up: Callable[[], object], ready: ReadyCall, *, ended: bool
) -> Outcome:
    try:
        await asyncio.wait({future}, timeout=ready.timeout_seconds)
    except asyncio.CancelledError:
        give_up()
        raise
    if future.done():
        return future.result()
    give_up()
    return ready.timed_out(ended=ended)
