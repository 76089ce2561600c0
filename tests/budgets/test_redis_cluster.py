"""The Redis ledger on a real cluster of three nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentkit.budgets import Amount, Limits, Scope, Store, StoreError, TaskRecord
from agentkit.budgets.conformance import CHECKS, Check
from agentkit.budgets.store import Grant
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.redis_async import AsyncRedisStore
from tests.budgets.redis_cluster import Cluster
from tests.budgets.redis_server import BINARY


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        cluster = Cluster(Path(folder))
        yield cluster
        cluster.kill()


@pytest.mark.parametrize("rule", CHECKS[::3], ids=lambda rule: rule.name)
def test_cluster_keeps_the_rule(rule: Check, cluster: Cluster) -> None:
    def fresh(clock: Callable[[], float]) -> Store:
        cluster.flush()
        return RedisStore(cluster.address, clock=clock)

    rule(fresh)


def test_orgs_are_spread_and_each_is_atomic(cluster: Cluster) -> None:
    cluster.flush()
    store = RedisStore(cluster.address)
    orgs = [f"org{number}" for number in range(12)]
    for org in orgs:
        store.put_scope(Scope(path=org, limits=Limits(nusd=5)))
        store.ensure_scopes([f"{org}/a"])
        chain = [org, f"{org}/a"]
        assert isinstance(store.reserve(f"r.{org}", Amount(3), chain, lease_seconds=9.0), Grant)
        store.put_task(TaskRecord(task_id=f"t.{org}", scope=org, started_at=1.0))
    other = RedisStore(cluster.address)
    assert len(other.held()) == len(orgs)
    assert len(other.tasks()) == len(orgs)
    for org in orgs:
        assert other.settle(f"r.{org}", Amount(2)).after == "settled"
        assert store.account(org).settled == Amount(2)
    assert all(int(cluster.ask(port, "DBSIZE")) > 0 for port in cluster.ports)
    store.close()
    other.close()


def test_a_closed_ledger_leaves_no_connection(cluster: Cluster) -> None:
    def connected() -> int:
        told = (cluster.ask(port, "INFO", "clients") for port in cluster.ports)
        return sum(int(each["connected_clients"]) for each in told)

    store = RedisStore(cluster.address)
    orgs = [f"org{number}" for number in range(12)]  # on every node
    store.ensure_scopes(orgs)
    assert connected() > len(cluster.ports)
    store.close()
    cluster.wait_for(lambda: connected() == len(cluster.ports))  # ours that ask


def test_settings_of_every_node_count(cluster: Cluster) -> None:
    cluster.ask(cluster.ports[2], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = RedisStore(cluster.address.replace("durability=ignore", "durability=warn"))
    assert any("maxmemory-policy is 'allkeys-lru'" in risk for risk in store.risks)
    cluster.ask(cluster.ports[2], "CONFIG", "SET", "maxmemory-policy", "noeviction")
    store.close()


def test_async_store_refuses_a_cluster() -> None:
    with pytest.raises(StoreError, match="cannot use cluster=yes"):
        AsyncRedisStore("redis://127.0.0.1:1?cluster=yes")
