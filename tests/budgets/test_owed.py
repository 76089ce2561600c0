"""`on_store_error="allow"`: a store that is down stops no call, and is told of them later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentkit.budgets import Amount, Budget, BudgetStateLost, Ledger, Limits, StoreError, Usage
from agentkit.budgets.call_plan import CallPlan
from tests.budgets.redis_server import RedisServer, running_redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def _plan(ledger: Ledger) -> CallPlan:
    return CallPlan(
        price=ledger.prices.price("pocket", "local"),
        counted_input_tokens=100,
        input_tokens=100,
        wanted_output_tokens=50,
    )


def test_call_goes_on_without_its_store_and_is_charged_afterwards(server: RedisServer) -> None:
    ledger = Ledger(server.address, on_store_error="allow")
    ledger.set_limits("acme", Limits(tokens=1_000))
    task = ledger.open_task(scope="acme", budget=Budget(tokens=900))
    before = task.hold_call(_plan(ledger))
    server.kill()
    task.settle_call(before, Usage(input_tokens=100, output_tokens=10))
    during = task.hold_call(_plan(ledger))
    assert ledger.owed.tokens == 110 + 150
    task.settle_call(during, Usage(input_tokens=100, output_tokens=20))
    task.note("note", "is not written")
    assert ledger.owed.tokens == 110 + 120
    server.start()
    after = task.hold_call(_plan(ledger))
    assert ledger.owed == Amount()
    account = ledger.account("acme")
    assert (account.settled.tokens, account.held.tokens) == (230, 150)
    assert [call.usage.output_tokens for call in ledger.store.calls(task.task_id)] == [10, 20]
    task.release_call(after, error="not sent")
    ledger.close()


def test_it_is_denied_by_default(server: RedisServer) -> None:
    ledger = Ledger(server.address)
    task = ledger.open_task(scope="acme", budget=Budget(tokens=900))
    server.kill()
    with pytest.raises(StoreError, match="nothing is reserved while it does not answer"):
        task.hold_call(_plan(ledger))
    ledger.close()


def test_what_never_left_is_not_owed(server: RedisServer) -> None:
    ledger = Ledger(server.address, on_store_error="allow")
    task = ledger.open_task(scope="acme", budget=Budget(tokens=900))
    server.kill()
    held = task.hold_call(_plan(ledger))
    task.release_call(held, error="not sent")
    assert ledger.owed == Amount()
    ledger.close()


def test_lost_state_is_refused_all_the_same(server: RedisServer) -> None:
    ledger = Ledger(server.address, on_store_error="allow")
    task = ledger.open_task(scope="acme", budget=Budget(tokens=900))
    server.flush()
    with pytest.raises(BudgetStateLost):
        task.hold_call(_plan(ledger))
    assert ledger.owed == Amount()
    ledger.close()


def test_what_could_not_be_charged_is_told_at_the_end(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(server.address, on_store_error="allow")
    task = ledger.open_task(scope="acme", budget=Budget(tokens=900))
    server.kill()
    held = task.hold_call(_plan(ledger))
    task.settle_call(held, Usage(input_tokens=100, output_tokens=20))
    ledger.close()
    assert "was spent and could not be charged" in caplog.text
