"""Reports add up to the ledger, by any dimension and in any store."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.budgets import Amount, Budget, Ledger, Outcome, Price, Usage
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.price import Rates
from agentkit.budgets.store import Store
from agentkit.budgets.stores.memory import MemoryStore
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.reports.rollup import ReportRow, report, total
from benchmarks._traffic import WASTEFUL, traffic, write

_RATES = Rates(input=3_000_001, cache_read=299_999, cache_write_5m=3_750_000,
               cache_write_1h=6_000_000, output=15_000_007)  # fmt: skip
_DIMENSIONS = ("model", "day", "hour", "scope", "outcome", "source", "tier", "step", "purpose",
               "status", "confirmed", "escalated", "prefix", "task", "feature", "user")  # fmt: skip
_OUTCOMES: tuple[Outcome, ...] = ("resolved", "landed", "failed")

_CALL = st.fixed_dictionaries(
    {
        "end": st.sampled_from(["settle", "forfeit", "late", "reject", "release", "expire"]),
        "model": st.sampled_from(["a", "b"]),
        "priced": st.booleans(),
        "read": st.integers(0, 900),
        "output": st.integers(0, 400),
        "attempt": st.integers(1, 3),
        "escalation": st.sampled_from([None, "unsure"]),
    }
)
_TASK = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["acme", "acme/web", "acme/web/u1"]),
        "tags": st.sampled_from([{}, {"feature": "faq"}, {"feature": "faq", "user": "ü\"'1"}]),
        "outcome": st.sampled_from([None, *_OUTCOMES]),
        "calls": st.lists(_CALL, max_size=4),
    }
)


def _price(name: str, *, priced: bool) -> Price:
    state, source = ("priced", "table") if priced else ("unknown", "unknown")
    bands = ((0, _RATES),) if priced else ()
    return Price(model=name, provider="lab", state=state, source=source, bands=bands)  # type: ignore[arg-type]  # literals


def _spend(store: Store, clock: list[float], tasks: list[dict[str, object]]) -> Ledger:
    """Play tasks on the ledger, with every way in which a call can end."""
    ledger = Ledger(store, clock=lambda: clock[0])
    for number, made in enumerate(tasks):
        task = ledger.open_task(
            scope=str(made["scope"]),
            tags=made["tags"],
            budget=Budget(),
            task_id=f"t{number}",  # type: ignore[arg-type]  # a strategy's dictionary
        )
        for call in made["calls"]:  # type: ignore[attr-defined]  # as above
            clock[0] += 5_000.0
            plan = CallPlan(
                price=_price(call["model"], priced=call["priced"]), counted_input_tokens=990,
                input_tokens=1_000, wanted_output_tokens=500, attempt=call["attempt"],
                escalation=call["escalation"], step=1, lease_seconds=60,
                components={"system": 300, "user": 690},
            )  # fmt: skip
            held = task.hold_call(plan)
            usage = Usage(
                input_tokens=950, cache_read_tokens=call["read"], output_tokens=call["output"]
            )
            if call["end"] in ("forfeit", "late"):
                task.forfeit_call(held, status="cut", error="lost")
            if call["end"] in ("settle", "late"):
                task.settle_call(held, usage)
            if call["end"] == "reject":
                task.reject_call(held, error="overloaded")
            if call["end"] == "release":
                task.release_call(held, error="no route")
            if call["end"] == "expire":
                clock[0] += 3_600.0
                ledger.expire_due()
        if made["outcome"] is not None:
            task.close(made["outcome"])  # type: ignore[arg-type]  # as above
    return ledger


@settings(max_examples=40, deadline=None)
@given(st.lists(_TASK, min_size=1, max_size=4))
def test_every_dimension_adds_up_to_the_ledger(tasks: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = [1_760_000_000.0]
        sqlite = SqliteStore(
            Path(folder) / "l.db", synchronous="NORMAL", clock=lambda: clock[0]
        )  # fmt: skip
        ledger = _spend(sqlite, clock, tasks)
        clock[0] = 1_760_000_000.0
        memory = MemoryStore(lambda: clock[0])
        _spend(memory, clock, tasks)
        spent = _settled(ledger)
        for by in (*itertools.combinations(_DIMENSIONS, 1), ("feature", "model", "day")):
            rows = report(sqlite, by, measures="all")
            assert sum(row.sums.cost_nusd for row in rows) == spent.nusd
            assert _timeless(rows) == _timeless(report(memory, by, measures="all"))
        assert total(sqlite).cost_nusd == spent.nusd
        ledger.close()


def _timeless(rows: list[ReportRow]) -> list[ReportRow]:
    return [replace(row, sums=row.sums._replace(latency_ms=0)) for row in rows]


def _settled(ledger: Ledger) -> Amount:
    roots = [scope.path for scope in ledger.store.scopes() if "/" not in scope.path]
    return ledger.account(roots[0]).settled


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqliteStore, MemoryStore]]:
    path = tmp_path_factory.mktemp("traffic") / "l.db"
    played = list(traffic(WASTEFUL, calls=1_500, days=5, users=20))
    write(path, played)
    memory = MemoryStore()
    memory.ensure_scopes(["acme"])
    for each in played:
        for call in each.calls:
            memory.reserve(call.call_id, Amount(), ["acme"], lease_seconds=60)
            memory.settle(call.call_id, Amount(nusd=call.cost_nusd), call=call)
        memory.put_task(each.task)
    sqlite = SqliteStore(path)
    yield sqlite, memory
    sqlite.close()


@pytest.mark.parametrize(
    "where",
    [
        JournalFilter(since=1_761_955_200.0 + 86_400 * 2, until=1_761_955_200.0 + 86_400 * 3.5),
        JournalFilter(scope="acme/service"),
        JournalFilter(model="claude-sonnet-4-5"),
        JournalFilter(model="openai:gpt-5-mini", outcome="resolved"),
        JournalFilter(tags={"feature": "orders", "user": "u1"}),
        JournalFilter(tags={"feature": 'no "such"'}),
        JournalFilter(scope="acme/serv"),
    ],
)
def test_filters_mean_the_same_in_every_store(
    stores: tuple[SqliteStore, MemoryStore], where: JournalFilter
) -> None:
    sqlite, memory = stores
    found = sqlite.sum_calls(("tags", "model", "outcome"), where)
    assert found == memory.sum_calls(("tags", "model", "outcome"), where)
    scanned = {call.call_id for call in sqlite.scan_calls(where)}
    assert scanned == {call.call_id for call in memory.scan_calls(where)}
    assert len(scanned) == sum(group.sums.calls for group in found)
    tasks = [task.task_id for task in sqlite.tasks(limit=10_000, where=where)]
    assert sorted(tasks) == sorted(t.task_id for t in memory.tasks(limit=10_000, where=where))


def test_dearest_groups_come_alone_and_in_order(
    stores: tuple[SqliteStore, MemoryStore],
) -> None:
    sqlite, memory = stores
    costs = [group.sums.cost_nusd for group in sqlite.sum_calls(("task",), dearest=7)]
    everything = [group.sums.cost_nusd for group in memory.sum_calls(("task",))]
    assert costs == sorted(everything, reverse=True)[:7]


def test_traffic_is_the_same_every_time_and_holds_what_reports_must_survive() -> None:
    once = list(traffic(WASTEFUL, calls=3_000, days=5, users=20))
    assert once == list(traffic(WASTEFUL, calls=3_000, days=5, users=20))
    calls = [call for each in once for call in each.calls]
    assert any(call.attempt > 1 for call in calls)
    assert any(call.escalation for call in calls)
    assert any(not call.confirmed for call in calls)
    assert any(call.cost_source == "unknown" for call in calls)
