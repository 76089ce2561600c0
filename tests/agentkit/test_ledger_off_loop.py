"""An agent on an event loop never waits there for its ledger in Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest

from agentkit import Agent, Budget, metered
from agentkit.budgets import Ledger
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.redis_connection import RedisConnection
from tests.budgets.redis_server import RedisServer, running_redis
from tests.scripted import ScriptedModel, call, in_turn

_HANGS_SECONDS = 0.5


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def ledger(server: RedisServer) -> Iterator[Ledger]:
    ledger = Ledger(server.address)
    yield ledger
    ledger.close()


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have waited for an answer of the server."""
    threads: list[int] = []
    drive = RedisConnection.drive

    def watched(self: RedisConnection, steps: Any) -> Any:
        threads.append(threading.get_ident())
        return drive(self, steps)

    monkeypatch.setattr(RedisConnection, "drive", watched)
    return threads


def _agent(ledger: Ledger) -> Agent:
    model = ScriptedModel(script=in_turn(call("look_up", query="x"), "it is found"))
    return Agent([model], [look_up], budget=Budget(calls=9), ledger=ledger)


async def _run(ledger: Ledger) -> None:
    assert (await _agent(ledger).arun("look it up")).outcome == "answered"


async def _stream(ledger: Ledger) -> None:
    assert [part async for part in _agent(ledger).astream("look it up")]


async def _leave(ledger: Ledger) -> None:
    async with aclosing(_agent(ledger).astream("look it up")) as parts:  # type: ignore[type-var]  # a generator
        async for _ in parts:
            break


async def _cancel(ledger: Ledger) -> None:
    running = asyncio.create_task(_agent(ledger).arun("look it up"))
    await asyncio.sleep(0.02)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _meter(ledger: Ledger) -> None:
    task = await asyncio.to_thread(ledger.open_task, budget=Budget(calls=9))
    model = metered(ScriptedModel(script=in_turn("one two")), task)
    await model.ainvoke("count")
    assert [chunk async for chunk in model.astream("count")]
    await asyncio.to_thread(task.close, "answered")


@pytest.mark.parametrize("work", [_run, _stream, _leave, _cancel, _meter])
def test_no_verb_runs_on_the_event_loop(work: Any, asking: list[int], ledger: Ledger) -> None:
    asking.clear()
    asyncio.run(work(ledger))
    assert asking
    assert threading.get_ident() not in asking


def test_event_loop_goes_on_while_the_server_hangs(ledger: Ledger, server: RedisServer) -> None:
    """Stopped for half a second in the middle of a run, then let go on."""
    assert isinstance(ledger.store, RedisStore)
    assert server.process is not None
    pid = server.process.pid

    async def longest_gap() -> float:
        agent, gap = _agent(ledger), 0.0
        os.kill(pid, signal.SIGSTOP)
        running = asyncio.create_task(agent.arun("look it up"))
        began = last = time.monotonic()
        while not running.done():
            await asyncio.sleep(0.005)
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            if now - began > _HANGS_SECONDS:
                os.kill(pid, signal.SIGCONT)
        assert (await running).outcome == "answered"
        assert last - began >= _HANGS_SECONDS
        return gap

    assert asyncio.run(longest_gap()) < _HANGS_SECONDS
