"""A ledger store in Redis, shared by many machines: one Lua script a verb, the server's clock.

All keys of an org, the first segment of a path, carry one hash tag, so a reservation is atomic in a
cluster too; one that touches several orgs is refused. Where the server does not answer, nothing is
granted; where it has lost what it was told, nothing is granted until it has it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agentkit.budgets.amount import Amount
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
from agentkit.budgets.loss import OnLoss, StateLoss
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Account, Denial, Grant, Settlement
from agentkit.budgets.stores.redis_address import RedisAddress, read_address
from agentkit.budgets.stores.redis_connection import RedisConnection
from agentkit.budgets.stores.redis_journal import JournalFile
from agentkit.budgets.stores.redis_memory import Memories, OrgMemory
from agentkit.budgets.stores.redis_tasks import RedisTasks
from agentkit.budgets.stores.redis_verbs import RedisVerbs


class RedisStore:
    """Implements Store. `clock` replaces the server's time: for tests and simulation only."""

    def __init__(self, address: str, *, clock: Callable[[], float] | None = None) -> None:
        """Connect to `redis://host:6379/0`, `rediss://…` or `unix:///path.sock`.

        Raises StoreError where the server cannot be reached, or may forget and
        `?durability=require` is said.
        """
        where = read_address(address)
        self._redis = RedisConnection(where)
        self._drive = self._redis.drive
        self._journal = JournalFile(where.journal) if where.journal else None
        self._memories = Memories(self._journal, clock)
        self._verbs = RedisVerbs(where, self._memories, self._redis, clock=clock)
        self._tasks = RedisTasks(self._verbs)

    @property
    def blocking(self) -> bool:
        return True

    @property
    def address(self) -> RedisAddress:
        """Where the server is, and how it is used."""
        return self._redis.address

    @property
    def risks(self) -> tuple[str, ...]:
        """How this server may forget what was spent, as its settings say."""
        return self._redis.risks

    @property
    def on_loss(self) -> OnLoss | None:
        """Hears of each org that was lost in part, and of its reopening."""
        return self._verbs.recovery.on_loss

    @on_loss.setter
    def on_loss(self, listener: OnLoss | None) -> None:
        self._verbs.recovery.on_loss = listener

    def memory_of(self, org: str) -> OrgMemory:
        """What this process remembers of an org, and would bring back."""
        return self._memories.of(org)

    def reopen(self, org: str) -> StateLoss:
        return self._drive(self._verbs.reopen(org))

    def put_scope(self, scope: Scope) -> None:
        self._drive(self._verbs.put_scope(scope))

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        self._drive(self._verbs.ensure_scopes(paths))

    def scopes(self, prefix: str = "") -> list[Scope]:
        return self._drive(self._verbs.scopes(prefix))

    def account(self, path: str) -> Account:
        return self.accounts((path,))[0]

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        return self._drive(self._verbs.accounts(paths))

    def drop_scope(self, path: str) -> None:
        self._drive(self._verbs.drop_scope(path))

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
        return self._drive(
            self._verbs.reserve(
                reservation_id,
                worst,
                paths,
                lease_seconds=lease_seconds,
                fingerprint=fingerprint,
                dispatched=dispatched,
            )
        )

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        return self._drive(
            self._verbs.renew(reservation_id, lease_seconds=lease_seconds, dispatched=dispatched)
        )

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        return self._drive(
            self._verbs.settle(
                reservation_id, actual, confirmed=confirmed, call=call, response=response
            )
        )

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        return self._drive(self._verbs.release(reservation_id, call=call))

    def expire(self, limit: int = 100) -> list[Settlement]:
        return self._drive(self._verbs.expire(limit))

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        return self._drive(self._tasks.held(limit))

    def put_task(self, task: TaskRecord) -> None:
        self._drive(self._tasks.put_task(task))

    def add_event(self, event: EventRecord) -> None:
        self._drive(self._tasks.add_event(event))

    def task(self, task_id: str) -> TaskRecord | None:
        return self._drive(self._tasks.task(task_id))

    def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        return self._drive(self._tasks.tasks(limit, scope, where))

    def task_of_thread(self, thread_id: str, *, scope: str) -> TaskRecord | None:
        return self._drive(self._tasks.task_of_thread(thread_id, scope))

    def calls(self, task_id: str) -> list[CallRecord]:
        return self._drive(self._tasks.calls(task_id))

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
        return self._drive(self._tasks.events(task_id))

    def responses(self, task_id: str) -> list[PaidResponse]:
        return self._drive(self._tasks.responses(task_id))

    def forget_responses(self, task_id: str) -> None:
        self._drive(self._tasks.forget_responses(task_id))

    def close(self) -> None:
        self._redis.close()
        if self._journal is not None:
            self._journal.close()

    def _matching(self, where: JournalFilter) -> Iterator[tuple[CallRecord, Outcome | None]]:
        """The calls that are meant, a page of tasks at a time."""
        for org in self._drive(self._tasks.orgs_of(where.scope)):
            start: int | None = 0
            while start is not None:
                rows, start = self._drive(self._tasks.matching(org, start, where))
                yield from rows
