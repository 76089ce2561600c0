"""Leases are renewed while a call is under way, and only then."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentkit.budgets import Amount, Budget, Ledger, Price, StoreError, Usage
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.heartbeat import Heartbeat

LEASE_SECONDS = 1.5
FREE = Price(model="m", provider="p", state="free", source="free", bands=())


def _plan() -> CallPlan:
    return CallPlan(
        price=FREE,
        counted_input_tokens=60,
        input_tokens=60,
        wanted_output_tokens=40,
        lease_seconds=LEASE_SECONDS,
    )


def _until(done: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_slow_call_keeps_its_lease_and_an_abandoned_one_does_not(store_address: str) -> None:
    ledger = Ledger(store_address)
    task = ledger.open_task(budget=Budget(tokens=1_000))
    slow, lost = task.hold_call(_plan()), task.hold_call(_plan())
    lost_id = lost.call_id
    del lost
    gc.collect()

    def ended() -> set[str]:
        return {settlement.reservation_id for settlement in ledger.store.expire()}

    found: set[str] = set()
    until = time.monotonic() + 2.5 * LEASE_SECONDS
    while time.monotonic() < until:
        found |= ended()
        time.sleep(0.05)
    assert found == {lost_id}
    record = task.settle_call(slow, Usage(input_tokens=50, output_tokens=7))
    assert record.confirmed
    account = ledger.account(task.path)
    assert (account.settled.tokens, account.held.tokens) == (57 + 100, 0)
    ledger.close()


def test_settle_after_the_lease_corrects_the_forfeit(store_address: str) -> None:
    ledger = Ledger(store_address)
    task = ledger.open_task(budget=Budget(tokens=1_000))
    held = task.hold_call(_plan())
    ledger.heartbeat.stop()  # as if the machine had slept
    assert _until(lambda: bool(ledger.store.expire()))
    assert ledger.account(task.path).settled.tokens == 100
    task.settle_call(held, Usage(input_tokens=50, output_tokens=7))
    assert ledger.account(task.path).settled.tokens == 57
    ledger.close()


def _held(call_id: str) -> HeldCall:
    return HeldCall(
        call_id=call_id, index=1, plan=_plan(), worst=Amount(), max_output_tokens=1,
        started_at=0.0, started_clock=0.0,
    )  # fmt: skip


def _begin(heartbeat: Heartbeat, held: HeldCall) -> None:
    heartbeat.begin(held.call_id, held, lease_seconds=LEASE_SECONDS)


def test_thread_ends_when_nothing_is_left_and_starts_again() -> None:
    renewed: list[str] = []
    heartbeat = Heartbeat(lambda call_id, _: not renewed.append(call_id))  # type: ignore[func-returns-value]

    def beats() -> bool:
        return any(t.name == "agentkit-heartbeat" and t.is_alive() for t in threading.enumerate())

    first = _held("first")
    _begin(heartbeat, first)
    assert _until(lambda: "first" in renewed)
    heartbeat.end("first")
    assert _until(lambda: not beats())
    second = _held("second")
    _begin(heartbeat, second)
    assert _until(lambda: "second" in renewed)
    heartbeat.stop()
    assert _until(lambda: not beats())


def test_no_call_is_renewed_for_ever() -> None:
    renewed: list[str] = []
    heartbeat = Heartbeat(lambda call_id, _: not renewed.append(call_id))  # type: ignore[func-returns-value]
    held = _held("hangs")
    heartbeat.begin("hangs", held, lease_seconds=LEASE_SECONDS, longest_seconds=LEASE_SECONDS)
    assert _until(lambda: heartbeat._thread is None)
    assert 1 <= len(renewed) <= 3


@pytest.mark.parametrize("fault", [StoreError("away"), RuntimeError("odd")])
def test_store_that_fails_once_stops_no_other_beat(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def renew(call_id: str, _: float) -> bool:
        calls.append(call_id)
        if len(calls) == 1:
            raise fault
        return True

    heartbeat = Heartbeat(renew)
    both: Any = (_held("a"), _held("b"))
    for held in both:
        _begin(heartbeat, held)
    assert _until(lambda: {"a", "b"} <= set(calls))
    heartbeat.stop()
    assert "was not renewed" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process_renews_only_its_own_calls() -> None:
    renewed: list[str] = []
    heartbeat = Heartbeat(lambda call_id, _: not renewed.append(call_id))  # type: ignore[func-returns-value]
    parents = _held("parents")
    _begin(heartbeat, parents)
    heartbeat._pid = -1  # what a fork finds: another process's id
    childs = _held("childs")
    _begin(heartbeat, childs)
    assert set(heartbeat._beats) == {"childs"}
    heartbeat.stop()
