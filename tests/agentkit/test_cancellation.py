"""However a call or a stream is left, its money is settled and no lease stays behind.

Against the real client libraries and a server that sends an answer word by word and keeps its own
bill. The worst case is charged unless the usage had arrived.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from agentkit import Agent, Budget, TextDelta, chat_model, metered
from agentkit.budgets import Ledger
from agentkit.budgets.task import Task
from tests.wire import Fault, Reply, ScriptedProvider

Wire = Literal["openai", "anthropic"]
MODELS = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}
WORDS = "one word after the other comes over the wire, " * 4
SLOWLY = Reply(text=WORDS, pause_seconds=0.6)
LATE = Reply(text=WORDS, delay_seconds=30)


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    name: Wire = request.param
    return name


def _client(wire: Wire, server: ScriptedProvider, **arguments: Any) -> Any:
    url = server.openai_url if wire == "openai" else server.anthropic_url
    return chat_model(MODELS[wire], base_url=url, api_key="test", max_tokens=300, **arguments)


@contextmanager
def _settled(ledger: Ledger, server: ScriptedProvider) -> Iterator[None]:
    """At the end nothing is held, and no less is charged than was billed."""
    yield
    server.hurry()
    assert server.wait_idle(30)
    billed = int(server.bill.to_dict()["total"]["cost_nusd"])
    account = ledger.account("acme")
    assert ledger.store.held() == []
    assert not any(account.held)
    assert account.settled.nusd >= billed > 0
    assert account.unconfirmed_nusd == account.settled.nusd


def _task(ledger: Ledger) -> Task:
    return ledger.open_task(scope="acme", budget=Budget(usd="1"))


def _leave_by_break(stream: Iterator[Any]) -> None:
    for chunk in stream:
        if getattr(chunk, "text", ""):
            break
    del stream
    gc.collect()


def _leave_by_close(stream: Iterator[Any]) -> None:
    with closing(stream):  # type: ignore[type-var]  # a generator
        next(piece for piece in stream if getattr(piece, "text", ""))


def _leave_by_error(stream: Iterator[Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        for chunk in stream:
            if getattr(chunk, "text", ""):
                raise ZeroDivisionError
    gc.collect()


LEAVE = [_leave_by_break, _leave_by_close, _leave_by_error]


@pytest.mark.parametrize("leave", LEAVE)
def test_a_metered_stream_left_early(leave: Callable[[Any], None], wire: Wire) -> None:
    ledger = Ledger()
    task = _task(ledger)
    with ScriptedProvider(lambda _: SLOWLY) as server, _settled(ledger, server):
        leave(metered(_client(wire, server), task).stream("hi"))
    assert [(call.status, call.confirmed) for call in task.calls] == [("cancelled", False)]


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize("leave", LEAVE)
def test_an_agents_stream_left_early(leave: Callable[[Any], None], wire: Wire) -> None:
    """The graph's worker finishes the call that is under way, or is charged at its worst case."""
    ledger = Ledger()
    with ScriptedProvider(lambda _: Reply(text=WORDS, pause_seconds=0.02)) as server:
        agent = Agent([_client(wire, server)], budget=Budget(usd="1"), ledger=ledger)
        leave(agent.stream("hi", scope="acme"))
        assert server.wait_idle(30)
        billed = int(server.bill.to_dict()["total"]["cost_nusd"])
    account = ledger.account("acme")
    assert ledger.store.held() == []
    assert account.settled.nusd >= billed > 0
    (record,) = ledger.store.tasks()
    assert record.outcome == "cancelled"
    assert len(agent._tasks) == 0


async def _aleave_by_break(stream: Any) -> None:
    async for chunk in stream:
        if getattr(chunk, "text", ""):
            break
    del stream
    gc.collect()
    await asyncio.sleep(0.3)  # the loop closes what was dropped


async def _aleave_by_close(stream: Any) -> None:
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if getattr(piece, "text", ""):
                break


async def _read(stream: Any, began: asyncio.Event) -> None:
    async for piece in stream:
        if getattr(piece, "text", ""):
            began.set()


async def _aleave_by_cancellation(stream: Any) -> None:
    began = asyncio.Event()
    reading = asyncio.create_task(_read(stream, began))
    await began.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def _aleave_by_timeout(stream: Any) -> None:
    began = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):
            await _read(stream, began)
    assert began.is_set()


ALEAVE = [_aleave_by_break, _aleave_by_close, _aleave_by_cancellation, _aleave_by_timeout]
_ENDLESS = Reply(text="word " * 250, pause_seconds=0.6)


@pytest.mark.parametrize("aleave", ALEAVE)
async def test_a_metered_astream_left_early(
    aleave: Callable[[Any], Awaitable[None]], wire: Wire
) -> None:
    ledger = Ledger()
    task = _task(ledger)
    with ScriptedProvider(lambda _: _ENDLESS) as server, _settled(ledger, server):
        model = _client(wire, server)
        await aleave(metered(model, task).astream("hi"))
    assert [(call.status, call.confirmed) for call in task.calls] == [("cancelled", False)]


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize("aleave", ALEAVE)
async def test_an_agents_astream_left_early(
    aleave: Callable[[Any], Awaitable[None]], wire: Wire
) -> None:
    ledger = Ledger()
    with ScriptedProvider(lambda _: _ENDLESS) as server, _settled(ledger, server):
        model = _client(wire, server)
        agent = Agent([model], budget=Budget(usd="1"), ledger=ledger)
        await aleave(agent.astream("hi", scope="acme"))
    (record,) = ledger.store.tasks()
    assert record.outcome == "cancelled"
    assert len(agent._tasks) == 0


def _until_asked(server: ScriptedProvider) -> None:
    until = time.monotonic() + 30
    while not server.requests and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("what", ["metered", "agent"])
async def test_a_call_that_is_given_up(how: str, what: str, wire: Wire) -> None:
    ledger = Ledger()
    with ScriptedProvider(lambda _: LATE) as server, _settled(ledger, server):
        model = _client(wire, server)
        if what == "metered":
            call = metered(model, _task(ledger)).ainvoke("hi")
        else:
            agent = Agent([model], budget=Budget(usd="1"), ledger=ledger)
            call = agent.arun("hi", scope="acme")  # type: ignore[assignment]  # awaited alike
        running = asyncio.create_task(call)  # type: ignore[arg-type]  # a coroutine
        await asyncio.to_thread(_until_asked, server)
        if how == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(running, 0.1)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_deadline_of_a_task_ends_a_call(is_async: bool, wire: Wire) -> None:
    ledger = Ledger()
    budget = Budget(usd="1", seconds=1.0)
    with ScriptedProvider(lambda _: Reply(text=WORDS, delay_seconds=3)) as server:
        model = _client(wire, server)
        agent = Agent([model], budget=budget, ledger=ledger)

        async def arun() -> Any:
            return await agent.arun("hi", scope="acme")

        result = asyncio.run(arun()) if is_async else agent.run("hi", scope="acme")
        assert server.wait_idle(30)
    assert result.outcome in ("failed", "exhausted", "landed")
    assert ledger.store.held() == []
    assert ledger.account("acme").unconfirmed_nusd > 0


def test_usage_that_arrived_settles_a_stream_that_is_left_then(wire: Wire) -> None:
    ledger = Ledger()
    task = _task(ledger)
    with ScriptedProvider(lambda _: Reply(text="a few words")) as server:
        stream = metered(_client(wire, server), task).stream("hi")
        while next(stream).usage_metadata is None:
            pass
        stream.close()  # type: ignore[attr-defined]  # a generator
        assert server.wait_idle()
        assert task.calls[0].confirmed
        assert task.record.cost_nusd == int(server.bill.to_dict()["total"]["cost_nusd"])


@pytest.mark.parametrize("kind", ["cut_stream", "reset_billed", "wrong_length", "invalid_json"])
def test_a_stream_that_breaks_in_an_agent(kind: Any, wire: Wire) -> None:
    ledger = Ledger()
    replies = iter([Reply(text=WORDS, fault=Fault(kind=kind))])
    with ScriptedProvider(lambda _: next(replies, Reply(text="done"))) as server:
        agent = Agent([_client(wire, server)], budget=Budget(usd="1"), ledger=ledger)
        text = [piece for piece in agent.stream("hi", scope="acme") if isinstance(piece, TextDelta)]
        assert server.wait_idle()
        billed = int(server.bill.to_dict()["total"]["cost_nusd"])
    account = ledger.account("acme")
    assert text
    assert ledger.store.held() == []
    assert account.settled.nusd >= billed > 0


_SCRIPT = """
import json, sys
from agentkit import Agent, Budget, chat_model, metered
from agentkit.budgets import Ledger
url, what, address = sys.argv[1:]
model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", max_tokens=300)
ledger = Ledger(address)
if what == "agent":
    stream = Agent([model], budget=Budget(usd="1"), ledger=ledger).stream("hi", scope="acme")
else:
    task = ledger.open_task(scope="acme", budget=Budget(usd="1"))
    stream = metered(model, task).stream("hi")
try:
    for piece in stream:
        if getattr(piece, "text", ""):
            print("began", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("what", ["metered", "agent"])
def test_ctrl_c_in_the_middle_of_a_stream(what: str, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    with ScriptedProvider(lambda _: Reply(text=WORDS, pause_seconds=0.1)) as server:
        with subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, server.openai_url, what, address],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "began\n"
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        assert "interrupted" in out
        assert server.wait_idle(30)
        billed = int(server.bill.to_dict()["total"]["cost_nusd"])
    ledger = Ledger(address)
    assert ledger.store.held() == []
    account = ledger.account("acme")
    assert account.settled.nusd >= billed > 0
    ledger.close()


_LEFT = """
import sys
from agentkit import Budget, chat_model, metered
from agentkit.budgets import Ledger

url, address = sys.argv[1:]
model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", max_tokens=300)
task = Ledger(address).open_task(scope="acme", budget=Budget(usd="1"))
stream = metered(model, task).stream("hi")
next(stream)
"""


def test_a_stream_that_the_end_of_the_program_leaves_is_settled(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    with ScriptedProvider(lambda _: Reply(text=WORDS, pause_seconds=0.1)) as server:
        command = [sys.executable, "-c", _LEFT, server.openai_url, address]
        subprocess.run(command, check=True, timeout=60)
    ledger = Ledger(address)
    assert ledger.store.held() == []
    assert ledger.account("acme").settled.nusd > 0
    ledger.close()


@pytest.mark.parametrize("reasoning_tokens", [0, 100, 5_000])
def test_the_clamp_holds_in_every_request_reasoning_inside_it(
    reasoning_tokens: int, wire: Wire
) -> None:
    """Streamed and whole; what the model would say or think beyond the clamp is not billed."""
    task = Ledger().open_task(budget=Budget(usd="0.01"))
    reply = Reply(text="word " * 5_000, reasoning_tokens=reasoning_tokens)
    with ScriptedProvider(lambda _: reply) as server:
        model = metered(_client(wire, server), task)
        model.invoke("hi")
        list(model.stream("hi"))
        assert server.wait_idle()
        sent = [json.loads(request.body) for request in server.requests]
        billed = int(server.bill.to_dict()["total"]["cost_nusd"])
    limits = [body.get("max_completion_tokens") or body.get("max_tokens") for body in sent]
    assert limits == [call.max_output_tokens for call in task.calls] == [300, 300]
    assert all(call.usage.output_tokens <= 300 for call in task.calls)
    assert task.record.cost_nusd == billed <= 10_000_000
