"""The journal of tasks and calls in Redis, as requests and answers."""

from __future__ import annotations

import json

from agentkit.budgets.amount import Amount
from agentkit.budgets.journal import CallRecord, EventRecord, Outcome, PaidResponse, TaskRecord
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.stores.redis_record import amount_of_packed
from agentkit.budgets.stores.redis_script import ORGS, Argument, Commands, Steps, key, one
from agentkit.budgets.stores.redis_verbs import RedisVerbs

_TASKS_A_PAGE = 200


class RedisTasks:
    """Each verb of the journal as a generator of requests."""

    def __init__(self, verbs: RedisVerbs) -> None:
        self._verbs = verbs

    def held(self, limit: int) -> Steps[list[tuple[str, Amount, float]]]:
        now = yield from self._verbs.seconds()
        orgs = yield from self._verbs.all_orgs()
        rows = yield Commands(
            [("ZRANGE", key(org, "leases"), 0, limit - 1, "WITHSCORES") for org in orgs]
        )
        leases = [
            (float(ends), org, name.decode())
            for org, row in zip(orgs, rows, strict=True)
            for name, ends in zip(row[::2], row[1::2], strict=True)
        ]
        leases = sorted(leases)[:limit]
        holds = yield Commands([("GETRANGE", key(o, f"hold:{n}"), 0, 33) for _, o, n in leases])
        return [
            (name, amount_of_packed(hold[2:]), ends / 1000 - now)
            for (ends, _, name), hold in zip(leases, holds, strict=True)
            if hold[:1] == b"h"
        ]

    def put_task(self, task: TaskRecord) -> Steps[None]:
        org = task.scope.partition("/")[0]
        written: list[tuple[Argument, ...]] = [
            ("SADD", ORGS, org),
            ("SET", key(org, "task", task.task_id), json.dumps(task.to_dict())),
            ("ZADD", key(org, "tasks"), task.started_at, task.task_id),
        ]
        if task.thread_id is not None and task.thread_id != task.task_id:
            thread = key(org, "thread", task.thread_id)
            written.append(("ZADD", thread, task.started_at, task.task_id))
        yield Commands(written)
        self._verbs.remember(f"task {task.task_id}", org)

    def add_event(self, event: EventRecord) -> Steps[None]:
        org = yield from self._verbs.org_of_task(event.task_id)
        yield Commands([("RPUSH", key(org, "events", event.task_id), json.dumps(event.to_dict()))])

    def task(self, task_id: str) -> Steps[TaskRecord | None]:
        org = yield from self._verbs.org_of_task(task_id)
        record = yield from one("GET", key(org, "task", task_id))
        return None if record is None else TaskRecord.from_dict(json.loads(record))

    def tasks(self, limit: int, scope: str | None, where: JournalFilter) -> Steps[list[TaskRecord]]:
        scope = where.scope or scope
        found: list[TaskRecord] = []
        for org in (yield from self.orgs_of(scope)):
            start: int | None = 0
            taken = 0
            while start is not None and taken < limit:
                page, start = yield from self._page(org, start)
                meant = [t for t in page if _is_below(t, scope) and where.takes_task(t)]
                found += meant[: limit - taken]
                taken += len(meant)
        return sorted(found, key=lambda task: task.started_at, reverse=True)[:limit]

    def task_of_thread(self, thread_id: str, scope: str) -> Steps[TaskRecord | None]:
        org = scope.partition("/")[0]
        names = yield from one("ZREVRANGE", key(org, "thread", thread_id), 0, 0)
        wanted = [thread_id, *(name.decode() for name in names)]
        records = yield from one("MGET", *(key(org, "task", name) for name in wanted))
        tasks = [TaskRecord.from_dict(json.loads(record)) for record in records if record]
        named = [task for task in tasks if task.thread_id == thread_id]
        return max(named, key=lambda task: task.started_at, default=None)

    def orgs_of(self, scope: str | None) -> Steps[list[str]]:
        """The orgs in which tasks at or below `scope` are."""
        return (yield from self._verbs.all_orgs()) if scope is None else [scope.partition("/")[0]]

    def matching(
        self, org: str, start: int, where: JournalFilter
    ) -> Steps[tuple[list[tuple[CallRecord, Outcome | None]], int | None]]:
        """A page of the calls that are meant, with their tasks' outcomes; where the next begins."""
        page, after = yield from self._page(org, start)
        tasks = [task for task in page if _is_below(task, where.scope) and _may_hold(task, where)]
        rows = yield Commands([("HVALS", key(org, "calls", task.task_id)) for task in tasks])
        found: list[tuple[CallRecord, Outcome | None]] = []
        for task, records in zip(tasks, rows, strict=True):
            for record in records:
                call = CallRecord.from_dict(json.loads(record))
                if where.takes(call, task.outcome):
                    found.append((call, task.outcome))
        return found, after

    def calls(self, task_id: str) -> Steps[list[CallRecord]]:
        org = yield from self._verbs.org_of_task(task_id)
        order = yield from one("LRANGE", key(org, "order", task_id), 0, -1)
        if not order:
            return []
        records = yield from one("HMGET", key(org, "calls", task_id), *order)
        return [CallRecord.from_dict(json.loads(record)) for record in records if record]

    def events(self, task_id: str) -> Steps[list[EventRecord]]:
        org = yield from self._verbs.org_of_task(task_id)
        rows = yield from one("LRANGE", key(org, "events", task_id), 0, -1)
        return [EventRecord(**json.loads(row)) for row in rows]

    def responses(self, task_id: str) -> Steps[list[PaidResponse]]:
        org = yield from self._verbs.org_of_task(task_id)
        rows = yield from one("LRANGE", key(org, "paid", task_id), 0, -1)
        found: list[PaidResponse] = []
        for row in rows:
            head, _, payload = row.partition(b"\n")
            call_id, _, fingerprint = head.decode().partition(" ")
            found.append(
                PaidResponse(
                    task_id=task_id, call_id=call_id, fingerprint=fingerprint, payload=payload
                )
            )
        return found

    def forget_responses(self, task_id: str) -> Steps[None]:
        org = yield from self._verbs.org_of_task(task_id)
        yield Commands([("DEL", key(org, "paid", task_id))])

    def _page(self, org: str, start: int) -> Steps[tuple[list[TaskRecord], int | None]]:
        """Tasks of an org, the latest first; where the next page begins."""
        names = yield from one("ZREVRANGE", key(org, "tasks"), start, start + _TASKS_A_PAGE - 1)
        if not names:
            return [], None
        records = yield from one("MGET", *(key(org, "task", name.decode()) for name in names))
        tasks = [TaskRecord.from_dict(json.loads(record)) for record in records if record]
        return tasks, start + len(names)


def _is_below(task: TaskRecord, scope: str | None) -> bool:
    return scope is None or task.scope == scope or task.scope.startswith(f"{scope}/")


def _may_hold(task: TaskRecord, where: JournalFilter) -> bool:
    begins_late = where.until is not None and task.started_at >= where.until
    return where.task_id in (None, task.task_id) and not begins_late
