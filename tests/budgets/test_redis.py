"""The Redis ledger against a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentkit.budgets import Store
from agentkit.budgets.conformance import CHECKS, Check
from agentkit.budgets.stores.redis import RedisStore
from tests.budgets.redis_server import RedisServer


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
def test_redis_store_keeps_the_rule(rule: Check, empty_redis: RedisServer) -> None:
    def fresh(clock: Callable[[], float]) -> Store:
        empty_redis.flush()
        return RedisStore(empty_redis.address, clock=clock)

    rule(fresh)


@pytest.mark.parametrize(
    "rule", [each for each in CHECKS if not each.moves_clock], ids=lambda rule: rule.name
)
def test_redis_store_keeps_the_rule_by_its_own_clock(rule: Check, empty_redis: RedisServer) -> None:
    def fresh(_: Callable[[], float]) -> Store:
        empty_redis.flush()
        return RedisStore(empty_redis.address)

    rule(fresh, server_clock=True)
