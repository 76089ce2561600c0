"""Steps of work that wait on the outside, and the two drivers that carry them out.

A paid call is decided in one place: a generator that yields what it needs done (a model call, a
ledger verb that may touch a disk, a pause). `drive` does it in a thread, `adrive` on an event loop.
Whatever goes wrong outside, cancellation included, is raised inside the generator at its `yield`,
where the money is settled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

Result = TypeVar("Result")

Reply = AIMessage | ChatResult


@dataclass(slots=True)
class Invoke:
    """Call a model; `started` tells whether the request may have left."""

    call: Callable[[], Reply]
    acall: Callable[[], Any]
    timeout_seconds: float | None = None
    started: bool = field(default=False, init=False)


@dataclass(frozen=True, slots=True)
class Blocking:
    """A ledger verb; runs in a thread where the store waits for a disk or a network."""

    act: Callable[[], Any]
    off_loop: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before a retry."""

    seconds: float


Effect = Invoke | Blocking | Pause
Work = Generator[Effect, Any, Result]
Messages = list[BaseMessage]


def drive(work: Work[Result]) -> Result:
    """Carry out `work` in this thread."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            effect = work.throw(error) if error is not None else work.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration carries no type
        answer = error = None
        try:
            answer = _perform(effect)
        except BaseException as raised:  # noqa: BLE001  every failure, Ctrl-C too, is settled in `work`
            error = raised


async def adrive(work: Work[Result]) -> Result:
    """Carry out `work` on the running event loop.

    A cancellation that comes while a ledger verb is under way is raised once that has ended, at the
    next effect that is none, or at the end of `work`: it is never lost.
    """
    answer: Any = None
    error: BaseException | None = None
    cancelled: BaseException | None = None
    while True:
        try:
            effect = work.throw(error) if error is not None else work.send(answer)
        except StopIteration as end:
            if cancelled is not None:
                raise cancelled from None
            return end.value  # type: ignore[no-any-return]  # StopIteration carries no type
        except Exception as failure:
            if cancelled is not None:
                raise cancelled from failure
            raise
        answer = error = None
        if cancelled is not None and not isinstance(effect, Blocking):
            error, cancelled = cancelled, None
            continue
        try:
            if isinstance(effect, Blocking) and effect.off_loop:
                answer, met = await off_loop(effect.act)
                cancelled = cancelled or met
            else:
                answer = await _aperform(effect)
        except BaseException as raised:  # noqa: BLE001  every failure, cancellation too, is settled in `work`
            error = raised


def _perform(effect: Effect) -> Any:
    match effect:
        case Invoke():
            effect.started = True
            return effect.call()
        case Blocking():
            return effect.act()
        case Pause():
            time.sleep(effect.seconds)
            return None


async def _aperform(effect: Effect) -> Any:
    match effect:
        case Invoke():
            effect.started = True
            async with asyncio.timeout(effect.timeout_seconds):
                return await effect.acall()
        case Blocking():
            return effect.act()
        case Pause():
            await asyncio.sleep(effect.seconds)
            return None


async def off_loop(act: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Run a ledger verb to its end: a cancellation must not hide whether money is held.

    What it returned, and the cancellation that came meanwhile, which is raised where it failed.
    """
    try:
        # Not a task, which `asyncio.run` cancels when it ends.
        running = asyncio.get_running_loop().run_in_executor(None, copy_context().run, act)
    except RuntimeError:  # the interpreter, or the loop's executor, takes no more work
        return act(), None
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as met:
            cancelled = met
    failure = running.exception()
    if failure is not None:
        raise failure if cancelled is None else cancelled from failure
    return running.result(), cancelled


def on_event_loop() -> bool:
    """True in the thread of a running event loop, which must not be made to wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
