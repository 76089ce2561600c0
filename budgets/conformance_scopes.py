"""The rules of scopes, windows and the journal, each as a check of a store."""

from __future__ import annotations

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.conformance_bench import Bench, call_of, moved
from agentkit.budgets.errors import ScopeMissing
from agentkit.budgets.journal import EventRecord, PaidResponse, TaskRecord
from agentkit.budgets.scope import Scope
from agentkit.budgets.usage import Usage


def limits_can_be_replaced(bench: Bench) -> None:
    """New limits hold at once and the sums stay, also below what is spent already."""
    bench.scope("acme", Limits(nusd=10))
    bench.store.settle(bench.hold(Amount(10), "acme"), Amount(10))
    bench.refused(Amount(5), "acme")
    bench.scope("acme", Limits(nusd=15))
    bench.hold(Amount(5), "acme")
    bench.scope("acme", Limits(nusd=3))
    bench.refused(Amount(1), "acme")
    bench.sums("acme", settled=Amount(10), held=Amount(5))
    bench.store.ensure_scopes(["acme"])
    bench.equal(bench.store.account("acme").limits, Limits(nusd=3), "limits after ensure_scopes")


def scopes_lists_a_subtree(bench: Bench) -> None:
    """`scopes` gives a path and all below it, in order, with limits, window and thresholds."""
    full = Scope(
        path="acme/support",
        limits=Limits(2**53, 5, None, 7),
        window="month",
        timezone="Asia/Kathmandu",
        thresholds=(0.1, 0.9),
    )
    bench.scope("acme/support/u42")
    bench.store.put_scope(full)
    bench.scope("acme-other")
    below = [scope.path for scope in bench.store.scopes("acme")]
    bench.equal(below, ["acme", "acme/support", "acme/support/u42"], "the scopes below 'acme'")
    bench.equal(bench.store.scopes("acme/support")[0], full, "a scope read back")
    bench.equal(len(bench.store.scopes()), 4, "all scopes")


def dropped_scope_is_gone(bench: Bench) -> None:
    """A dropped scope refuses; one with money held stays; a late settle then moves its parents."""
    bench.scope("acme/~t", Limits(nusd=10))
    held = bench.hold(Amount(10), "acme", "acme/~t")
    bench.store.drop_scope("acme/~t")
    bench.sums("acme/~t", held=Amount(10))
    bench.store.settle(held, Amount(10), confirmed=False)
    bench.store.drop_scope("acme/~t")
    bench.raises(ScopeMissing, lambda: bench.store.account("acme/~t"), "a dropped scope")
    bench.store.drop_scope("acme/~t")
    bench.scope("acme/~t", Limits(nusd=10))
    bench.hold(Amount(10), "acme", "acme/~t")
    bench.store.settle(held, Amount(2))
    bench.sums("acme", settled=Amount(2), held=Amount(10))
    bench.sums("acme/~t", held=Amount(10))


def day_window_starts_anew(bench: Bench) -> None:
    """A day's account is empty at midnight in the scope's own time zone, and not before."""
    bench.set_time("2026-11-21T23:59:59+01:00")
    bench.scope("acme", Limits(nusd=10), window="day", timezone="Europe/Berlin")
    bench.store.settle(bench.hold(Amount(10), "acme"), Amount(10))
    bench.equal(bench.sums("acme", settled=Amount(10)).window_key, "2026-11-21", "the window")
    bench.refused(Amount(1), "acme")
    bench.set_time("2026-11-22T00:00:00+01:00")
    bench.equal(bench.sums("acme").window_key, "2026-11-22", "the next window")
    bench.hold(Amount(10), "acme")


def month_window_starts_anew(bench: Bench) -> None:
    """A month's account lasts until the first of the next."""
    bench.set_time("2027-02-01T00:00:00+00:00")
    bench.scope("acme", Limits(nusd=10), window="month")
    bench.hold(Amount(10), "acme")
    bench.set_time("2027-02-28T23:59:59+00:00")
    bench.equal(bench.sums("acme", held=Amount(10)).window_key, "2027-02", "the window")
    bench.set_time("2027-03-01T00:00:00+00:00")
    bench.sums("acme")


def settlement_lands_in_its_window(bench: Bench) -> None:
    """A call reserved before midnight is charged to that day, in scopes of every window."""
    bench.set_time("2026-11-21T23:59:00+00:00")
    bench.scope("acme/u", Limits(nusd=10), window="day")
    held = bench.hold(Amount(9), "acme", "acme/u")
    bench.set_time("2026-11-22T00:01:00+00:00")
    bench.hold(Amount(10), "acme", "acme/u")
    settlement = bench.store.settle(held, Amount(4))
    bench.equal(moved(settlement), {"acme/u": (NOTHING, Amount(4), NOTHING)}, "the changes")
    bench.sums("acme", settled=Amount(4), held=Amount(10))
    bench.sums("acme/u", held=Amount(10))


def window_can_be_changed(bench: Bench) -> None:
    """A scope whose window is changed counts in the new window from the next call on."""
    bench.scope("acme", Limits(nusd=10), window="day")
    held = bench.hold(Amount(10), "acme")
    bench.scope("acme", Limits(nusd=10))
    bench.equal(bench.store.account("acme").window_key, "", "the window")
    bench.hold(Amount(10), "acme")
    bench.store.settle(held, Amount(10))
    bench.sums("acme", held=Amount(10))


def journal_is_read_back(bench: Bench) -> None:
    """Tasks, calls and events come back as they were written, in order, each under its task."""
    store = bench.store
    bench.scope("acme/support")
    usage = Usage(input_tokens=9, cache_read_tokens=4, output_tokens=5, reasoning_tokens=2)
    tasks = [
        TaskRecord(
            task_id=f"t{i}",
            scope=scope,
            started_at=100.5 + i,
            budget={"usd": "0.05"},
            models=("a", "b"),
            tags={"k": "v\u00e9"},
            usage=usage,
        )
        for i, scope in enumerate(("acme", "acme/support", "other"))
    ]
    for task in tasks:
        store.put_task(task)
    bench.equal(store.task("t1"), tasks[1], "a task read back")
    bench.equal(store.task("nobody"), None, "a task that is not there")
    bench.equal(store.tasks(), tasks[::-1], "the latest tasks first")
    bench.equal(store.tasks(scope="acme"), tasks[1::-1], "the tasks below 'acme'")
    bench.equal(store.tasks(limit=1), tasks[2:], "one task")
    events = [
        EventRecord(task_id="t1", at=float(i), kind="note", data={"n": i, "s": ["x"]})
        for i in range(3)
    ]
    for event in events:
        store.add_event(event)
    bench.equal(store.events("t1"), events, "the events")
    bench.expect(not store.events("t0") and not store.calls("t0"), "another task has a journal")


def thread_tells_its_latest_task(bench: Bench) -> None:
    """A thread's latest task is found however many began since, within one org."""
    store = bench.store

    def task(name: str, at: float, thread_id: str | None, scope: str = "acme/a") -> TaskRecord:
        record = TaskRecord(task_id=name, scope=scope, started_at=at, thread_id=thread_id)
        store.put_task(record)
        return record

    first, second = task("t1", 1.0, "chat"), task("t2", 2.0, "chat", "acme")
    own, stranger = task("t3", 3.0, "t3"), task("t4", 9.0, "chat", "acmes/a")
    for number in range(120):
        task(f"since-{number}", 10.0 + number, None)
    store.put_task(first)  # written again when it ends, after the next one began
    bench.equal(store.task_of_thread("chat", scope="acme/b"), second, "the latest of a thread")
    bench.equal(store.task_of_thread("t3", scope="acme"), own, "a task that is its own thread")
    bench.equal(store.task_of_thread("chat", scope="acmes"), stranger, "that of another org")
    bench.equal(store.task_of_thread("t1", scope="acme"), None, "a task's name for a thread")
    bench.equal(store.task_of_thread("chat", scope="else"), None, "a thread of no task")
    own = task("t5", 200.0, "t3")
    bench.equal(store.task_of_thread("t3", scope="acme"), own, "a later task of its thread")


def responses_are_kept_until_forgotten(bench: Bench) -> None:
    """A paid answer is stored with its settlement, byte for byte, until it is forgotten."""
    store = bench.store
    bench.scope("acme")
    store.put_task(TaskRecord(task_id="t", scope="acme", started_at=1.0))
    kept: list[PaidResponse] = []
    for number in range(3):
        reservation_id = bench.hold(Amount(10), "acme")
        payload = bytes(range(256)) * number
        kept.append(
            PaidResponse(
                task_id="t", call_id=reservation_id, fingerprint=f"f{number}", payload=payload
            )
        )
        store.settle(reservation_id, Amount(3), response=kept[-1])
    bench.equal(store.responses("t"), kept, "the stored answers")
    bench.equal(store.responses("other"), [], "the answers of another task")
    store.forget_responses("t")
    store.forget_responses("t")
    bench.equal(store.responses("t"), [], "the answers after they were forgotten")


def call_is_written_with_its_settlement(bench: Bench) -> None:
    """A call's record is written by the verb that ends it, corrected in place, and never twice."""
    store = bench.store
    bench.scope("acme")
    store.put_task(TaskRecord(task_id="t", scope="acme", started_at=1.0))
    first, second, unsent = (bench.hold(Amount(10), "acme") for _ in range(3))
    store.settle(first, Amount(10), confirmed=False, call=call_of(first, "t", cost_nusd=10))
    store.settle(second, Amount(3), call=call_of(second, "t", cost_nusd=3))
    store.release(unsent, call=call_of(unsent, "t"))
    store.settle(first, Amount(4), call=call_of(first, "t", cost_nusd=4))
    store.settle(second, Amount(9), call=call_of(second, "t", cost_nusd=9))
    costs = [(call.call_id, call.cost_nusd) for call in store.calls("t")]
    bench.equal(costs, [(first, 4), (second, 3), (unsent, 0)], "the calls")
    bench.equal(store.calls("t")[1], call_of(second, "t", cost_nusd=3), "a call read back")


def closing_twice_is_harmless(bench: Bench) -> None:
    """A second close does nothing."""
    bench.store.close()
    bench.store.close()
