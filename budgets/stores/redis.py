"""A ledger store in Redis, shared by many machines: one Lua script a verb, the server's clock.

All keys of an org, the first segment of a path, carry one hash tag, so a reservation is atomic in a
cluster too; one that touches several orgs is refused. Where the server does not answer, nothing is
granted.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from agentkit.budgets.amount import Amount
from agentkit.budgets.errors import (
    ReservationConflict,
    ReservationUnknown,
    ScopeMissing,
    StoreError,
)
from agentkit.budgets.journal import CallRecord, EventRecord, Outcome, PaidResponse, TaskRecord
from agentkit.budgets.journal_query import (
    EVERYTHING,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
    sum_records,
)
from agentkit.budgets.scope import Scope, scope_chain
from agentkit.budgets.store import Account, Denial, Grant, Settlement
from agentkit.budgets.stores.redis_connection import Argument, RedisConnection, Verb
from agentkit.budgets.stores.redis_record import (
    account_of,
    amount_of_packed,
    denial_of,
    packed,
    packed_limits,
    scope_of,
    settlement_of,
    state_of,
)
from agentkit.budgets.stores.redis_window import span_at

_ORGS_REMEMBERED = 20_000
_NO_ORG = "-"
_SPAN_ROUNDS = 5
_TASKS_A_PAGE = 200
_UNKNOWN = b"UNKNOWN"


class RedisStore:
    """Implements Store. `clock` replaces the server's time: for tests and simulation only."""

    def __init__(self, address: str, *, clock: Callable[[], float] | None = None) -> None:
        """Connect to `redis://host:6379/0`, `rediss://…` or `unix:///path.sock`.

        Raises StoreError where the server cannot be reached, or may forget and
        `?durability=require` is said.
        """
        self._redis = RedisConnection(address)
        self._clock = clock
        self._orgs: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def blocking(self) -> bool:
        return True

    @property
    def risks(self) -> tuple[str, ...]:
        """How this server may forget what was spent, as its settings say."""
        return self._redis.risks

    def put_scope(self, scope: Scope) -> None:
        self._write_scopes("put", scope, [scope.path])

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        for org, group in _by_org(paths).items():
            self._write_scopes("ensure", Scope(path=org), group)

    def scopes(self, prefix: str = "") -> list[Scope]:
        orgs = [_org(prefix)] if prefix else self._redis.orgs()
        keys = [self._redis.key(org, "scopes") for org in orgs]
        found = [
            scope_of(path, record)
            for rows in self._redis.ask_all([("HGETALL", key) for key in keys])
            for path, record in ((name.decode(), record) for name, record in rows.items())
            if not prefix or path == prefix or path.startswith(f"{prefix}/")
        ]
        return sorted(found, key=lambda scope: scope.path)

    def account(self, path: str) -> Account:
        return self.accounts((path,))[0]

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        found: dict[str, Account] = {}
        for org, group in _by_org(paths).items():
            records = self._run_in_windows("accounts", org, [self._now()], group)[1:]
            found.update((p, account_of(p, r)) for p, r in zip(group, records, strict=True))
        return [found[path] for path in paths]

    def drop_scope(self, path: str) -> None:
        self._redis.run("drop", _org(path), (path,))

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant | Denial:
        org = _one_org(paths)
        lease_ms = int(lease_seconds * 1000)
        head = (self._now(), reservation_id, packed(worst), lease_ms, fingerprint, int(dispatched))
        match self._run_in_windows("reserve", org, head, paths):
            case b"GRANTED":
                grant = Grant(reservation_id, "held", worst, False, dispatched)
            case [b"REPEATED", state, sent, held]:
                first = amount_of_packed(held)
                grant = Grant(reservation_id, state_of(state), first, True, sent == b"1")
            case [b"DENIED", path, dimension, record]:
                return denial_of(worst, path.decode(), int(dimension), record)
            case _:
                raise ReservationConflict(reservation_id)
        self._remember(reservation_id, org)
        return grant

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        org = self._org_holding("hold", reservation_id)
        if org is None:
            return False
        lease_ms = int(lease_seconds * 1000)
        arguments = (self._now(), reservation_id, lease_ms, int(dispatched))
        return bool(self._redis.run("renew", org, arguments) == b"RENEWED")

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        if response is not None:
            key = self._redis.key(self._org_of_task(response.task_id), "paid", response.task_id)
            head = f"{response.call_id} {response.fingerprint}\n".encode()
            self._redis.ask("RPUSH", key, head + response.payload)
        arguments = (reservation_id, packed(actual), int(confirmed), *_call(call))
        return self._end("settle", reservation_id, arguments)

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        return self._end("release", reservation_id, (reservation_id, *_call(call)))

    def expire(self, limit: int = 100) -> list[Settlement]:
        ended: list[Settlement] = []
        for org in self._orgs_due():
            answers = self._redis.run("expire", org, (self._now(), limit - len(ended)))
            ended.extend(settlement_of(name.decode(), answer) for name, answer in answers)
            if len(ended) >= limit:
                break
        return ended

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        now = self._clock() if self._clock is not None else self._redis.seconds()
        orgs = self._redis.orgs()
        keys = [self._redis.key(org, "leases") for org in orgs]
        rows = self._redis.ask_all([("ZRANGE", key, 0, limit - 1, "WITHSCORES") for key in keys])
        leases = [
            (float(ends), org, name.decode())
            for org, row in zip(orgs, rows, strict=True)
            for name, ends in zip(row[::2], row[1::2], strict=True)
        ]
        leases = sorted(leases)[:limit]
        holds = [("GETRANGE", self._redis.key(o, f"hold:{n}"), 0, 33) for _, o, n in leases]
        found = zip(leases, self._redis.ask_all(holds), strict=True)
        return [
            (name, amount_of_packed(hold[2:]), ends / 1000 - now)
            for (ends, _, name), hold in found
            if hold[:1] == b"h"
        ]

    def put_task(self, task: TaskRecord) -> None:
        org = _org(task.scope)
        self._redis.add_org(org)
        self._redis.ask_all(
            [
                ("SET", self._redis.key(org, "task", task.task_id), json.dumps(task.to_dict())),
                ("ZADD", self._redis.key(org, "tasks"), task.started_at, task.task_id),
            ]
        )
        self._remember(f"task {task.task_id}", org)

    def add_event(self, event: EventRecord) -> None:
        key = self._redis.key(self._org_of_task(event.task_id), "events", event.task_id)
        self._redis.ask("RPUSH", key, json.dumps(event.to_dict()))

    def task(self, task_id: str) -> TaskRecord | None:
        record = self._redis.ask(
            "GET", self._redis.key(self._org_of_task(task_id), "task", task_id)
        )
        return None if record is None else TaskRecord.from_dict(json.loads(record))

    def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        scope = where.scope or scope
        found = [
            task
            for org in self._orgs_of(scope)
            for task in islice(self._latest(org, scope, where.takes_task), limit)
        ]
        return sorted(found, key=lambda task: task.started_at, reverse=True)[:limit]

    def calls(self, task_id: str) -> list[CallRecord]:
        org = self._org_of_task(task_id)
        order = self._redis.ask("LRANGE", self._redis.key(org, "order", task_id), 0, -1)
        if not order:
            return []
        records = self._redis.ask("HMGET", self._redis.key(org, "calls", task_id), *order)
        return [CallRecord.from_dict(json.loads(record)) for record in records if record]

    def scan_calls(self, where: JournalFilter = EVERYTHING) -> Iterator[CallRecord]:
        return (call for call, _ in self._matching(where))

    def sum_calls(
        self,
        by: Sequence[Key] = (),
        where: JournalFilter = EVERYTHING,
        *,
        measures: Measures = "all",
        dearest: int | None = None,
    ) -> list[GroupSums]:
        return sum_records(self._matching(where), by, dearest=dearest)

    def events(self, task_id: str) -> list[EventRecord]:
        key = self._redis.key(self._org_of_task(task_id), "events", task_id)
        return [EventRecord(**json.loads(row)) for row in self._redis.ask("LRANGE", key, 0, -1)]

    def responses(self, task_id: str) -> list[PaidResponse]:
        key = self._redis.key(self._org_of_task(task_id), "paid", task_id)
        found: list[PaidResponse] = []
        for row in self._redis.ask("LRANGE", key, 0, -1):
            head, _, payload = row.partition(b"\n")
            call_id, _, fingerprint = head.decode().partition(" ")
            found.append(
                PaidResponse(
                    task_id=task_id, call_id=call_id, fingerprint=fingerprint, payload=payload
                )
            )
        return found

    def forget_responses(self, task_id: str) -> None:
        self._redis.ask("DEL", self._redis.key(self._org_of_task(task_id), "paid", task_id))

    def close(self) -> None:
        self._redis.close()

    def _now(self) -> str:
        """Milliseconds of the clock that was given, or '' for the server's own."""
        return "" if self._clock is None else str(int(self._clock() * 1000))

    def _write_scopes(self, verb: str, scope: Scope, paths: Sequence[str]) -> None:
        for path in paths:
            scope_chain(path)
        org = _org(paths[0])
        self._redis.add_org(org)
        window = f"{scope.window} {scope.timezone}"
        limits, thresholds = packed_limits(scope.limits), json.dumps(scope.thresholds)
        self._redis.run("scope", org, (verb, limits, window, thresholds, *paths))

    def _run_in_windows(
        self, verb: Verb, org: str, head: Sequence[Argument], paths: Sequence[str]
    ) -> Any:
        """The script's answer, bringing it the spans of windows that have begun since."""
        spans: dict[str, str] = {}
        for _ in range(_SPAN_ROUNDS):
            brought = [spans.get(path, "") for path in paths] if spans else ()
            answer = self._redis.run(verb, org, (*head, len(paths), *paths, *brought))
            if answer[0] == b"MISSING":
                raise ScopeMissing(answer[1].decode())
            if answer[0] != b"WINDOW":
                return answer
            now_ms, *stale = (part.decode() for part in answer[1:])
            for path, window in zip(stale[::2], stale[1::2], strict=True):
                spans[path] = span_at(window, int(now_ms))
        raise StoreError("the ledger's clock passed midnight again and again; try again")

    def _end(self, verb: Verb, reservation_id: str, arguments: Sequence[Argument]) -> Settlement:
        org = self._org_holding("hold", reservation_id)
        answer = _UNKNOWN if org is None else self._redis.run(verb, org, arguments)
        if answer == _UNKNOWN:
            raise ReservationUnknown(reservation_id)
        return settlement_of(reservation_id, answer)

    def _orgs_due(self) -> list[str]:
        """The orgs with a lease that is over."""
        now = self._now() or str(int(self._redis.seconds() * 1000))
        orgs = self._redis.orgs()
        keys = [self._redis.key(org, "leases") for org in orgs]
        counts = self._redis.ask_all([("ZCOUNT", key, "-inf", now) for key in keys])
        return [org for org, count in zip(orgs, counts, strict=True) if count]

    def _orgs_of(self, scope: str | None) -> list[str]:
        return self._redis.orgs() if scope is None else [_org(scope)]

    def _matching(self, where: JournalFilter) -> Iterator[tuple[CallRecord, Outcome | None]]:
        """The calls that are meant, each with its task's outcome, a page of tasks at a time."""

        def may_hold(task: TaskRecord) -> bool:
            begins_late = where.until is not None and task.started_at >= where.until
            return where.task_id in (None, task.task_id) and not begins_late

        for org in self._orgs_of(where.scope):
            for page in _pages(self._latest(org, where.scope, may_hold)):
                keys = [self._redis.key(org, "calls", task.task_id) for task in page]
                rows = self._redis.ask_all([("HVALS", key) for key in keys])
                for task, records in zip(page, rows, strict=True):
                    for record in records:
                        call = CallRecord.from_dict(json.loads(record))
                        if where.takes(call, task.outcome):
                            yield call, task.outcome

    def _latest(
        self, org: str, scope: str | None, takes: Callable[[TaskRecord], bool]
    ) -> Iterator[TaskRecord]:
        """The tasks of an org, the latest first, a page at a time."""
        start = 0
        while True:
            key = self._redis.key(org, "tasks")
            page = self._redis.ask("ZREVRANGE", key, start, start + _TASKS_A_PAGE - 1)
            if not page:
                return
            start += len(page)
            records = self._redis.ask(
                "MGET", *(self._redis.key(org, "task", t.decode()) for t in page)
            )
            for record in records:
                task = TaskRecord.from_dict(json.loads(record)) if record else None
                if task is None or not takes(task):
                    continue
                if scope is None or task.scope == scope or task.scope.startswith(f"{scope}/"):
                    yield task

    def _org_of_task(self, task_id: str) -> str:
        return self._org_holding("task", task_id) or _NO_ORG

    def _org_holding(self, kind: str, name: str) -> str | None:
        """The org of a reservation or task: remembered, or looked for in every org."""
        remembered = name if kind == "hold" else f"{kind} {name}"
        org = self._orgs.get(remembered)
        if org is not None:
            return org
        found = self._redis.orgs_with(kind, name)
        if not found:
            return None
        self._remember(remembered, found[0])
        return found[0]

    def _remember(self, name: str, org: str) -> None:
        with self._lock:
            self._orgs[name] = org
            if len(self._orgs) > _ORGS_REMEMBERED:
                self._orgs.popitem(last=False)


def _org(path: str) -> str:
    return path.partition("/")[0]


def _pages(tasks: Iterator[TaskRecord]) -> Iterator[list[TaskRecord]]:
    while page := list(islice(tasks, _TASKS_A_PAGE)):
        yield page


def _by_org(paths: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_org(path), []).append(path)
    return groups


def _one_org(paths: Sequence[str]) -> str:
    orgs = _by_org(paths)
    if len(orgs) != 1:
        raise StoreError(
            f"a reservation in Redis touches one org, not {len(orgs)} ({', '.join(orgs)}): the "
            "first segment of all its scopes must be the same"
        )
    return next(iter(orgs))


def _call(call: CallRecord | None) -> tuple[str, str, str]:
    if call is None:
        return "", "", ""
    return call.task_id, call.call_id, json.dumps(call.to_dict())
