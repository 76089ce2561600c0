"""Callbacks that raise, hang or answer late stop no settlement."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest

from agentkit.budgets import Amount, Budget, BudgetEvent, Extend, InvalidLimit, Ledger, Limits, Stop
from agentkit.budgets.event import Decision
from agentkit.budgets.task import Task

_place: ContextVar[str] = ContextVar("place", default="nowhere")


def _spend(task: Task, nusd: int, name: str) -> None:
    worst = Amount(nusd=nusd)
    task.ledger.reserve(name, worst, ["default", task.path], lease_seconds=60)
    task.ledger.settle(name, worst)


def test_callback_that_hangs_is_left_behind_and_not_called_again(
    store_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(store_address, listener_seconds=0.1)
    let_go, called = threading.Event(), []

    def hang(event: BudgetEvent) -> None:
        called.append(event)
        let_go.wait(30)

    task = ledger.open_task(budget=Budget(usd="0.0000001"), on_event=hang)
    began = time.monotonic()
    _spend(task, 60, "one")
    _spend(task, 25, "two")
    assert time.monotonic() - began < 20
    account = ledger.account(task.path)
    assert (account.settled.nusd, account.held.nusd) == (85, 0)
    assert len(called) == 1
    told = [event.kind for event in ledger.store.events(task.task_id)]
    assert told.count("budget_threshold") == told.count("budget_listener") == 2
    assert "did not return within 0.1 s" in caplog.text
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "agentkit-budget-listener":
            thread.join(10)
    _spend(task, 15, "three")  # it has returned, so it is told again
    assert len(called) == 2
    ledger.close()


def test_late_answer_counts_from_when_it_comes() -> None:
    let_go = threading.Event()

    def answer(event: BudgetEvent) -> Decision:
        let_go.wait(30)
        return Stop()

    ledger = Ledger(listener_seconds=0.05)
    task = ledger.open_task(budget=Budget(usd="0.0000001"), on_event=answer)
    _spend(task, 60, "one")
    assert task.wish is None
    let_go.set()
    until = time.monotonic() + 10
    while task.wish is None and time.monotonic() < until:
        time.sleep(0.01)
    assert task.wish == "stop"


def test_late_extension_of_a_task_that_has_ended_makes_no_scope_anew() -> None:
    ledger = Ledger()
    task = ledger.open_task(budget=Budget(usd="0.01"))
    task.close("answered")
    task.decide(Extend(usd="0.05"))
    assert [scope.path for scope in ledger.store.scopes()] == ["default"]


def test_callback_sees_the_context_of_the_settlement() -> None:
    seen: list[str] = []
    ledger = Ledger(on_event=lambda _: seen.append(_place.get()))
    task = ledger.open_task(budget=Budget(usd="0.0000001"))
    token = _place.set("here")
    _spend(task, 60, "one")
    _place.reset(token)
    assert seen == ["here"]


def test_extension_lasts_over_a_restart_and_counts_once(store_address: str) -> None:
    budget = Budget(usd="0.01", seconds=10)
    first = Ledger(store_address)
    task = first.open_task(task_id="t", budget=budget)
    for _ in range(2):
        task.extend(Extend(usd="0.05", seconds=30), once="asked at step 3")
    task.extend(Extend(usd="0.01"))
    task.close("cancelled", resumable=True)
    if store_address == "memory://":
        later = first
    else:
        first.close()
        later = Ledger(store_address)
    again = later.open_task(task_id="t", budget=budget)
    again.extend(Extend(usd="0.05"), once="asked at step 3")
    assert later.account(again.path).limits == Limits(nusd=70_000_000)
    assert 35 < (again.seconds_left(landing=True) or 0) <= 40
    later.close()


def test_nonsense_extension_is_refused() -> None:
    task = Ledger().open_task(budget=Budget(usd="0.01"))
    for nonsense in (Extend(usd="-1"), Extend(seconds=-1), Extend(seconds=float("nan"))):
        with pytest.raises(InvalidLimit):
            task.extend(nonsense)
