"""The storage Protocol behind the ledger, and the values that cross it.

A store keeps scopes, their accounts and the reservations against them. Each verb is atomic over all
scopes that it touches. `agentkit.budgets.conformance.check` runs the suite for any store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.errors import BudgetExceeded, Dimension
from agentkit.budgets.journal import CallRecord, EventRecord, PaidResponse, TaskRecord
from agentkit.budgets.journal_query import (
    EVERYTHING,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
    TaskGroup,
    TaskKey,
)
from agentkit.budgets.scope import Scope

ReservationState = Literal["held", "settled", "released", "forfeited"]


class Account(NamedTuple):
    """A scope's sums in its current window; `unconfirmed_nusd` is a part of `settled.nusd`."""

    path: str
    window_key: str
    limits: Limits
    settled: Amount
    held: Amount
    unconfirmed_nusd: int

    @property
    def available(self) -> Limits:
        """What is left under each limit; negative after an overrun, None where nothing binds."""
        rows = zip(self.limits, self.settled, self.held, strict=True)
        return Limits(*(None if limit is None else limit - s - h for limit, s, h in rows))


class Grant(NamedTuple):
    """A reservation that holds its worst case in every scope."""

    reservation_id: str
    state: ReservationState
    worst: Amount
    repeated: bool
    """True where the same id and fingerprint had been granted before; nothing was held twice."""
    dispatched: bool = True
    """False while the money is only kept for later."""


class Denial(NamedTuple):
    """The first scope, from the root down, whose limit the reservation would pass."""

    path: str
    dimension: Dimension
    asked: int
    available: int
    limit: int
    settled: int
    held: int


class Change(NamedTuple):
    """How a settlement moved one scope that has limits."""

    path: str
    limits: Limits
    thresholds: tuple[float, ...]
    before: Amount
    after: Amount
    held: Amount


class Settlement(NamedTuple):
    """The end of a reservation: what it was, what it is, and the scopes with limits it moved."""

    reservation_id: str
    before: ReservationState
    after: ReservationState
    charged: Amount
    overrun: Amount
    changes: tuple[Change, ...]


class Store(Protocol):
    """Where scopes, reservations and the journal live. Every verb is safe from many threads."""

    @property
    def blocking(self) -> bool:
        """True where a verb waits for a disk or a network, so that an event loop must not."""
        ...

    def put_scope(self, scope: Scope) -> None:
        """Create `scope`, or replace its limits; sums stay."""
        ...

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        """Create those of `paths` that do not exist, without limits."""
        ...

    def scopes(self, prefix: str = "") -> list[Scope]:
        """The scopes at or below `prefix`, by path."""
        ...

    def account(self, path: str) -> Account:
        """The current window's sums; raises ScopeMissing."""
        ...

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        """Several accounts at one moment; raises ScopeMissing."""
        ...

    def drop_scope(self, path: str) -> None:
        """Forget a scope that will spend no more, unless something is still held in it."""
        ...

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
        """Hold `worst` in all of `paths`, or in none.

        The same id with the same fingerprint answers as before; with another it raises
        ReservationConflict. Raises ScopeMissing. `dispatched=False` marks money kept for later: its
        lease, once over, gives the money back instead of charging it.
        """
        ...

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        """Extend a lease from now; False where the reservation is no longer held.

        What was sent stays sent, for an older renewal may arrive after the one that sends it.
        """
        ...

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        """Charge `actual`, give back the rest, and write `call` and `response` with it.

        All in one transaction, or, where a store has none, the response first: an answer that was
        paid for is never lost while its charge stays.

        Not confirmed means forfeited: a later, confirmed settle corrects it. A settled reservation
        is not moved again. Raises ReservationUnknown.
        """
        ...

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        """Give everything back: the request provably never left. Raises ReservationUnknown."""
        ...

    def expire(self, limit: int = 100) -> list[Settlement]:
        """End up to `limit` reservations whose lease is over: forfeit, or release if not sent."""
        ...

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        """Open reservations: id, worst case, seconds left of the lease."""
        ...

    def put_task(self, task: TaskRecord) -> None:
        """Write or replace a task's record."""
        ...

    def add_event(self, event: EventRecord) -> None:
        """Append to a task's story."""
        ...

    def task(self, task_id: str) -> TaskRecord | None:
        """One task's record."""
        ...

    def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        """The latest tasks first, at or below `scope`, of those that `where` takes."""
        ...

    def task_of_thread(self, thread_id: str, *, scope: str) -> TaskRecord | None:
        """The task that began last under a thread, in the org (the first part) of `scope`."""
        ...

    def calls(self, task_id: str) -> list[CallRecord]:
        """A task's calls in the order of their settlement."""
        ...

    def scan_calls(self, where: JournalFilter = EVERYTHING) -> Iterator[CallRecord]:
        """Every call that `where` takes, in no order, a page at a time."""
        ...

    def sum_calls(
        self,
        by: Sequence[Key] = (),
        where: JournalFilter = EVERYTHING,
        *,
        measures: Measures = "all",
        dearest: int | None = None,
    ) -> list[GroupSums]:
        """The sums of those calls by group, as `sum_records` makes them; no group is empty."""
        ...

    def sum_tasks(
        self, by: Sequence[TaskKey] = (), where: JournalFilter = EVERYTHING
    ) -> list[TaskGroup]:
        """The tasks of those calls by group, in the order of their keys."""
        ...

    def events(self, task_id: str) -> list[EventRecord]:
        """A task's story in order."""
        ...

    def responses(self, task_id: str) -> list[PaidResponse]:
        """The answers kept for a task, in the order in which they were paid."""
        ...

    def forget_responses(self, task_id: str) -> None:
        """Delete the answers of a task that will not be resumed."""
        ...

    def close(self) -> None:
        """Let go of files and connections; a second call does nothing."""
        ...


@runtime_checkable
class RenewsMany(Protocol):
    """A store that renews many leases at the cost of one."""

    def renew_all(self, reservation_ids: Sequence[str], *, lease_seconds: float) -> set[str]:
        """Mark many as sent; gives those that are no longer held."""
        ...


@runtime_checkable
class GroupsVerbs(Protocol):
    """A store that carries out several verbs of one thread as one, at the cost of one."""

    def together(self) -> AbstractContextManager[None]:
        """All verbs inside, or none of them where one raises."""
        ...


def charge(
    state: ReservationState, actual: Amount, confirmed: bool
) -> tuple[ReservationState, Amount] | None:
    """What a settle makes of a reservation: its new state and charge, or None to leave it.

    The one rule for all stores: a settled reservation stays; a forfeited one is corrected only by a
    confirmed settle; a held or released one takes what comes, for money that was billed is a fact.
    """
    if state == "settled" or (state == "forfeited" and not confirmed):
        return None
    return ("settled" if confirmed else "forfeited"), actual


def overrun_of(worst: Amount, actual: Amount) -> Amount:
    """How far `actual` passes the worst case that was held."""
    within = (
        actual[0] <= worst[0]
        and actual[1] <= worst[1]
        and actual[2] <= worst[2]
        and actual[3] <= worst[3]
    )
    return NOTHING if within else actual.excess_over(worst)


def denied(denial: Denial) -> BudgetExceeded:
    """The error that a denial becomes."""
    return BudgetExceeded(
        scope=denial.path,
        dimension=denial.dimension,
        asked=denial.asked,
        available=denial.available,
        limit=denial.limit,
    )
