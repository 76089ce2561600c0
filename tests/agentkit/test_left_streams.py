"""Streams that nobody reads on: ended whoever drops them, and never at the cost of another thread.

A cycle stands for what servers drop: a generator in the frame of another, found by the collector.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from agentkit import Agent, Budget, TextDelta, chat_model, metered
from agentkit.budgets import Ledger
from agentkit.budgets.stores.memory import MemoryStore
from agentkit.models.loop_clients import open_clients
from tests.wire import Reply, ScriptedProvider

Wire = Literal["openai", "anthropic"]
NAMES = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}
LONG = Reply(text="one word after the other comes over the wire " * 5, pause_seconds=0.8)
"""It takes over half a minute, unless the server is told to hurry."""


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    name: Wire = request.param
    return name


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(lambda _: LONG) as running:
        yield running


def _model(wire: Wire, provider: ScriptedProvider) -> Any:
    url = provider.openai_url if wire == "openai" else provider.anthropic_url
    return chat_model(NAMES[wire], base_url=url, api_key="test", max_tokens=400)


class _Reader:
    """Has read the first piece of a stream, and holds on to itself."""

    def __init__(self, stream: Iterator[Any]) -> None:
        self.stream = stream
        self.first = next(event for event in stream if getattr(event, "text", ""))
        self.itself = self


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _is_settled(ledger: Ledger, provider: ScriptedProvider) -> bool:
    """Nothing is held any more, and what was billed is charged."""
    assert provider.wait_idle(20)
    assert _soon(lambda: ledger.store.held() == [])
    return ledger.account("acme").settled.nusd >= provider.bill.cost_nusd > 0


def test_the_collector_does_not_wait_for_a_model(wire: Wire, provider: ScriptedProvider) -> None:
    ledger = Ledger()
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"), ledger=ledger)
    reader = _Reader(agent.stream("hello", scope="acme"))
    assert isinstance(reader.first, TextDelta)
    began = time.monotonic()
    del reader
    gc.collect()
    assert time.monotonic() - began < 15
    assert ledger.store.held()
    provider.hurry()
    assert _is_settled(ledger, provider)
    assert [task.outcome for task in ledger.store.tasks()] == ["cancelled"]


def test_it_may_come_while_the_connections_are_locked(wire: Wire) -> None:
    """The thread in which the collector finds the stream may hold the lock of httpx's pool."""
    with ScriptedProvider(lambda _: Reply(text="one two three", pause_seconds=0.02)) as provider:
        ledger = Ledger()
        agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"), ledger=ledger)
        gc.disable()
        try:
            readers = [_Reader(agent.stream("hello", scope="acme")) for _ in range(6)]
            lock = _pool_of(provider)._optional_thread_lock
            del readers
            assert _ends(lambda: _collect_in(lock))
        finally:
            gc.enable()
        assert _is_settled(ledger, provider)
        assert agent.run("hello", scope="acme").outcome == "answered"


def _collect_in(lock: Any) -> None:
    with lock:
        gc.collect()


def _ends(work: Callable[[], None]) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def _pool_of(provider: ScriptedProvider) -> Any:
    """The pool with the connections to `provider` that are in use, of the clients of this process;
    others may know a connection of old to the same port."""
    pools: list[Any] = [client._transport._pool for client in open_clients.values()]

    def in_use(pool: Any) -> int:
        there = [each for each in pool.connections if each._origin.port == provider.port]
        return sum(not each.is_idle() and not each.is_closed() for each in there)

    pool = max(pools, key=in_use)
    assert in_use(pool) > 1
    return pool


def test_it_may_come_while_the_ledger_is_locked(wire: Wire, provider: ScriptedProvider) -> None:
    in_lock = False

    def clock() -> float:
        if in_lock:
            gc.collect()
        return time.time()

    ledger = Ledger(MemoryStore(clock))
    task = ledger.open_task(scope="acme", budget=Budget(usd="0.1"))
    reader = _Reader(metered(_model(wire, provider), task).stream("hello"))
    del reader

    def look() -> None:
        nonlocal in_lock
        in_lock = True
        ledger.account("acme")
        in_lock = False

    assert _ends(look)
    provider.hurry()
    assert _is_settled(ledger, provider)


async def test_an_event_loop_that_drops_one_goes_on(wire: Wire, provider: ScriptedProvider) -> None:
    ledger = Ledger()
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"), ledger=ledger)
    stream = agent.stream("hello", scope="acme")
    while not isinstance(await asyncio.to_thread(next, stream), TextDelta):
        pass
    began = time.monotonic()
    del stream  # as a server does, once its client has gone
    assert time.monotonic() - began < 15
    provider.hurry()
    assert await asyncio.to_thread(_is_settled, ledger, provider)


def test_in_plain_code_it_has_ended_once_it_is_dropped(
    wire: Wire, provider: ScriptedProvider
) -> None:
    ledger = Ledger()
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"), ledger=ledger)
    for event in agent.stream("hello", scope="acme"):
        if isinstance(event, TextDelta):
            provider.hurry()
            break
    assert ledger.store.held() == []
    assert _is_settled(ledger, provider)


_SCRIPT = """
import gc, sys
from agentkit import Agent, Budget, chat_model
from agentkit.budgets import Ledger

url, address, how = sys.argv[1:]
model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", max_tokens=400)
agent = Agent([model], budget=Budget(usd="1"), ledger=address)
stream = agent.stream("hi", scope="acme")
for event in stream:
    if getattr(event, "text", ""):
        break
if how == "collected":
    class Holder: pass
    holder = Holder()
    holder.itself, holder.stream = holder, stream
    del holder, stream, event
    gc.collect()
"""


@pytest.mark.parametrize("how", ["collected", "kept"])
def test_the_end_of_the_program_waits_for_it(how: str, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    reply = Reply(text="one two three four", pause_seconds=0.2)
    with ScriptedProvider(lambda _: reply) as provider:
        command = [sys.executable, "-c", _SCRIPT, provider.openai_url, address, how]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        ledger = Ledger(address)
        assert ledger.store.held() == []
        assert _is_settled(ledger, provider)
        assert [task.outcome for task in ledger.store.tasks()] == ["cancelled"]
        ledger.close()
