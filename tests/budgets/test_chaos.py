"""Real processes killed while they spend, and servers that lose what they were told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.budgets import (
    Amount,
    Ledger,
    Limits,
    ReservationUnknown,
    ScopeMissing,
    StoreError,
    Task,
)
from agentkit.budgets.store import Denial
from agentkit.budgets.stores.redis import RedisStore
from tests.budgets.redis_server import BINARY, RedisServer

_ROOT = Path(__file__).resolve().parents[2]
_LIMIT_NUSD = 100


def _chaos(*options: str) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/chaos.py", "--json", *options]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=110)
    assert run.stdout, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
def test_budget_holds_while_workers_are_killed(store: str) -> None:
    if store == "redis" and BINARY is None:
        pytest.skip("redis-server is not installed")
    report = _chaos("--store", store, "--runs", "6", "--workers", "3", "--calls", "200")
    assert report["first_faults"] == []
    zeros = ("overshoot_runs", "violations", "undercount_nusd", "stuck_leases")
    assert {name: report[name] for name in zeros} == dict.fromkeys(zeros, 0)
    assert report["kills"] >= 6
    assert report["utilisation"] > 0.9


def test_same_load_breaks_a_ledger_that_checks_and_then_adds() -> None:
    """The load can be failed: a read, a call and an increment go over and forget."""
    peer = "check-then-increment"
    report = _chaos("--store", "memory", "--runs", "3", "--workers", "8", "--peer", peer)
    assert report["agentkit"]["violations"] == 0
    assert report[peer]["overshoot_runs"] > 0
    assert report[peer]["undercount_nusd"] > 0


@pytest.fixture
def durable_server() -> Iterator[RedisServer]:
    """A server that writes everything, in a folder of its own."""
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        server = RedisServer(Path(folder), "--appendonly", "yes", "--appendfsync", "always")
        yield server
        server.kill()


@pytest.fixture
def ledger(durable_server: RedisServer) -> Iterator[Ledger]:
    """A ledger in which 'acme' has spent 90 of 100 nano-USD."""
    ledger = Ledger(durable_server.address)
    ledger.set_limits("acme", Limits(nusd=_LIMIT_NUSD))
    for number in range(90):
        ledger.reserve(f"early{number}", Amount(nusd=1), ["acme"], lease_seconds=60.0)
        ledger.settle(f"early{number}", Amount(nusd=1))
    yield ledger
    ledger.close()


def _lose_everything(server: RedisServer) -> None:
    server.kill()
    for entry in server.folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    server.start()


def _truncate(server: RedisServer) -> None:
    """Cut the last 30 % off the server's append-only file, as a torn disk does."""
    server.kill()
    (journal,) = server.folder.glob("appendonlydir/*.incr.aof")
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) * 7 // 10])
    server.start()


def _task(ledger: Ledger) -> Task:
    return ledger.open_task(scope="acme", task_id="t")


@pytest.mark.parametrize("lose", [RedisServer.flush, _lose_everything], ids=["flush", "disk"])
def test_server_that_forgot_everything_grants_nothing(
    durable_server: RedisServer, ledger: Ledger, lose: Callable[[RedisServer], None]
) -> None:
    """Every verb of a task that was open fails; none starts a new account."""
    task = _task(ledger)
    chain = ["acme", task.path]
    ledger.reserve("open", Amount(nusd=2), chain, lease_seconds=60.0)
    lose(durable_server)
    with pytest.raises(ScopeMissing, match="'acme' does not exist"):
        ledger.reserve("next", Amount(nusd=1), chain, lease_seconds=60.0)
    with pytest.raises(ScopeMissing):
        task.room()
    with pytest.raises(ReservationUnknown):
        ledger.settle("open", Amount(nusd=2))
    assert not ledger.renew("open", lease_seconds=60.0)
    assert durable_server.ask("KEYS", "agentkit:{acme}:*") == []


def test_evicting_server_is_told_at_connect_and_grants_nothing(
    durable_server: RedisServer, ledger: Ledger
) -> None:
    durable_server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    bare = durable_server.address.partition("?")[0]
    with pytest.raises(StoreError, match="under memory pressure it evicts what was spent"):
        RedisStore(f"{bare}?durability=require")
    durable_server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises((StoreError, ScopeMissing)):
        ledger.reserve("next", Amount(nusd=1), ["acme"], lease_seconds=60.0)
    durable_server.ask("CONFIG", "SET", "maxmemory", "0")
    with pytest.raises(ScopeMissing):
        ledger.reserve("next", Amount(nusd=1), ["acme"], lease_seconds=60.0)


def test_server_that_crashed_knows_all_that_it_answered(
    durable_server: RedisServer, ledger: Ledger
) -> None:
    durable_server.kill()
    durable_server.start()
    assert ledger.account("acme").settled == Amount(nusd=90)


@pytest.mark.xfail(
    raises=AssertionError,
    reason="the store does not compare what it is told with what it was told before",
)
def test_server_that_went_back_in_time_is_noticed(
    durable_server: RedisServer, ledger: Ledger
) -> None:
    """docs/guarantees.md says so too: an older copy of the data grants its part once more."""
    _truncate(durable_server)
    refused = 0
    for number in range(_LIMIT_NUSD - 90 + 1):
        answer = ledger.try_reserve(f"r{number}", Amount(nusd=1), ["acme"], lease_seconds=60.0)
        refused += isinstance(answer, Denial)
    assert refused


@pytest.mark.xfail(
    raises=pytest.fail.Exception,
    reason="opening a task makes scopes that are missing, without limits",
)
def test_limits_of_a_server_that_forgot_are_not_made_anew(
    durable_server: RedisServer, ledger: Ledger
) -> None:
    durable_server.flush()
    with pytest.raises(ScopeMissing):
        _task(ledger)
