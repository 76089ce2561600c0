"""The Redis ledger on a real cluster of three nodes."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from agentkit.budgets import Amount, Limits, Scope, Store, StoreError, TaskRecord
from agentkit.budgets.conformance import CHECKS, Check
from agentkit.budgets.store import Grant
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.redis_async import AsyncRedisStore
from tests.budgets.redis_server import BINARY

_SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


def _free_port() -> int:
    """A port whose cluster bus, 10,000 above it, is a port as well."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


class Cluster:
    """Three masters that share the slots."""

    def __init__(self, folder: Path) -> None:
        self.ports = [_free_port() for _ in _SLOTS]
        self.processes: list[subprocess.Popen[bytes]] = []
        for port in self.ports:
            (folder / str(port)).mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--save", "")
            command = [
                BINARY or "",
                "--port",
                str(port),
                "--dir",
                str(folder / str(port)),
                *options,
            ]
            self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for port, (first, last) in zip(self.ports, _SLOTS, strict=True):
            self.wait_for(lambda p=port: self.ask(p, "PING"))
            self.ask(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.ask(self.ports[0], "CLUSTER", "MEET", "127.0.0.1", port)
        for port in self.ports:
            self.wait_for(lambda p=port: "cluster_state:ok" in str(self.ask(p, "CLUSTER", "INFO")))

    @property
    def address(self) -> str:
        """How a ledger names this cluster: by any of its nodes."""
        return f"redis://127.0.0.1:{self.ports[0]}?cluster=yes&durability=ignore"

    def ask(self, port: int, *command: object) -> Any:
        """The answer of one node."""
        with closing(redis.Redis(port=port)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py

    def flush(self) -> None:
        """Forget everything."""
        for port in self.ports:
            self.ask(port, "FLUSHALL")

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Until it holds; raises RuntimeError after half a minute."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except redis.RedisError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the cluster did not come up")

    def close(self) -> None:
        """End the nodes."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        cluster = Cluster(Path(folder))
        yield cluster
        cluster.close()


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


def test_settings_of_every_node_count(cluster: Cluster) -> None:
    cluster.ask(cluster.ports[2], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = RedisStore(cluster.address.replace("durability=ignore", "durability=warn"))
    assert any("maxmemory-policy is 'allkeys-lru'" in risk for risk in store.risks)
    cluster.ask(cluster.ports[2], "CONFIG", "SET", "maxmemory-policy", "noeviction")
    store.close()


def test_async_store_refuses_a_cluster() -> None:
    with pytest.raises(StoreError, match="cannot use cluster=yes"):
        AsyncRedisStore("redis://127.0.0.1:1?cluster=yes")
