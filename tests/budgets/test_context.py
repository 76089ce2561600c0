"""The current task: where it is found, where it is not, and how it gets there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentkit.budgets import Ledger, TaskMissing, carry, current_task, spending


def _name() -> str:
    try:
        return current_task().task_id
    except TaskMissing:
        return "none"


def _in_thread(work: Callable[[], str]) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_no_task_is_refused_with_what_to_do() -> None:
    with pytest.raises(TaskMissing, match=r"metered\(model, task\)"):
        current_task()


def test_task_is_current_inside_the_block_only() -> None:
    ledger = Ledger()
    with spending(ledger.open_task(task_id="a")):
        with spending(ledger.open_task(task_id="b")):
            assert _name() == "b"
        assert _name() == "a"
    assert _name() == "none"


def test_threads_and_pools_need_carry() -> None:
    with spending(Ledger().open_task(task_id="a")), ThreadPoolExecutor(2) as pool:
        assert _in_thread(_name) == "none"
        assert _in_thread(carry(_name)) == "a"
        assert pool.submit(_name).result() == "none"
        carried = carry(lambda _: _name())
        assert list(pool.map(carried, range(20))) == ["a"] * 20


def test_carried_function_keeps_its_task_after_the_block() -> None:
    with spending(Ledger().open_task(task_id="a")):
        carried = carry(_name)
    assert carried() == "a"
    assert _name() == "none"


async def test_asyncio_tasks_and_to_thread_carry_it_themselves() -> None:
    async def name() -> str:
        await asyncio.sleep(0)
        return _name()

    ledger = Ledger()

    async def one(task_id: str) -> list[str]:
        with spending(ledger.open_task(task_id=task_id)):
            found = await asyncio.gather(name(), asyncio.create_task(name()))
            return [*found, await asyncio.to_thread(_name)]

    assert await asyncio.gather(one("a"), one("b")) == [["a"] * 3, ["b"] * 3]
    assert _name() == "none"
