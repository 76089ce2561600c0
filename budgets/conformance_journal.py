"""Rules of the journal that any store must keep: its sums are those of its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentkit.budgets.amount import Amount
from agentkit.budgets.conformance_bench import Bench, call_of
from agentkit.budgets.journal import CallRecord, Outcome, TaskRecord
from agentkit.budgets.journal_query import JournalFilter, Key, sum_records, sum_task_groups
from agentkit.budgets.usage import Usage

_KEYS: tuple[tuple[Key, ...], ...] = (
    (), ("model",), ("tags",), ("outcome", "tier"), ("day", "scope"), ("task", "status"),
)  # fmt: skip
_DAY = 86_400.0


_TASKS: tuple[tuple[str, str, Outcome | None], ...] = (
    ("t0", "acme/a", "resolved"), ("t1", "acme/ab", None), ("t2", "acme/a/u", "failed"),
)  # fmt: skip
_FILTERS = (
    JournalFilter(),
    JournalFilter(since=_DAY * 2, until=_DAY * 5),
    JournalFilter(scope="acme/a"),
    JournalFilter(tags={"feature": "faq"}, outcome="resolved"),
    JournalFilter(model="m1"),
    JournalFilter(task_id="t1"),
)


def sums_are_those_of_the_records(bench: Bench) -> None:
    """Calls summed by any key, under any filter, give what their records give one by one."""
    bench.scope("acme")
    for task_id, scope, outcome in _TASKS:
        task = TaskRecord(task_id=task_id, scope=scope, started_at=0, outcome=outcome)
        bench.store.put_task(task)
    written = list(_calls())
    for call, _ in written:
        bench.ask(Amount(call.cost_nusd), "acme", reservation_id=call.call_id)
        bench.store.settle(call.call_id, Amount(call.cost_nusd), call=call)
    for where in _FILTERS:
        taken = [each for each in written if where.takes(*each)]
        scanned = sorted(call.call_id for call in bench.store.scan_calls(where))
        bench.equal(scanned, sorted(call.call_id for call, _ in taken), f"what {where} takes")
        tasks = sum_task_groups(sum_records(taken, ("tags", "outcome", "task")))
        bench.equal(bench.store.sum_tasks(("tags", "outcome"), where), tasks, f"tasks of {where}")
        for by in _KEYS:
            sums = bench.store.sum_calls(by, where)
            bench.equal(sums, sum_records(taken, by), f"the sums by {by} of {where}")


def corrected_calls_count_once(bench: Bench) -> None:
    """A late settle replaces what a forfeit summed; the outcome of a task reaches its calls."""
    bench.scope("acme")
    bench.store.put_task(TaskRecord(task_id="t1", scope="acme", started_at=0))
    held = bench.hold(Amount(100), "acme")
    call = replace(call_of(held, "t1", cost_nusd=100), confirmed=False)
    bench.store.settle(held, Amount(100), confirmed=False, call=call)
    late = replace(call, confirmed=True, cost_nusd=40)
    bench.store.settle(held, Amount(40), call=late)
    bench.store.put_task(TaskRecord(task_id="t1", scope="acme", started_at=0, outcome="landed"))
    groups = bench.store.sum_calls(("outcome", "confirmed"))
    bench.equal([group.key for group in groups], [("landed", 1)], "the keys of a corrected call")
    bench.equal((groups[0].sums.calls, groups[0].sums.cost_nusd), (1, 40), "its sums")


def _calls() -> Iterator[tuple[CallRecord, Outcome | None]]:
    """Calls of all tasks that differ in whatever can be asked for."""
    for number in range(12):
        task_id, scope, outcome = _TASKS[number % 3]
        call = CallRecord(
            call_id=f"{task_id}.{number}",
            task_id=task_id,
            scope=scope,
            step=number,
            index=number,
            tier=number % 2,
            model=f"m{number % 2}",
            provider="lab",
            status="ok" if number % 4 else "cut",
            started_at=number * _DAY / 2,
            usage=Usage(input_tokens=100 + number, cache_read_tokens=number, output_tokens=7),
            estimated_input_tokens=99,
            cost_nusd=1000 + number,
            confirmed=number % 5 != 0,
            escalation="unsure" if number % 6 == 5 else None,
            components={"system": 30, "user": number},
            saved_nusd={"prompt_cache": -number},
            tags={"feature": "faq", "user": "u\u00e9"} if number % 3 == 0 else {},
        )
        yield call, outcome
