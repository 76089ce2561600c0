"""A ledger store in this process's memory: exact, fast, gone with the process."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from agentkit.budgets.amount import DIMENSIONS, NOTHING, UNLIMITED, Amount, Limits
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
    TaskGroup,
    TaskKey,
    sum_records,
    sum_task_groups,
)
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import (
    Account,
    Change,
    Denial,
    Grant,
    ReservationState,
    Settlement,
    charge,
    overrun_of,
)

_FORKED = (
    "the limits of {!r} were set before this process was forked, and a ledger in memory is not "
    "shared: each process would spend them anew; make the ledger in each process, or share one "
    "that each opens for itself, like sqlite:///agentkit.db"
)
_FINISHED_KEPT = 20_000
_TASKS_KEPT = 2_000


class _Sums:
    """One scope's account in one window; mutated only under the store's lock."""

    __slots__ = ("held", "key", "limited_in", "scope", "settled", "unconfirmed")

    def __init__(self, scope: Scope, key: str) -> None:
        self.scope = scope
        self.limited_in = os.getpid()
        self.key = key
        self.settled = NOTHING
        self.held = NOTHING
        self.unconfirmed = 0


class _Reservation:
    __slots__ = (
        "accounts",
        "charged",
        "dispatched",
        "fingerprint",
        "id",
        "lease_until",
        "state",
        "worst",
    )

    def __init__(
        self,
        reservation_id: str,
        worst: Amount,
        accounts: list[_Sums],
        fingerprint: str,
        lease_until: float,
        dispatched: bool,
    ) -> None:
        self.id = reservation_id
        self.worst = worst
        self.accounts = accounts
        self.fingerprint = fingerprint
        self.lease_until = lease_until
        self.dispatched = dispatched
        self.state: ReservationState = "held"
        self.charged = NOTHING


class MemoryStore:
    """Implements Store. Keeps the last 20,000 finished reservations and 2,000 finished tasks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sums: dict[str, _Sums] = {}
        self._open: dict[str, _Reservation] = {}
        self._finished: OrderedDict[str, _Reservation] = OrderedDict()
        self._leases: list[tuple[float, str]] = []
        self._tasks: OrderedDict[str, TaskRecord] = OrderedDict()
        self._calls: dict[str, dict[str, CallRecord]] = {}
        self._events: dict[str, list[EventRecord]] = {}
        self._responses: dict[str, list[PaidResponse]] = {}

    @property
    def blocking(self) -> bool:
        return False

    def put_scope(self, scope: Scope) -> None:
        with self._lock:
            sums = self._sums.get(scope.path)
            if sums is None:
                self._sums[scope.path] = _Sums(scope, scope.window_key(self._clock()))
            else:
                sums.scope = scope
                sums.limited_in = os.getpid()

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        with self._lock:
            for path in paths:
                if path not in self._sums:
                    self._sums[path] = _Sums(Scope(path=path), "")

    def scopes(self, prefix: str = "") -> list[Scope]:
        with self._lock:
            found = [sums.scope for sums in self._sums.values()]
        below = f"{prefix}/"
        return sorted(
            (s for s in found if not prefix or s.path == prefix or s.path.startswith(below)),
            key=lambda scope: scope.path,
        )

    def account(self, path: str) -> Account:
        return self.accounts((path,))[0]

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        with self._lock:
            return [_account(sums) for sums in self._current(paths, self._clock())]

    def drop_scope(self, path: str) -> None:
        with self._lock:
            sums = self._sums.get(path)
            if sums is not None and sums.held == NOTHING:
                del self._sums[path]

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
        now = self._clock()
        with self._lock:
            known = self._open.get(reservation_id) or self._finished.get(reservation_id)
            if known is not None:
                if known.fingerprint != fingerprint:
                    raise ReservationConflict(reservation_id)
                return Grant(reservation_id, known.state, known.worst, True, known.dispatched)
            accounts = self._current(paths, now)
            for sums in accounts:
                limits = sums.scope.limits
                if limits == UNLIMITED:
                    continue
                if sums.limited_in != os.getpid():
                    raise StoreError(_FORKED.format(sums.scope.path))
                if denial := _denial(sums, limits, worst):
                    return denial
            nusd, tokens, fresh, calls = worst
            for sums in accounts:
                held = sums.held
                sums.held = Amount(
                    held[0] + nusd, held[1] + tokens, held[2] + fresh, held[3] + calls
                )
            until = now + lease_seconds
            self._open[reservation_id] = _Reservation(
                reservation_id, worst, accounts, fingerprint, until, dispatched
            )
            heapq.heappush(self._leases, (until, reservation_id))
        return Grant(reservation_id, "held", worst, False, dispatched)

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        with self._lock:
            reservation = self._open.get(reservation_id)
            if reservation is None:
                return False
            reservation.lease_until = self._clock() + lease_seconds
            reservation.dispatched = reservation.dispatched or dispatched
            heapq.heappush(self._leases, (reservation.lease_until, reservation_id))
            return True

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        with self._lock:
            if response is not None:
                self._responses.setdefault(response.task_id, []).append(response)
            settlement = self._settle(self._reservation(reservation_id), actual, confirmed)
            if call is not None and settlement.before != "settled":
                self._calls.setdefault(call.task_id, {})[call.call_id] = call
        return settlement

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        with self._lock:
            settlement = self._release(self._reservation(reservation_id))
            if call is not None and settlement.before == "held":
                self._calls.setdefault(call.task_id, {})[call.call_id] = call
        return settlement

    def expire(self, limit: int = 100) -> list[Settlement]:
        now = self._clock()
        ended: list[Settlement] = []
        with self._lock:
            while self._leases and self._leases[0][0] <= now and len(ended) < limit:
                _, reservation_id = heapq.heappop(self._leases)
                reservation = self._open.get(reservation_id)
                if reservation is None or reservation.lease_until > now:
                    continue
                if reservation.dispatched:
                    ended.append(self._settle(reservation, reservation.worst, False))
                else:
                    ended.append(self._release(reservation))
        return ended

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        now = self._clock()
        with self._lock:
            rows = [(r.id, r.worst, r.lease_until - now) for r in self._open.values()]
        return rows[:limit]

    def put_task(self, task: TaskRecord) -> None:
        with self._lock:
            self._tasks[task.task_id] = task
            self._tasks.move_to_end(task.task_id)
            while len(self._tasks) > _TASKS_KEPT:
                oldest, _ = self._tasks.popitem(last=False)
                self._calls.pop(oldest, None)
                self._events.pop(oldest, None)
                self._responses.pop(oldest, None)

    def add_event(self, event: EventRecord) -> None:
        with self._lock:
            self._events.setdefault(event.task_id, []).append(event)

    def task(self, task_id: str) -> TaskRecord | None:
        with self._lock:
            return self._tasks.get(task_id)

    def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        with self._lock:
            found = list(self._tasks.values())
        if scope is not None:
            found = [t for t in found if t.scope == scope or t.scope.startswith(f"{scope}/")]
        found = [task for task in found if where.takes_task(task)]
        return sorted(found, key=lambda task: task.started_at, reverse=True)[:limit]

    def task_of_thread(self, thread_id: str, *, scope: str) -> TaskRecord | None:
        org = scope.partition("/")[0]
        with self._lock:
            found = [
                task
                for task in self._tasks.values()
                if task.thread_id == thread_id and task.scope.partition("/")[0] == org
            ]
        return max(found, key=lambda task: task.started_at, default=None)

    def calls(self, task_id: str) -> list[CallRecord]:
        with self._lock:
            return list(self._calls.get(task_id, {}).values())

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

    def sum_tasks(
        self, by: Sequence[TaskKey] = (), where: JournalFilter = EVERYTHING
    ) -> list[TaskGroup]:
        return sum_task_groups(self.sum_calls((*by, "task"), where))

    def events(self, task_id: str) -> list[EventRecord]:
        with self._lock:
            return list(self._events.get(task_id, ()))

    def responses(self, task_id: str) -> list[PaidResponse]:
        with self._lock:
            return list(self._responses.get(task_id, ()))

    def forget_responses(self, task_id: str) -> None:
        with self._lock:
            self._responses.pop(task_id, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _matching(self, where: JournalFilter) -> list[tuple[CallRecord, Outcome | None]]:
        """The calls that are meant, each with its task's outcome."""
        with self._lock:
            found: list[tuple[CallRecord, Outcome | None]] = []
            for task_id, calls in self._calls.items():
                task = self._tasks.get(task_id)
                outcome: Outcome | None = None if task is None else task.outcome
                taken = (call for call in calls.values() if where.takes(call, outcome))
                found.extend((call, outcome) for call in taken)
        return found

    def _current(self, paths: Sequence[str], now: float) -> list[_Sums]:
        """The accounts of `paths` in their current windows; a new window starts at zero."""
        found: list[_Sums] = []
        for path in paths:
            sums = self._sums.get(path)
            if sums is None:
                raise ScopeMissing(path)
            if sums.scope.window != "total" or sums.key:
                sums = self._sums[path] = _in_window(sums, sums.scope.window_key(now))
            found.append(sums)
        return found

    def _reservation(self, reservation_id: str) -> _Reservation:
        reservation = self._open.get(reservation_id) or self._finished.get(reservation_id)
        if reservation is None:
            raise ReservationUnknown(reservation_id)
        return reservation

    def _settle(self, reservation: _Reservation, actual: Amount, confirmed: bool) -> Settlement:
        before = reservation.state
        decided = charge(before, actual, confirmed)
        if decided is None:
            return Settlement(reservation.id, before, before, reservation.charged, NOTHING, ())
        reservation.state, charged = decided
        changes = self._move(reservation, before, charged)
        self._finish(reservation)
        overrun = overrun_of(reservation.worst, actual)
        return Settlement(reservation.id, before, reservation.state, charged, overrun, changes)

    def _release(self, reservation: _Reservation) -> Settlement:
        before = reservation.state
        if before != "held":
            return Settlement(reservation.id, before, before, reservation.charged, NOTHING, ())
        reservation.state = "released"
        changes = self._move(reservation, before, NOTHING)
        self._finish(reservation)
        return Settlement(reservation.id, before, "released", NOTHING, NOTHING, changes)

    def _move(
        self, reservation: _Reservation, before: ReservationState, charged: Amount
    ) -> tuple[Change, ...]:
        """Take the hold off and the charge on, in every account of the reservation."""
        drop = reservation.worst if before == "held" else NOTHING
        add = charged.minus(reservation.charged)
        unconfirmed = charged.nusd if reservation.state == "forfeited" else 0
        unconfirmed -= reservation.charged.nusd if before == "forfeited" else 0
        reservation.charged = charged
        changes: list[Change] = []
        for sums in reservation.accounts:
            old, held = sums.settled, sums.held
            sums.held = Amount(
                held[0] - drop[0], held[1] - drop[1], held[2] - drop[2], held[3] - drop[3]
            )
            sums.settled = Amount(
                old[0] + add[0], old[1] + add[1], old[2] + add[2], old[3] + add[3]
            )
            sums.unconfirmed += unconfirmed
            scope = sums.scope
            if scope.limits != UNLIMITED:
                changes.append(
                    Change(scope.path, scope.limits, scope.thresholds, old, sums.settled, sums.held)
                )
        return tuple(changes)

    def _finish(self, reservation: _Reservation) -> None:
        if self._open.pop(reservation.id, None) is None:
            return
        self._finished[reservation.id] = reservation
        if len(self._finished) > _FINISHED_KEPT:
            self._finished.popitem(last=False)
        if len(self._leases) > 2 * len(self._open) + 1024:
            self._leases = [(r.lease_until, r.id) for r in self._open.values()]
            heapq.heapify(self._leases)


def _in_window(sums: _Sums, key: str) -> _Sums:
    """`sums`, or empty ones where a new window has begun; a clock set back begins none."""
    same_kind = len(key) == len(sums.key)
    return sums if same_kind and key <= sums.key else _Sums(sums.scope, key)


def _denial(sums: _Sums, limits: Limits, worst: Amount) -> Denial | None:
    """The first limit that holding `worst` would pass; what asks for nothing is never denied."""
    for i, limit in enumerate(limits):
        if limit is None or not worst[i]:
            continue
        available = limit - sums.settled[i] - sums.held[i]
        if worst[i] > available:
            return Denial(
                sums.scope.path,
                DIMENSIONS[i],
                worst[i],
                available,
                limit,
                sums.settled[i],
                sums.held[i],
            )
    return None


def _account(sums: _Sums) -> Account:
    return Account(
        sums.scope.path, sums.key, sums.scope.limits, sums.settled, sums.held, sums.unconfirmed
    )
