"""The connections of a Redis ledger: kept, never shared, made again where they broke."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentkit.budgets import Amount, Scope, StoreError
from agentkit.budgets.stores.redis import RedisStore
from tests.budgets.redis_server import RedisServer

_WORST = Amount(1_000, 10, 10, 1)
_CALLS = 50
_THREADS = 8
_FORKING = """
import os, sys
from agentkit.budgets import Amount, Scope
from agentkit.budgets.stores.redis import RedisStore

store = RedisStore(sys.argv[1])
store.put_scope(Scope(path="acme"))
child = os.fork()
who = "parent" if child else "child"
for number in range(50):
    granted = store.reserve(f"{who}{number}", Amount(1_000, 10, 10, 1), ("acme",), lease_seconds=60)
    assert granted.reservation_id == f"{who}{number}", granted
    assert store.settle(f"{who}{number}", Amount(500, 5, 5, 1)).reservation_id == f"{who}{number}"
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    redis_server.flush()
    store = RedisStore(redis_server.address)
    store.put_scope(Scope(path="acme"))
    yield store
    store.close()


def _spend(store: RedisStore, name: str) -> None:
    store.reserve(name, _WORST, ("acme",), lease_seconds=60)
    store.settle(name, Amount(500, 5, 5, 1))


def _connections(server: RedisServer) -> int:
    return len(server.ask("CLIENT", "LIST", "TYPE", "normal").splitlines())


def test_one_thread_has_one_connection_and_threads_have_one_each(
    store: RedisStore, redis_server: RedisServer
) -> None:
    before = _connections(redis_server)
    for number in range(_CALLS):
        _spend(store, f"alone {number}")
    assert _connections(redis_server) == before
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda number: _spend(store, f"many {number}"), range(_CALLS * _THREADS)))
    assert _connections(redis_server) <= before + _THREADS
    assert store.account("acme").settled.calls == _CALLS * (_THREADS + 1)


def test_connections_that_the_server_closed_are_made_again(
    store: RedisStore, redis_server: RedisServer
) -> None:
    _spend(store, "before")
    redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(0.05)
    _spend(store, "after")
    assert store.account("acme").settled.calls == 2
    assert not any(store.account("acme").held)


def test_closing_lets_go_of_every_connection(store: RedisStore, redis_server: RedisServer) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda number: _spend(store, f"{number}"), range(_CALLS)))
    store.close()
    time.sleep(0.05)
    assert _connections(redis_server) == 1  # the one that asks
    with pytest.raises(StoreError, match="is closed"):
        _spend(store, "late")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_does_not_use_its_parents_connections(
    store: RedisStore, redis_server: RedisServer
) -> None:
    command = [sys.executable, "-c", _FORKING, redis_server.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    account = store.account("acme")
    assert (account.settled.calls, account.held.calls) == (2 * _CALLS, 0)
