"""What the ledger tells its owners, and that many at once cannot pass a limit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentkit.budgets import (
    Amount,
    Budget,
    BudgetEvent,
    BudgetExceeded,
    InvalidLimit,
    Ledger,
    Limits,
    ScopeMissing,
    StoreError,
    Task,
)
from agentkit.budgets.conformance import ManualClock
from agentkit.budgets.stores.memory import MemoryStore

_TENTH = Amount(nusd=100_000_000, calls=1)


def _ledger_of(limits: Limits, events: list[BudgetEvent]) -> Ledger:
    ledger = Ledger("memory://", on_event=events.append)
    ledger.set_limits("acme", limits)
    return ledger


def _spend(
    ledger: Ledger, reservation_id: str, worst: Amount, actual: Amount | None = None
) -> None:
    ledger.reserve(reservation_id, worst, ["acme"], lease_seconds=60.0)
    ledger.settle(reservation_id, worst if actual is None else actual)


def test_each_threshold_is_told_once() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(nusd=10), events)
    for number in range(10):
        _spend(ledger, str(number), Amount(nusd=1))
    told = [(event.kind, event.fraction, event.settled, event.limit) for event in events]
    assert told == [
        ("threshold", 0.5, 5, 10),
        ("threshold", 0.8, 8, 10),
        ("threshold", 1.0, 10, 10),
    ]


def test_one_settlement_can_cross_several_thresholds_in_several_dimensions() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(nusd=10, calls=2), events)
    _spend(ledger, "one", Amount(nusd=9, calls=1))
    crossed = [(event.dimension, event.fraction) for event in events]
    assert crossed == [("nusd", 0.5), ("nusd", 0.8), ("calls", 0.5)]


def test_thresholds_are_told_once_under_sixteen_threads() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(calls=64), events)

    def work(worker: int) -> None:
        for number in range(4):
            _spend(ledger, f"{worker}.{number}", Amount(calls=1))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert sorted(event.fraction or 0 for event in events) == [0.5, 0.8, 1.0]


def test_holding_money_crosses_no_threshold() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(nusd=10), events)
    ledger.reserve("one", Amount(nusd=10), ["acme"], lease_seconds=60.0)
    ledger.release("one")
    assert events == []


def test_breach_says_what_was_asked_and_what_was_left() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(nusd=10), events)
    ledger.reserve("one", Amount(nusd=7), ["acme"], lease_seconds=60.0)
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve("two", Amount(nusd=4), ["acme"], lease_seconds=60.0)
    error = caught.value
    assert (error.asked, error.available, error.limit, error.scope) == (4, 3, 10, "acme")
    event = events[0]
    assert (event.kind, event.asked, event.settled, event.held) == ("breach", 4, 0, 7)


def test_error_names_amount_scope_and_next_step() -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(tokens=5_000))
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve("one", Amount(tokens=9_000), ["acme"], lease_seconds=60.0)
    assert str(caught.value) == (
        "asked 9,000 tokens, 5,000 tokens left of 5,000 tokens in 'acme'; "
        "raise the limit or let the task land"
    )


def test_overrun_is_told() -> None:
    events: list[BudgetEvent] = []
    ledger = _ledger_of(Limits(tokens=1_000), events)
    _spend(ledger, "one", Amount(tokens=10), Amount(tokens=14))
    assert [(event.kind, event.dimension, event.asked) for event in events] == [
        ("overrun", "tokens", 4)
    ]


def test_listener_that_raises_undoes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: BudgetEvent) -> None:
        raise RuntimeError("boom")

    ledger = Ledger("memory://", on_event=broken)
    ledger.set_limits("acme", Limits(nusd=1))
    with caplog.at_level(logging.ERROR, "agentkit.budgets"):
        _spend(ledger, "one", Amount(nusd=1))
    assert ledger.account("acme").settled == Amount(nusd=1)
    assert "a budget listener failed" in caplog.text


def test_event_of_a_shared_scope_reaches_every_task_below() -> None:
    heard: list[tuple[str, str]] = []

    def hear(task: Task) -> Callable[[BudgetEvent], None]:
        return lambda event: heard.append((task.scope, event.kind))

    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(nusd=10))
    tasks = [ledger.open_task(scope=scope) for scope in ("acme/a", "acme/b", "other")]
    for task in tasks:
        task.listen(hear(task))
    _spend(ledger, "one", Amount(nusd=6))
    assert heard == [("acme/a", "threshold"), ("acme/b", "threshold")]


def test_expired_call_is_forfeited_from_the_next_reserve() -> None:
    events: list[BudgetEvent] = []
    clock = ManualClock()
    ledger = Ledger(MemoryStore(clock), on_event=events.append, clock=clock)
    ledger.set_limits("acme", Limits(nusd=100))
    ledger.reserve("lost", Amount(nusd=9), ["acme"], lease_seconds=60.0)
    clock.now_seconds += 61
    ledger.reserve("next", Amount(nusd=1), ["acme"], lease_seconds=60.0)
    assert [(event.kind, event.asked) for event in events] == [("forfeit", 9)]
    assert ledger.account("acme").unconfirmed_nusd == 9


def test_a_crowd_of_expired_calls_ends_without_waiting() -> None:
    clock = ManualClock()
    ledger = Ledger(MemoryStore(clock), clock=clock)
    ledger.set_limits("acme", Limits())
    for number in range(250):
        ledger.reserve(str(number), Amount(nusd=1), ["acme"], lease_seconds=60.0)
    clock.now_seconds += 61
    assert [len(ledger.expire_due()) for _ in range(3)] == [100, 100, 50]


def test_sixteen_threads_share_one_dollar() -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(nusd=1_000_000_000))
    made: list[str] = []

    def work(worker: int) -> int:
        refused = 0
        for number in range(4):
            call_id = f"{worker}.{number}"
            try:
                ledger.reserve(call_id, _TENTH, ["acme"], lease_seconds=60.0)
            except BudgetExceeded:
                refused += 1
                continue
            made.append(call_id)
            ledger.settle(call_id, _TENTH)
        return refused

    with ThreadPoolExecutor(16) as pool:
        refused = sum(pool.map(work, range(16)))
    assert (len(made), refused) == (10, 54)
    assert ledger.account("acme").settled == Amount(nusd=1_000_000_000, calls=10)


@pytest.mark.parametrize("absurd", [Amount(nusd=-1), Amount(tokens=2**53 + 1)])
def test_amounts_that_no_store_can_sum_are_refused(absurd: Amount) -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(nusd=10))
    with pytest.raises(InvalidLimit):
        ledger.reserve("one", absurd, ["acme"], lease_seconds=60.0)
    ledger.reserve("one", Amount(nusd=10), ["acme"], lease_seconds=60.0)
    with pytest.raises(InvalidLimit):
        ledger.settle("one", absurd)
    assert ledger.account("acme").held == Amount(nusd=10)


def test_scope_above_needs_no_limits_of_its_own() -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme/support/u42", Limits(calls=1))
    assert [scope.path for scope in ledger.store.scopes("acme")] == [
        "acme",
        "acme/support",
        "acme/support/u42",
    ]


def test_dropped_task_scope_refuses_and_tells() -> None:
    ledger = Ledger("memory://")
    task = ledger.open_task(scope="acme", budget=Budget(calls=3))
    task.close("answered")
    with pytest.raises(ScopeMissing, match="open the task again"):
        ledger.account(task.path)


@pytest.mark.parametrize("address", ["", "memory", "postgres://x", "sqlite://", "sqlite:///"])
def test_address_that_no_store_answers_to(address: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///agentkit"):
        Ledger(address)


def test_address_with_an_unknown_option() -> None:
    with pytest.raises(StoreError, match="unknown option 'sync'"):
        Ledger("sqlite:///x.db?sync=OFF")
