"""Both drivers do the same, and raise what goes wrong inside the generator."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from agentkit.effects import Blocking, Invoke, Pause, Work, adrive, drive


async def _later(value: AIMessage) -> AIMessage:
    await asyncio.sleep(0)
    return value


def story(log: list[Any]) -> Work[str]:
    log.append((yield Blocking(lambda: threading.current_thread().name, off_loop=True)))
    yield Pause(0.001)
    reply = yield Invoke(lambda: AIMessage("hi"), lambda: _later(AIMessage("hi")))
    log.append(reply.content)
    return "end"


def test_drive_carries_out_everything_in_this_thread() -> None:
    log: list[Any] = []
    assert drive(story(log)) == "end"
    assert log == [threading.current_thread().name, "hi"]


async def test_adrive_takes_blocking_work_off_the_loop() -> None:
    log: list[Any] = []
    assert await adrive(story(log)) == "end"
    assert log[0] != threading.current_thread().name
    assert log[1] == "hi"


def failing(seen: list[str]) -> Work[str]:
    def boom() -> AIMessage:
        raise ValueError("boom")

    async def aboom() -> AIMessage:
        raise ValueError("boom")

    effect = Invoke(boom, aboom)
    try:
        yield effect
    except ValueError:
        seen.append(f"started={effect.started}")
    return "recovered"


async def test_failures_are_raised_inside() -> None:
    seen: list[str] = []
    assert drive(failing(seen)) == await adrive(failing(seen)) == "recovered"
    assert seen == ["started=True", "started=True"]


async def test_a_timeout_is_raised_inside() -> None:
    async def hang() -> AIMessage:
        await asyncio.sleep(30)
        return AIMessage("late")

    def work() -> Work[str]:
        try:
            yield Invoke(lambda: AIMessage(""), hang, timeout_seconds=0.05)
        except TimeoutError:
            return "timed out"
        return "?"

    assert await adrive(work()) == "timed out"


async def test_a_cancellation_waits_for_the_ledger_and_is_then_raised_inside() -> None:
    """Money that a thread is about to hold must not be held unknown."""
    story: list[str] = []

    def hold() -> str:
        time.sleep(0.2)
        return "held"

    def work() -> Work[str]:
        story.append((yield Blocking(hold, off_loop=True)))
        effect = Invoke(lambda: AIMessage(""), lambda: _later(AIMessage("")))
        try:
            yield effect
        except asyncio.CancelledError:
            story.append(f"released, started={effect.started}")
            raise
        return "?"

    running = asyncio.create_task(adrive(work()))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert story == ["held", "released, started=False"]
