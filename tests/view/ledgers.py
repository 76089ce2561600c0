"""Ledgers for the page: a company's traffic, and one task whose every text tries to be markup."""

from __future__ import annotations

from pathlib import Path

from agentkit.budgets.journal import CallRecord, EventRecord, TaskRecord
from agentkit.budgets.store import Store
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.budgets.usage import Usage
from benchmarks._traffic import traffic, write

PLANTED = "</script><script>window.planted=1</script><!--<img src=x onerror=window.planted=2>"
PLANTED_TASK = "planted-" + PLANTED
DAY = 86_400.0


def company(path: Path, *, calls: int = 1_500) -> SqliteStore:
    """A SQLite ledger of about that many calls over ten days."""
    write(path, traffic(calls=calls, days=10, users=40))
    return SqliteStore(path)


def plant(store: SqliteStore) -> None:
    """A task that names its model, tools, tags, reason and events after a script."""
    at = max(task.started_at for task in store.tasks(limit=1)) + 60
    record = TaskRecord(
        task_id=PLANTED_TASK,
        scope="acme/planted",
        started_at=at,
        ended_at=at + 3,
        outcome="failed",
        reason=f"the model said {PLANTED}",
        budget={"usd": "0.01"},
        models=(PLANTED,),
        tags={"feature": PLANTED, PLANTED: "x"},
        steps=1,
        calls=1,
        thread_id=PLANTED,
    )
    store.put_task(record)
    usage = Usage(input_tokens=1000, output_tokens=50)
    call = CallRecord(
        call_id="planted.1",
        task_id=PLANTED_TASK,
        scope=record.scope,
        step=1,
        index=1,
        model=PLANTED,
        provider="acme",
        started_at=at,
        usage=usage,
        cost_nusd=4_000_000,
        cost_source="override",
        tools_offered=(PLANTED,),
        tools_called=(PLANTED,),
        accepted=False,
        reason=PLANTED,
        escalation=PLANTED,
        components={"system": 600, "user": 400},
        tags=record.tags,
    )
    record_call(store, call)
    store.add_event(
        EventRecord(task_id=PLANTED_TASK, at=at, kind="tool_failed", step=1, text=PLANTED)
    )


def play(store: Store, *, calls: int) -> None:
    """The same traffic through the verbs of any store."""
    for played in traffic(calls=calls, days=2, users=10):
        store.put_task(played.task)
        for call in played.calls:
            record_call(store, call)


def record_call(store: Store, call: CallRecord) -> None:
    """One settled call, charged to its scope."""
    from agentkit.budgets.amount import Amount

    charged = Amount(call.cost_nusd, call.usage.total_tokens, call.usage.total_tokens, 1)
    store.ensure_scopes([call.scope])
    store.reserve(call.call_id, charged, [call.scope], lease_seconds=60)
    store.settle(call.call_id, charged, call=call)
