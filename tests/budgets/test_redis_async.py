"""The async Redis store keeps every rule, and notices a loss like the sync one."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

import pytest

from agentkit.budgets import (
    Amount,
    BudgetStateLost,
    Limits,
    Scope,
    Store,
    StoreError,
)
from agentkit.budgets.conformance import CHECKS, Check
from agentkit.budgets.store import Denial, Grant
from agentkit.budgets.stores.redis_async import AsyncRedisStore
from tests.budgets.redis_server import RedisServer

_LEASE_SECONDS = 60.0


class OnALoop:
    """An async store as the suite wants it: each verb runs on a loop in a thread of its own."""

    def __init__(self, make: Callable[[], AsyncRedisStore]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._store = make()
        self._open = True

    @property
    def blocking(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        def run(*arguments: Any, **options: Any) -> Any:
            answer = verb(*arguments, **options)
            if inspect.isasyncgen(answer):
                return iter(self._wait(_listed(answer)))
            return self._wait(answer)

        return run

    def close(self) -> None:
        if self._open:
            self._open = False
            self._wait(self._store.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


async def _listed(rows: AsyncIterator[Any]) -> list[Any]:
    return [row async for row in rows]


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
def test_async_store_keeps_the_rule(rule: Check, redis_server: RedisServer) -> None:
    def fresh(clock: Callable[[], float]) -> Store:
        redis_server.flush()
        address = redis_server.address
        return cast("Store", OnALoop(lambda: AsyncRedisStore(address, clock=clock)))

    rule(fresh)


async def test_tasks_of_one_loop_share_a_limit_exactly(redis_server: RedisServer) -> None:
    redis_server.flush()
    store = AsyncRedisStore(redis_server.address)
    await store.put_scope(Scope(path="acme", limits=Limits(nusd=50)))

    async def spend(number: int) -> bool:
        ten = Amount(nusd=10)
        answer = await store.reserve(f"r{number}", ten, ["acme"], lease_seconds=_LEASE_SECONDS)
        if isinstance(answer, Denial):
            return False
        await store.settle(f"r{number}", ten)
        return True

    made = await asyncio.gather(*(spend(number) for number in range(12)))
    assert sum(made) == 5
    await store.close()


async def test_async_store_notices_a_loss(redis_server: RedisServer) -> None:
    redis_server.flush()
    store = AsyncRedisStore(f"{redis_server.address}&wait_seconds=0")
    await store.put_scope(Scope(path="acme", limits=Limits(nusd=10)))
    await store.reserve("r", Amount(nusd=4), ["acme"], lease_seconds=0.2)
    redis_server.flush()
    with pytest.raises(BudgetStateLost):
        await store.reserve("next", Amount(nusd=1), ["acme"], lease_seconds=0.2)
    await store.settle("r", Amount(nusd=3))
    await asyncio.sleep(0.25)
    answer = await store.reserve("next", Amount(nusd=1), ["acme"], lease_seconds=_LEASE_SECONDS)
    assert isinstance(answer, Grant)
    assert (await store.account("acme")).settled == Amount(nusd=3)
    await store.close()


async def test_async_store_looks_at_the_settings(redis_server: RedisServer) -> None:
    bare = redis_server.address.partition("?")[0]
    store = AsyncRedisStore(bare)
    assert any("appendonly is 'no'" in risk for risk in await store.check())
    await store.close()
    strict = AsyncRedisStore(f"{bare}?durability=require")
    with pytest.raises(StoreError, match="may forget what was spent"):
        await strict.check()
    await strict.close()
    with pytest.raises(StoreError, match="is closed"):
        await strict.ensure_scopes(["acme"])
