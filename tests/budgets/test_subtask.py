"""A subtask takes from its parent and gives back what it leaves, on every store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentkit.budgets import (
    Amount,
    Budget,
    BudgetEvent,
    BudgetExceeded,
    DeadlineExceeded,
    Extend,
    InvalidLimit,
    Ledger,
    Limits,
    Price,
    Usage,
)
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.task import Task

_ROOT = Path(__file__).resolve().parents[2]
FREE = Price(model="m", provider="p", state="free", source="free", bands=())
TOKENS = Budget(tokens=1_000)


@pytest.fixture
def ledger(store_address: str) -> Ledger:
    return Ledger(store_address)


def _plan(tokens: int = 100) -> CallPlan:
    return CallPlan(
        price=FREE, counted_input_tokens=tokens, input_tokens=tokens, wanted_output_tokens=10
    )


def _spend(task: Task, tokens: int) -> None:
    task.settle_call(task.hold_call(_plan(tokens)), Usage(input_tokens=tokens))


def _sums(ledger: Ledger, path: str) -> tuple[int, int]:
    account = ledger.account(path)
    return account.settled.tokens, account.held.tokens


def test_subtask_takes_its_budget_and_gives_back_the_rest(ledger: Ledger) -> None:
    ledger.set_limits("acme", Limits(tokens=5_000))
    task = ledger.open_task(scope="acme/a", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=400))
    assert task.room().tokens == 600
    assert part.room().tokens == 400
    assert _sums(ledger, "acme") == (0, 400)
    _spend(part, 150)
    assert _sums(ledger, "acme") == (0, 400)
    part.close("answered")
    assert _sums(ledger, "acme") == _sums(ledger, task.path) == (150, 0)
    assert ledger.account("acme").settled.calls == 1
    assert [scope.path for scope in ledger.store.scopes("acme")] == ["acme", "acme/a", task.path]


def test_no_sibling_can_spend_what_a_subtask_took(ledger: Ledger) -> None:
    task = ledger.open_task(budget=TOKENS)
    task.subtask(budget=Budget(tokens=950))
    with pytest.raises(BudgetExceeded) as caught:
        _spend(task, 60)
    assert caught.value.scope == task.path
    with pytest.raises(BudgetExceeded, match="50 tokens left"):
        task.subtask(budget=Budget(tokens=60))


def test_subtask_cannot_pass_its_own_limit_nor_its_parents_spare_it(ledger: Ledger) -> None:
    task = ledger.open_task(budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=200))
    _spend(part, 150)
    with pytest.raises(BudgetExceeded) as caught:
        _spend(part, 60)
    assert caught.value.scope == part.path


def test_many_subtasks_at_once_fit_exactly(ledger: Ledger) -> None:
    task = ledger.open_task(budget=TOKENS)

    def work(number: int) -> int:
        try:
            part = task.subtask(budget=Budget(tokens=200))
        except BudgetExceeded:
            return 0
        _spend(part, 100 + number)
        time.sleep(0.05)  # all are open at one time
        part.close("answered")
        return 100 + number

    with ThreadPoolExecutor(8) as pool:
        spent = list(pool.map(work, range(8)))
    assert _sums(ledger, task.path) == (sum(spent), 0)
    assert sum(spent) <= 1_000
    assert len([each for each in spent if each]) >= 5


def test_subtask_of_a_subtask(ledger: Ledger) -> None:
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=500))
    piece = part.subtask(budget=Budget(tokens=200))
    _spend(piece, 120)
    _spend(part, 30)
    assert (task.room().tokens, part.room().tokens, piece.room().tokens) == (500, 270, 80)
    piece.close("answered")
    part.close("answered")
    assert _sums(ledger, "acme") == (150, 0)
    assert ledger.account(task.path).settled.calls == 2


def test_what_is_limited_above_must_be_named(ledger: Ledger) -> None:
    ledger.set_limits("acme", Limits(calls=7))
    task = ledger.open_task(scope="acme", budget=TOKENS)
    with pytest.raises(InvalidLimit, match="calls are limited above this subtask, with 7 left"):
        task.subtask(budget=Budget(tokens=10))
    with pytest.raises(InvalidLimit, match="tokens are limited"):
        task.subtask(budget=Budget(calls=1))
    part = task.subtask(budget=Budget(tokens=10, calls=2))
    assert ledger.account("acme").held.calls == 2
    part.close("answered")


def test_what_nobody_limits_is_counted_and_no_overrun(store_address: str) -> None:
    events: list[BudgetEvent] = []
    ledger = Ledger(store_address, on_event=events.append)
    task = ledger.open_task(scope="acme", budget=Budget(calls=5))
    part = task.subtask(budget=Budget(calls=2))
    _spend(part, 120)
    part.close("answered")
    assert _sums(ledger, "acme") == (120, 0)
    assert {event.kind for event in events} <= {"threshold"}
    ledger.close()


def test_closing_the_parent_closes_its_subtasks(ledger: Ledger) -> None:
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=500))
    _spend(part, 120)
    record = task.close("answered")
    assert part.record.outcome == "cancelled"
    assert _sums(ledger, "acme") == (120, 0)
    assert record.outcome == "answered"


def test_call_still_under_way_is_charged_at_its_worst_case(ledger: Ledger) -> None:
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=500))
    held = part.hold_call(_plan(100))
    part.close("cancelled")
    assert _sums(ledger, "acme") == (110, 0)
    part.settle_call(held, Usage(input_tokens=90))
    assert _sums(ledger, "acme") == (110, 0)


def test_subtask_taken_up_again_takes_what_it_may_still_spend(ledger: Ledger) -> None:
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=300), task_id="part")
    _spend(part, 100)
    part.close("cancelled", resumable=True)
    assert _sums(ledger, "acme") == (100, 0)
    part = task.subtask(budget=Budget(tokens=300), task_id="part")
    assert _sums(ledger, "acme") == (100, 200)
    _spend(part, 150)
    part.close("answered")
    assert _sums(ledger, "acme") == (250, 0)
    assert task.room().tokens == 750


def test_extension_of_a_subtask_is_taken_too(ledger: Ledger) -> None:
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=300))
    part.extend(Extend(tokens=200))
    assert _sums(ledger, "acme") == (0, 500)
    with pytest.raises(BudgetExceeded):
        part.extend(Extend(tokens=600))
    assert part.room().tokens == 500
    _spend(part, 400)
    part.close("answered")
    assert _sums(ledger, "acme") == (400, 0)


def test_cost_of_subtasks_is_told_apart(ledger: Ledger) -> None:
    from tests.agentkit.test_cli_tasks import PRICE

    task = ledger.open_task(budget=Budget(usd="1"))
    part = task.subtask(budget=Budget(usd="0.5"))
    plan = CallPlan(price=PRICE, counted_input_tokens=10, input_tokens=10, wanted_output_tokens=10)
    call = part.settle_call(part.hold_call(plan), Usage(input_tokens=10, output_tokens=5))
    part.close("answered")
    record = task.close("answered")
    assert call.cost_nusd > 0
    assert (record.cost_nusd, record.subtasks_nusd) == (0, call.cost_nusd)
    assert part.record.parent_id == task.task_id


def test_subtask_has_no_more_time_than_its_parent() -> None:
    task = Ledger().open_task(budget=Budget(seconds=0.05))
    part = task.subtask(budget=Budget(seconds=60))
    time.sleep(0.06)
    with pytest.raises(DeadlineExceeded):
        part.hold_call(_plan())


def test_subtask_whose_lease_ended_spends_no_more(ledger: Ledger) -> None:
    """Its machine slept: its parent was charged what it had spent, so that must be all of it."""
    task = ledger.open_task(scope="acme", budget=TOKENS)
    part = task.subtask(budget=Budget(tokens=500))
    _spend(part, 120)
    part.hold_landing(Amount(tokens=50, fresh_tokens=50, calls=1))
    open_call = part.hold_call(_plan(100))
    purse = f"{part.task_id}.purse.1"
    ledger.heartbeat.stop()
    assert ledger.renew(purse, lease_seconds=-1.0)
    ledger._next_expiry = 0.0
    assert [ended.reservation_id for ended in ledger.expire_due()] == [purse]
    assert _sums(ledger, "acme") == (120 + 110 + 50, 0)
    with pytest.raises(BudgetExceeded):
        _spend(part, 1)
    part.settle_call(open_call, Usage(input_tokens=90))
    part.close("cancelled")
    assert _sums(ledger, "acme") == (120 + 110 + 50, 0)


_DYING = """
import os, signal, sys
from agentkit.budgets import Budget, Ledger
sys.path.insert(0, {root!r})
from tests.budgets.test_subtask import _plan, _spend
ledger = Ledger({address!r}, lease_seconds=0.4)
task = ledger.open_task(scope="acme", task_id="t", budget=Budget(tokens=1_000))
part = task.subtask(budget=Budget(tokens=500), task_id="part")
_spend(part, 120)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs kill -9")
def test_parent_of_a_dead_subtask_is_charged_what_that_spent(store_address: str) -> None:
    """Not all that it took: its own account tells."""
    if store_address == "memory://":
        pytest.skip("ends with its process")
    script = _DYING.format(root=str(_ROOT), address=store_address)
    died = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    ledger = Ledger(store_address)
    assert _sums(ledger, "acme") == (0, 500)
    until = time.monotonic() + 20
    while ledger.store.held() and time.monotonic() < until:
        ledger._next_expiry = 0.0
        ledger.expire_due()
        time.sleep(0.05)
    assert _sums(ledger, "acme") == (120, 0)
    assert ledger.account("acme").unconfirmed_nusd == 0
    assert [call.call_id for call in ledger.store.calls("t")] == []
    again = ledger.open_task(scope="acme", task_id="t", budget=TOKENS)
    part = again.subtask(budget=Budget(tokens=500), task_id="part")
    assert part.room().tokens == 380
    part.close("answered")
    assert _sums(ledger, "acme") == (120, 0)
    assert ledger.account("acme").settled == Amount(tokens=120, fresh_tokens=120, calls=1)
    ledger.close()
