"""A ledger store in Redis, shared by many machines: one Lua script a verb, the server's clock.

All keys of an org, the first segment of a path, carry one hash tag, so a reservation is atomic in a
cluster too; one that touches several orgs is refused. Where the server does not answer, nothing is
granted.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from agentkit.budgets.amount import DIMENSIONS, NOTHING, UNLIMITED, Amount, Limits
from agentkit.budgets.errors import (
    ReservationConflict,
    ReservationUnknown,
    ScopeMissing,
    StoreError,
)
from agentkit.budgets.journal import CallRecord, EventRecord, TaskRecord
from agentkit.budgets.scope import Scope, Window, scope_chain
from agentkit.budgets.store import Account, Change, Denial, Grant, Settlement, overrun_of
from agentkit.budgets.stores.redis_connection import RedisConnection, Verb
from agentkit.budgets.stores.redis_window import NO_SPAN, span_at

_ORGS_REMEMBERED = 20_000
_NO_ORG = "-"
_SPAN_ROUNDS = 5
_TASKS_A_PAGE = 200


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
        orgs = [prefix.partition("/")[0]] if prefix else self._redis.orgs()
        members = self._redis.ask_all([("SMEMBERS", self._redis.key(o, "scopes")) for o in orgs])
        paths = sorted(
            path
            for group in members
            for path in group
            if not prefix or path == prefix or path.startswith(f"{prefix}/")
        )
        fields = ("limits", "thresholds", "window")
        rows = self._redis.ask_all([("HMGET", self._scope_key(path), *fields) for path in paths])
        return [_scope(path, row) for path, row in zip(paths, rows, strict=True) if row[0]]

    def account(self, path: str) -> Account:
        return self.accounts((path,))[0]

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        found: dict[str, Account] = {}
        for org, group in _by_org(paths).items():
            answer = self._run_in_windows("accounts", org, [self._now()], group)
            rows = zip(group, answer[1::3], answer[2::3], answer[3::3], strict=True)
            found.update((path, _account(path, *row)) for path, *row in rows)
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
        head: list[str | int] = [self._now(), reservation_id, *worst, lease_ms]
        head += [fingerprint, int(dispatched)]
        answer = self._run_in_windows("reserve", org, head, paths)
        match answer:
            case ["GRANTED"]:
                grant = Grant(reservation_id, "held", worst, False, dispatched)
            case ["REPEATED", state, held, sent]:
                grant = Grant(reservation_id, state, _amount(held), True, sent == "1")
            case ["DENIED", path, place, sums]:
                dimension = int(place) - 1
                available, limit, settled, held = map(int, sums.split())
                asked = worst[dimension]
                return Denial(path, DIMENSIONS[dimension], asked, available, limit, settled, held)
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
        return bool(self._redis.run("renew", org, arguments) == ["1"])

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
    ) -> Settlement:
        arguments: list[str | int] = [reservation_id, *actual, int(confirmed), *_call(call)]
        return self._end("settle", reservation_id, arguments)

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        return self._end("release", reservation_id, [reservation_id, *_call(call)])

    def expire(self, limit: int = 100) -> list[Settlement]:
        ended: list[Settlement] = []
        for org in self._orgs_due():
            answers = self._redis.run("expire", org, (self._now(), limit - len(ended)))
            ended.extend(map(_settlement, answers))
            if len(ended) >= limit:
                break
        return ended

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        now = self._clock() if self._clock is not None else self._redis.seconds()
        orgs = self._redis.orgs()
        keys = [self._redis.key(org, "leases") for org in orgs]
        rows = self._redis.ask_all([("ZRANGE", key, 0, limit - 1, "WITHSCORES") for key in keys])
        leases = [
            (float(ends), org, name)
            for org, row in zip(orgs, rows, strict=True)
            for name, ends in zip(row[::2], row[1::2], strict=True)
        ]
        leases = sorted(leases)[:limit]
        holds = [("HMGET", self._redis.key(o, "hold", n), "worst", "state") for _, o, n in leases]
        found = zip(leases, self._redis.ask_all(holds), strict=True)
        return [
            (name, _amount(worst), ends / 1000 - now)
            for (ends, _, name), (worst, state) in found
            if state == "held"
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

    def tasks(self, *, limit: int = 50, scope: str | None = None) -> list[TaskRecord]:
        orgs = self._redis.orgs() if scope is None else [_org(scope)]
        found = [task for org in orgs for task in self._latest(org, limit, scope)]
        return sorted(found, key=lambda task: task.started_at, reverse=True)[:limit]

    def calls(self, task_id: str) -> list[CallRecord]:
        org = self._org_of_task(task_id)
        order = self._redis.ask("LRANGE", self._redis.key(org, "order", task_id), 0, -1)
        if not order:
            return []
        records = self._redis.ask("HMGET", self._redis.key(org, "calls", task_id), *order)
        return [CallRecord.from_dict(json.loads(record)) for record in records if record]

    def events(self, task_id: str) -> list[EventRecord]:
        key = self._redis.key(self._org_of_task(task_id), "events", task_id)
        return [EventRecord(**json.loads(row)) for row in self._redis.ask("LRANGE", key, 0, -1)]

    def close(self) -> None:
        self._redis.close()

    def _now(self) -> str:
        """Milliseconds of the clock that was given, or '' for the server's own."""
        return "" if self._clock is None else str(int(self._clock() * 1000))

    def _scope_key(self, path: str) -> str:
        return self._redis.key(_org(path), "scope", path)

    def _write_scopes(self, verb: str, scope: Scope, paths: Sequence[str]) -> None:
        for path in paths:
            scope_chain(path)
        org = _org(paths[0])
        self._redis.add_org(org)
        limits = " ".join("-" if limit is None else str(limit) for limit in scope.limits)
        window = f"{scope.window} {scope.timezone}"
        thresholds = json.dumps(scope.thresholds)
        self._redis.run("scope", org, (verb, limits, thresholds, window, *paths))

    def _run_in_windows(
        self, verb: Verb, org: str, head: Sequence[str | int], paths: Sequence[str]
    ) -> list[Any]:
        """The script's answer, bringing it the spans of windows that have begun since."""
        spans = dict.fromkeys(paths, NO_SPAN)
        for _ in range(_SPAN_ROUNDS):
            pairs = [part for path in paths for part in (path, spans[path])]
            answer = self._redis.run(verb, org, [*head, *pairs])
            if answer[0] == "MISSING":
                raise ScopeMissing(answer[1])
            if answer[0] != "WINDOW":
                return answer
            stale = zip(answer[2::2], answer[3::2], strict=True)
            spans.update((path, span_at(window, int(answer[1]))) for path, window in stale)
        raise StoreError("the ledger's clock passed midnight again and again; try again")

    def _end(self, verb: Verb, reservation_id: str, arguments: Sequence[str | int]) -> Settlement:
        org = self._org_holding("hold", reservation_id)
        answer = ["UNKNOWN"] if org is None else self._redis.run(verb, org, arguments)
        if answer[0] == "UNKNOWN" and len(answer) == 1:
            raise ReservationUnknown(reservation_id)
        return _settlement(answer)

    def _orgs_due(self) -> list[str]:
        """The orgs with a lease that is over."""
        now = self._now() or str(int(self._redis.seconds() * 1000))
        orgs = self._redis.orgs()
        keys = [self._redis.key(org, "leases") for org in orgs]
        counts = self._redis.ask_all([("ZCOUNT", key, "-inf", now) for key in keys])
        return [org for org, count in zip(orgs, counts, strict=True) if count]

    def _latest(self, org: str, limit: int, scope: str | None) -> list[TaskRecord]:
        found: list[TaskRecord] = []
        start = 0
        while len(found) < limit:
            key = self._redis.key(org, "tasks")
            page = self._redis.ask("ZREVRANGE", key, start, start + _TASKS_A_PAGE - 1)
            if not page:
                break
            start += len(page)
            records = self._redis.ask("MGET", *(self._redis.key(org, "task", t) for t in page))
            tasks = [TaskRecord.from_dict(json.loads(record)) for record in records if record]
            found.extend(
                t
                for t in tasks
                if scope is None or t.scope == scope or t.scope.startswith(f"{scope}/")
            )
        return found[:limit]

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


def _amount(text: str) -> Amount:
    return Amount(*map(int, text.split()))


def _limits(text: str) -> Limits:
    if text == "- - - -":
        return UNLIMITED
    return Limits(*(None if word == "-" else int(word) for word in text.split()))


def _account(path: str, limits: str, key: str, sums: str) -> Account:
    numbers = [int(word) for word in sums.split()]
    settled, held = Amount(*numbers[:4]), Amount(*numbers[4:8])
    return Account(path, key, _limits(limits), settled, held, numbers[8])


def _scope(path: str, row: Sequence[str]) -> Scope:
    limits, thresholds, window = row
    kind, _, timezone = window.partition(" ")
    kinds: dict[str, Window] = {"total": "total", "day": "day", "month": "month"}
    return Scope(
        path=path,
        limits=_limits(limits),
        thresholds=tuple(json.loads(thresholds)),
        window=kinds[kind],
        timezone=timezone,
    )


def _settlement(answer: Sequence[Any]) -> Settlement:
    reservation_id, before, after, charged, worst, *moved = answer
    changes = tuple(
        Change(
            moved[i],
            _limits(moved[i + 1]),
            tuple(json.loads(moved[i + 2])),
            _amount(moved[i + 3]),
            _amount(moved[i + 4]),
            _amount(moved[i + 5]),
        )
        for i in range(0, len(moved), 6)
    )
    amount = _amount(charged)
    overrun = NOTHING if before == after else overrun_of(_amount(worst), amount)
    return Settlement(reservation_id, before, after, amount, overrun, changes)
