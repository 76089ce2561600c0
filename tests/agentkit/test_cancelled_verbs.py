"""A cancellation that comes while a verb of the ledger is under way is never lost.

Nor may it end the verb: whether money is held would be known to nobody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, Budget, metered
from agentkit.budgets import Ledger
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.effects import Blocking, adrive, off_loop
from tests.scripted import ScriptedModel, call, in_turn

_VERBS = ("reserve", "settle", "release", "put_task", "add_event")
_VERB_SECONDS = 0.02
_SCRIPT = (call("look_up", query="x"), call("look_up", query="y"), "it is found")


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


class _Watch:
    """Counts the verbs that are begun, and lets `act` be called while one of them is under way."""

    def __init__(self) -> None:
        self.begun = 0
        self.threads: set[int] = set()
        self.at = 0
        self.act: Callable[[], object] = lambda: None

    def begin(self) -> None:
        self.begun += 1
        self.threads.add(threading.get_ident())
        if self.begun == self.at:
            self.act()
            time.sleep(_VERB_SECONDS)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> _Watch:
    watch = _Watch()
    for name in _VERBS:
        verb = getattr(SqliteStore, name)

        def watched(self: SqliteStore, *args: Any, _verb: Any = verb, **kwargs: Any) -> Any:
            watch.begin()
            return _verb(self, *args, **kwargs)

        monkeypatch.setattr(SqliteStore, name, watched)
    return watch


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db?synchronous=NORMAL")
    yield ledger
    ledger.close()


def _agent(ledger: Ledger) -> tuple[ScriptedModel, Agent]:
    model = ScriptedModel(script=in_turn(*_SCRIPT))
    return model, Agent([model], [look_up], budget=Budget(calls=9), ledger=ledger)


async def _cancelled_at(watch: _Watch, verb: int, ledger: Ledger, *, times: int) -> int:
    """Model calls that were made after the run was cancelled during its verb number `verb`."""
    model, agent = _agent(ledger)
    loop, made = asyncio.get_running_loop(), 0
    running = asyncio.create_task(agent.arun("look it up"))

    def cancel() -> None:
        nonlocal made
        made = len(model.seen)
        for number in range(times):
            loop.call_soon_threadsafe(running.cancel)
            time.sleep(_VERB_SECONDS * number)

    watch.begun, watch.at, watch.act = 0, verb, cancel
    with pytest.raises(asyncio.CancelledError):
        await running
    return len(model.seen) - made


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_cancelled_in_any_verb_a_run_ends_and_calls_no_more(
    watch: _Watch, ledger: Ledger, times: int
) -> None:
    _, agent = _agent(ledger)
    assert asyncio.run(agent.arun("look it up")).outcome == "answered"
    verbs = watch.begun
    assert verbs > 8
    for verb in range(1, verbs + 1):
        assert asyncio.run(_cancelled_at(watch, verb, ledger, times=times)) == 0, verb
        assert ledger.store.held() == [], verb
    assert threading.get_ident() not in watch.threads


def test_a_stream_that_is_cancelled_while_it_is_reserved_costs_nothing(
    watch: _Watch, ledger: Ledger
) -> None:
    task = ledger.open_task(scope="acme", budget=Budget(calls=9))
    script = ScriptedModel(script=in_turn("one two three"))
    model = metered(script, task)

    async def read() -> None:
        async for _ in model.astream("count"):
            pass

    async def cancelled() -> None:
        reading = asyncio.create_task(read())
        loop = asyncio.get_running_loop()
        watch.begun, watch.at = 0, 1
        watch.act = lambda: loop.call_soon_threadsafe(reading.cancel)
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(cancelled())
    assert not script.seen
    assert ledger.store.held() == []
    assert not any(ledger.account("acme").settled)


def test_a_call_that_fails_is_settled_off_the_loop(watch: _Watch, ledger: Ledger) -> None:
    model = ScriptedModel(script=in_turn(RuntimeError("the provider is down")))
    agent = Agent([model], budget=Budget(calls=9), ledger=ledger)
    assert asyncio.run(agent.arun("look it up")).outcome == "failed"
    assert threading.get_ident() not in watch.threads


def test_a_cancellation_outlives_the_verbs_and_the_failure_that_follow_it() -> None:
    async def cancelled(*, fails: bool) -> list[str]:
        done: list[str] = []

        def work() -> Any:
            for name in ("first", "second"):
                yield Blocking(partial(time.sleep, _VERB_SECONDS), off_loop=True)
                done.append(name)
            if fails:
                raise LookupError(name)

        driving = asyncio.create_task(adrive(work()))
        await asyncio.sleep(_VERB_SECONDS / 4)
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving
        return done

    for fails in (False, True):
        assert asyncio.run(cancelled(fails=fails)) == ["first", "second"]


def test_a_verb_is_carried_out_where_the_loop_takes_no_more_threads() -> None:
    async def late() -> object:
        await asyncio.get_running_loop().shutdown_default_executor()
        return await off_loop(lambda: "done")

    assert asyncio.run(late()) == ("done", None)
