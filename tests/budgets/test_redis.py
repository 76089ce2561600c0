"""The Redis ledger against a real server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from agentkit.budgets import (
    Amount,
    Budget,
    BudgetEvent,
    Ledger,
    Limits,
    Scope,
    Store,
    StoreError,
    TaskRecord,
    Usage,
    open_store,
)
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.conformance import CHECKS, Check
from agentkit.budgets.scope import Window
from agentkit.budgets.store import Denial, Grant
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.redis_window import span_at
from tests.budgets.redis_server import RedisServer
from tests.budgets.spender import start_spender
from tests.budgets.store_machine import EXAMPLES, StoreMachine


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


class RedisMachine(StoreMachine):
    """The model-based test against Redis."""

    server: ClassVar[RedisServer]

    def open(self, clock: Callable[[], float]) -> Store:
        self.server.flush()
        return RedisStore(self.server.address, clock=clock)


def test_redis_store_follows_the_model(redis_server: RedisServer) -> None:
    RedisMachine.server = redis_server
    run_state_machine_as_test(RedisMachine, settings=EXAMPLES)


def _two_stores(server: RedisServer) -> tuple[RedisStore, RedisStore]:
    return RedisStore(server.address), RedisStore(server.address)


def test_another_process_can_end_a_reservation(empty_redis: RedisServer) -> None:
    """A store that never saw the id finds its org."""
    first, second = _two_stores(empty_redis)
    for org in ("acme", "zeta"):
        first.put_scope(Scope(path=org, limits=Limits(nusd=10)))
    first.put_task(TaskRecord(task_id="t", scope="zeta", started_at=1.0))
    first.reserve("r", Amount(nusd=7), ["zeta"], lease_seconds=60.0)
    assert second.renew("r", lease_seconds=60.0)
    assert second.settle("r", Amount(nusd=4)).changes[0].after == Amount(nusd=4)
    assert first.account("zeta").settled == Amount(nusd=4)
    assert second.task("t") == first.task("t") is not None
    first.close()
    second.close()


def test_whole_task_over_redis(empty_redis: RedisServer) -> None:
    """A task is opened, clamped, landed and closed; another ledger reads what it cost."""
    ledger, other = Ledger(empty_redis.address), Ledger(empty_redis.address)
    ledger.set_limits("acme", Limits(tokens=1_000), window="month", timezone="Europe/Berlin")
    events: list[BudgetEvent] = []
    task = ledger.open_task(scope="acme/support", budget=Budget(tokens=300))
    task.listen(events.append)
    task.hold_landing(Amount(tokens=120, fresh_tokens=120, calls=1))
    plan = CallPlan(
        price=ledger.prices.price("pocket", "local"),
        counted_input_tokens=100,
        input_tokens=100,
        wanted_output_tokens=500,
    )
    step = task.hold_call(plan)
    assert step.max_output_tokens == 80
    call = task.settle_call(step, Usage(input_tokens=100, output_tokens=70))
    landing = task.hold_landing_call(plan)
    task.forfeit_call(landing, status="cut", error="the stream ended early")
    record = task.close("landed")
    assert other.store.task(task.task_id) == record
    assert other.store.calls(task.task_id)[0] == call
    assert other.account("acme").settled.tokens == 170 + 120
    assert other.account("acme").available.tokens == 710
    assert [event.kind for event in events] == ["threshold", "landing", "threshold", "forfeit"]
    ledger.close()
    other.close()


def test_reservation_over_two_orgs_is_refused(empty_redis: RedisServer) -> None:
    store = RedisStore(empty_redis.address)
    store.ensure_scopes(["acme", "zeta"])
    with pytest.raises(StoreError, match=r"one org, not 2 \(acme, zeta\)"):
        store.reserve("r", Amount(), ["acme", "zeta"], lease_seconds=1.0)
    store.close()


def test_keys_of_an_org_share_a_slot_and_scopes_never_expire(empty_redis: RedisServer) -> None:
    ledger = Ledger(empty_redis.address)
    ledger.set_limits("acme", Limits(calls=9), window="day", timezone="Asia/Tokyo")
    task = ledger.open_task(scope="acme/support", budget=Budget(calls=3))
    task.hold_landing(Amount(calls=1))
    task.note("note", "hello")
    keys = set(empty_redis.ask("KEYS", "*")) - {"agentkit:ledger:orgs", "agentkit:ledger:opened"}
    assert len(keys) > 5
    assert all(key.startswith("agentkit:ledger:{acme}:") for key in keys)
    assert {empty_redis.ask("TTL", key) for key in keys} == {-1}
    ledger.close()


def test_scripts_that_were_flushed_are_loaded_again(empty_redis: RedisServer) -> None:
    store = RedisStore(empty_redis.address)
    store.ensure_scopes(["acme"])
    empty_redis.ask("SCRIPT", "FLUSH")
    assert isinstance(store.reserve("r", Amount(1), ["acme"], lease_seconds=60.0), Grant)
    store.close()


def test_spending_survives_a_crash_of_the_server() -> None:
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        server = RedisServer(Path(folder), "--appendonly", "yes", "--appendfsync", "always")
        store = RedisStore(server.address)
        store.put_scope(Scope(path="acme", limits=Limits(nusd=10)))
        store.reserve("r", Amount(nusd=7), ["acme"], lease_seconds=60.0)
        server.kill()
        with pytest.raises(StoreError, match="nothing is reserved while it does not answer"):
            store.reserve("r2", Amount(nusd=1), ["acme"], lease_seconds=60.0)
        server.start()
        denial = store.reserve("r3", Amount(nusd=4), ["acme"], lease_seconds=60.0)
        assert isinstance(denial, Denial)
        assert denial.available == 3
        store.settle("r", Amount(nusd=5))
        assert store.account("acme").settled.nusd == 5
        store.close()
        server.kill()


def test_full_server_refuses(redis_server: RedisServer) -> None:
    redis_server.flush()
    store = RedisStore(redis_server.address)
    store.ensure_scopes(["acme"])
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="maxmemory"):
            store.reserve("r", Amount(1), ["acme"], lease_seconds=60.0)
    finally:
        redis_server.ask("CONFIG", "SET", "maxmemory", "0")
    assert store.account("acme").held == Amount()
    store.close()


def test_server_that_may_forget_is_told(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bare = redis_server.address.partition("?")[0]
    with caplog.at_level("WARNING", "agentkit.budgets"):
        store = open_store(bare)
    assert isinstance(store, RedisStore)
    assert store.risks == (
        "appendonly is 'no': a restart forgets what was spent since the last snapshot; "
        "set it to 'yes'",
    )
    assert "appendonly is 'no'" in caplog.text
    store.close()
    with pytest.raises(StoreError, match="may forget what was spent"):
        RedisStore(f"{bare}?durability=require")


def test_server_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="check that the server runs") as caught:
        open_store("redis://user:hunter2@127.0.0.1:1/0")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("redis://", "cannot be read"),
        ("redis://host:port/0", "cannot be read"),
        ("unix://", "cannot be read"),
        ("redis://h/0?ssl_cert_reqs=none", "unknown option 'ssl_cert_reqs'"),
        ("redis://h/0?durability=maybe", "durability=warn, require or ignore"),
    ],
)
def test_address_that_cannot_be_meant(address: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint):
        open_store(address)


def test_ledger_of_an_earlier_format_is_refused(empty_redis: RedisServer) -> None:
    empty_redis.ask("SADD", "agentkit:orgs", "acme")
    with pytest.raises(StoreError, match=r"take another database .* or delete the keys"):
        RedisStore(empty_redis.address)


def test_closed_store_fails_closed(empty_redis: RedisServer) -> None:
    store = RedisStore(empty_redis.address)
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.ensure_scopes(["acme"])


def test_processes_share_a_server_exactly(empty_redis: RedisServer) -> None:
    ledger = Ledger(empty_redis.address)
    ledger.set_limits("acme", Limits(nusd=1_000))
    workers = [start_spender(empty_redis.address, f"w{number}") for number in range(3)]
    made = sum(int(worker.communicate(timeout=60)[0]) for worker in workers)
    account = ledger.account("acme")
    assert (account.settled, account.held) == (Amount(nusd=9 * made), Amount())
    assert made in (110, 111)
    ledger.close()


@given(
    now_ms=st.integers(1_577_836_800_000, 2_051_222_400_000),
    kind=st.sampled_from(["day", "month"]),
    timezone=st.sampled_from(
        [
            *("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "America/Havana"),
            *("Atlantic/Azores", "Africa/Cairo", "Asia/Beirut", "America/Asuncion"),
            *("Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham"),
        ]
    ),
)
def test_span_is_the_window(now_ms: int, kind: Window, timezone: str) -> None:
    """A span holds now, and at both of its ends where the scope says the window ends."""
    first, after, key = span_at(f"{kind} {timezone}", now_ms).split()
    scope = Scope(path="acme", window=kind, timezone=timezone)
    assert int(first) <= now_ms < int(after)
    assert scope.window_key(now_ms / 1000) == key
    assert scope.window_key(int(first) / 1000) == key == scope.window_key((int(after) - 1) / 1000)
    assert scope.window_key(int(after) / 1000) != key != scope.window_key((int(first) - 1) / 1000)
