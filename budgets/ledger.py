"""The ledger: the one place that changes spending.

Every verb acts on a whole chain of scopes at once. What it finds out (a threshold crossed, a
breach, an overrun, a forfeit) is announced after the store has committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from agentkit.budgets.amount import (
    NOTHING,
    UNLIMITED,
    Amount,
    Limits,
    check_amount,
)
from agentkit.budgets.announcer import Announcer
from agentkit.budgets.budget import DEFAULT_THRESHOLDS, Budget
from agentkit.budgets.call_plan import LEASE_SECONDS
from agentkit.budgets.errors import CallLost, StoreError
from agentkit.budgets.event import Decision, OnBudget
from agentkit.budgets.extension import extended_limits
from agentkit.budgets.heartbeat import Heartbeat
from agentkit.budgets.holding import is_waiting
from agentkit.budgets.journal import LOST_CALL, CallRecord, EventRecord, PaidResponse, TaskRecord
from agentkit.budgets.landing_reserve import is_landing
from agentkit.budgets.listener import LISTENER_SECONDS, TimedListener
from agentkit.budgets.loss import NoticesLoss, StateLoss
from agentkit.budgets.margin import TokenMargins
from agentkit.budgets.owed import OwingStore
from agentkit.budgets.price import PriceBook
from agentkit.budgets.purse import Purse, is_purse, purse_chain, purse_of
from agentkit.budgets.scope import Scope, Window, scope_chain
from agentkit.budgets.store import (
    Account,
    Denial,
    Grant,
    GroupsVerbs,
    RenewsMany,
    Settlement,
    Store,
    denied,
)
from agentkit.budgets.stores import open_store
from agentkit.budgets.task import Task, new_id
from agentkit.budgets.usage import Usage

if TYPE_CHECKING:
    from agentkit.budgets.webhook import Webhook

_log = logging.getLogger("agentkit.budgets")

OnLostCall = Literal["repeat", "fail"]
DEFAULT_SCOPE = "default"
_EXPIRE_EVERY_SECONDS = 5.0
_EXPIRED_AT_ONCE = 100


class Ledger:
    """Reserves before a call, settles after it, over a tree of scopes.

    >>> from agentkit.budgets import Budget, Ledger
    >>> ledger = Ledger("memory://")
    >>> task = ledger.open_task(scope="acme/support", budget=Budget(usd="0.05"))
    >>> ledger.account("acme").held.nusd
    0
    """

    def __init__(
        self,
        store: Store | str = "memory://",
        *,
        prices: PriceBook | None = None,
        on_event: OnBudget | None = None,
        webhook: Webhook | None = None,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = LEASE_SECONDS,
        listener_seconds: float = LISTENER_SECONDS,
        on_store_error: Literal["deny", "allow"] = "deny",
    ) -> None:
        """A ledger over `store`, an object or an address like `sqlite:///agentkit.db`.

        `on_event` hears the events of every scope, and `webhook` sends them; a callback that takes
        longer than `listener_seconds` is left behind. `lease_seconds` after a process has died,
        what its calls held is charged. `on_store_error="allow"` lets calls of open tasks go on
        while the store does not answer, beyond any limit, and charges them when it does. Raises
        StoreError where the store cannot open.
        """
        self.clock = clock
        self.listener_seconds = listener_seconds
        self.announcer = Announcer(
            clock=clock,
            webhook=webhook,
            on_event=None if on_event is None else self.timed(on_event),
        )
        self.store: Store = open_store(store) if isinstance(store, str) else store
        if isinstance(self.store, NoticesLoss):
            self.store.on_loss = self.announcer.loss
        self.lane: object = None
        """What sends its requests that can wait, where there is such a thing."""
        self._owing = OwingStore(self.store) if on_store_error == "allow" else None
        if self._owing is not None:
            self.store = cast("Store", self._owing)  # the rest goes to the store behind it
        self.prices = prices or PriceBook()
        self.margins = TokenMargins()
        self.lease_seconds = lease_seconds
        self.heartbeat = Heartbeat(self._renew_sent)
        self._webhook = webhook
        self._next_expiry = 0.0
        self._lock = threading.Lock()

    def __reduce__(self) -> NoReturn:
        """A ledger is not sent to another process; raises TypeError, which says what to do."""
        raise TypeError(
            "a ledger, and an agent or task over it, cannot be pickled for another process: "
            "make it there, over an address that the processes share, like sqlite:///agentkit.db"
        )

    @property
    def owed(self) -> Amount:
        """What `on_store_error="allow"` let through and the store does not know yet."""
        return NOTHING if self._owing is None else self._owing.owed

    def set_limits(
        self,
        path: str,
        limits: Limits,
        *,
        window: Window = "total",
        timezone: str = "UTC",
        thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    ) -> None:
        """Give the scope at `path` these limits; its sums stay. Raises InvalidLimit."""
        chain = scope_chain(path)
        if len(chain) > 1:
            self.store.ensure_scopes(chain[:-1])
        self.store.put_scope(
            Scope(
                path=path,
                limits=limits,
                window=window,
                timezone=timezone,
                thresholds=tuple(thresholds),
            )
        )

    def account(self, path: str) -> Account:
        """The sums of one scope in its current window; raises ScopeMissing."""
        return self.store.account(path)

    def open_task(
        self,
        *,
        scope: str = DEFAULT_SCOPE,
        budget: Budget | None = None,
        task_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        on_event: OnBudget | None = None,
        models: Sequence[str] = (),
        thread_id: str | None = None,
        keep_responses: bool = False,
        request_digest: str = "",
        parent: Task | None = None,
        on_lost_call: OnLostCall = "repeat",
    ) -> Task:
        """A task that spends under `scope`; the same `task_id` again takes up where it was.

        Where a dead process had sent a call and not heard its answer, it stays charged at its worst
        case, and the call may be made again; `on_lost_call="fail"` raises CallLost instead.
        With a `parent` it is a subtask of that one; see `Task.subtask`.

        `keep_responses` stores each paid answer until the task ends, so that resuming it does not
        pay again. Calls that a dead process left open are charged at their worst case.
        """
        budget = budget or Budget()
        task_id = task_id or new_id()
        known = self.store.task(task_id)
        record = (
            replace(known, ended_at=None, outcome=None)
            if known
            else TaskRecord(
                task_id=task_id,
                scope=scope if parent is None else parent.path,
                started_at=self.clock(),
                budget=budget.model_dump(mode="json", exclude_defaults=True),
                models=tuple(models),
                tags=dict(tags or {}),
                thread_id=thread_id,
                request_digest=request_digest,
                parent_id=None if parent is None else parent.task_id,
            )
        )
        path = f"{record.scope}/~{task_id}"
        is_subtask = record.parent_id is not None
        chain = (path,) if is_subtask else scope_chain(path)
        if known is not None:
            self._forfeit_abandoned(record)
            if on_lost_call == "fail":
                self._refuse_lost(task_id)
        purse = self._fill_purse(record, budget, path) if is_subtask else None
        record = replace(record, purses=0 if purse is None else purse.count)
        limits = extended_limits(budget, record)
        with self.together():
            self.store.ensure_scopes(chain[:-1])
            self.store.put_scope(Scope(path=path, limits=limits, thresholds=budget.thresholds))
            self.store.put_task(record)
        task = Task(
            self,
            record=record,
            budget=budget,
            path=path,
            chain=chain,
            calls=self.store.calls(task_id) if known is not None else (),
            keep_responses=keep_responses,
            responses=self.store.responses(task_id) if known is not None else (),
            purse=purse,
            parent=parent,
        )
        self.announcer.listen(path, task.hear)
        if on_event is not None:
            task.listen(on_event)
        return task

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant:
        """Hold `worst` in all of `paths`, or raise BudgetExceeded with nothing held."""
        answer = self.try_reserve(
            reservation_id,
            worst,
            paths,
            lease_seconds=lease_seconds,
            fingerprint=fingerprint,
            dispatched=dispatched,
        )
        if isinstance(answer, Grant):
            return answer
        self.announcer.breach(answer)
        raise denied(answer)

    def try_reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant | Denial:
        """Like `reserve`, but a denial is an answer: callers may ask again for less."""
        self.expire_due()
        return self.store.reserve(
            reservation_id,
            check_amount(worst),
            paths,
            lease_seconds=lease_seconds,
            fingerprint=fingerprint,
            dispatched=dispatched,
        )

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        """Extend a lease from now; False where it is no longer held."""
        return self.store.renew(reservation_id, lease_seconds=lease_seconds, dispatched=dispatched)

    def renew_all(self, reservation_ids: Sequence[str], *, lease_seconds: float) -> set[str]:
        """Mark many as sent, their leases extended from now; gives those no longer held."""
        store = self.store if self._owing is None else self._owing.behind
        if isinstance(store, RenewsMany):
            return store.renew_all(reservation_ids, lease_seconds=lease_seconds)
        return {
            each for each in reservation_ids if not self.renew(each, lease_seconds=lease_seconds)
        }

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        """Charge what the call really took. A second settle changes nothing.

        Raises InvalidLimit for a negative or absurd `actual`: then the lease ends in a forfeit.
        """
        settlement = self.store.settle(
            reservation_id, check_amount(actual), call=call, response=response
        )
        self.announcer.settlement(settlement)
        return settlement

    def forfeit(
        self, reservation_id: str, worst: Amount, *, call: CallRecord | None = None
    ) -> Settlement:
        """Charge the worst case, for the provider may have billed; a later settle corrects it."""
        settlement = self.store.settle(
            reservation_id, check_amount(worst), confirmed=False, call=call
        )
        self.announcer.settlement(settlement)
        return settlement

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        """Give all of it back: only where the request provably never left."""
        return self.store.release(reservation_id, call=call)

    def expire_due(self) -> list[Settlement]:
        """End reservations whose lease is over; at most every five seconds, from `reserve`."""
        now = self.clock()
        if now < self._next_expiry:
            return []
        with self._lock:
            if now < self._next_expiry:
                return []
            self._next_expiry = now + _EXPIRE_EVERY_SECONDS
        ended = self.store.expire(_EXPIRED_AT_ONCE)
        for settlement in ended:
            self._write_lost(settlement)
        if len(ended) == _EXPIRED_AT_ONCE:
            self._next_expiry = now
        for settlement in ended:
            self.announcer.settlement(settlement)
        return ended

    def _fill_purse(self, record: TaskRecord, budget: Budget, path: str) -> Purse:
        """Take from the parent what a subtask may still spend; what it spent before is charged."""
        purse = Purse(self, task_id=record.task_id, scope=record.scope, count=record.purses)
        limits = extended_limits(budget, record)
        if record.purses:
            spent = self.store.account(path).settled  # what is held is its landing reserve
            purse.settle(spent)
            rest = zip(limits, spent, strict=True)
            limits = Limits(*(None if limit is None else max(0, limit - n) for limit, n in rest))
        room = UNLIMITED
        for account in self.store.accounts(purse_chain(record.scope)):
            room = room.least(account.available)
        purse.take(purse_of(limits, room))
        return purse

    def _settle_lost_purse(self, subtask: TaskRecord) -> None:
        """Charge the parent of a dead subtask what that spent, instead of all that it took.

        It may not be dead after all: its scope is closed first, so that it cannot spend any more.
        """
        path = f"{subtask.scope}/~{subtask.task_id}"
        if not any(scope.path == path for scope in self.store.scopes(path)):
            return
        self.store.put_scope(Scope(path=path, limits=Limits(0, 0, 0, 0)))
        self._forfeit_abandoned(subtask)
        account = self.store.account(path)
        purse = Purse(
            self, task_id=subtask.task_id, scope=subtask.scope, count=max(1, subtask.purses)
        )
        purse.settle(account.settled.plus(account.held))

    def _refuse_lost(self, task_id: str) -> None:
        """Raise CallLost where the task's dead process left a call without a stored answer."""
        answered = {response.call_id for response in self.store.responses(task_id)}
        lost = [
            call
            for call in self.store.calls(task_id)
            if call.error == LOST_CALL and call.call_id not in answered
        ]
        if lost:
            charged = sum(call.cost_nusd for call in lost)
            raise CallLost(task_id=task_id, calls=len(lost), charged_nusd=charged)

    def _forfeit_abandoned(self, task: TaskRecord) -> None:
        """Charge what a dead process of `task` left open; its answer, if stored, corrects it."""
        for reservation_id, worst, _ in self.store.held():
            own = reservation_id.startswith(f"{task.task_id}.")
            kept = is_landing(reservation_id) or is_purse(reservation_id)
            if own and not kept and not is_waiting(reservation_id):
                call = _lost_call(reservation_id, worst, task)
                self.forfeit(reservation_id, worst, call=call)

    def _write_lost(self, settlement: Settlement) -> None:
        """A call that ran out of its lease has nobody left to write its record."""
        if settlement.after != "forfeited" or settlement.before != "held":
            return
        task = self.store.task(settlement.reservation_id.partition(".")[0])
        if task is not None and is_purse(settlement.reservation_id):
            self._settle_lost_purse(task)
        elif task is not None:
            call = _lost_call(settlement.reservation_id, settlement.charged, task)
            self.store.settle(
                settlement.reservation_id, settlement.charged, confirmed=False, call=call
            )

    def reopen(self, org: str) -> StateLoss:
        """Open an org at once that its store has lost in part: what is not back by now is given up.

        Raises StoreError where the store keeps what it is told.
        """
        store = self.store if self._owing is None else self._owing.behind
        if not isinstance(store, NoticesLoss):
            raise StoreError("this ledger's store never closes an org, so there is nothing to open")
        return store.reopen(org)

    def close_task(self, task: Task, record: TaskRecord, *, keep_scope: bool = False) -> None:
        """Write the task's end and let its scope go."""
        self.store.put_task(record)
        if not keep_scope:
            self.store.drop_scope(task.path)
        self.announcer.forget(task.path)

    def together(self) -> AbstractContextManager[None]:
        """Verbs inside are one for the store, where it can do that: all of them, or none.

        For writes alone that announce nothing.
        """
        if self._owing is None and _groups_verbs(type(self.store)):
            return cast(GroupsVerbs, self.store).together()
        return nullcontext()

    def add_event(self, event: EventRecord) -> None:
        """Append to a task's story."""
        self.store.add_event(event)

    def timed(
        self, listener: OnBudget, *, take: Callable[[Decision | None], None] | None = None
    ) -> TimedListener:
        """`listener` as it may be called: for a limited time, its answers given to `take`."""
        return TimedListener(listener, take=take, seconds=self.listener_seconds)

    def close(self) -> None:
        """Let go of the store, once the webhook has sent what it has, for five seconds at most."""
        self.heartbeat.stop()
        if self._webhook is not None:
            self._webhook.close()
        self.store.close()

    def _renew_sent(self, reservation_id: str, lease_seconds: float) -> bool:
        return self.renew(reservation_id, lease_seconds=lease_seconds)


@cache
def _groups_verbs(kind: type[Store]) -> bool:
    """Asked twice a task, and a protocol answers slowly."""
    return issubclass(kind, GroupsVerbs)


def _lost_call(reservation_id: str, worst: Amount, task: TaskRecord) -> CallRecord:
    """The record of a call whose process died before it could write one."""
    _, _, rest = reservation_id.partition(".")
    index = rest.partition(".")[0]
    return CallRecord(
        call_id=reservation_id,
        task_id=task.task_id,
        scope=task.scope,
        step=0,
        index=int(index) if index.isdigit() else 0,
        purpose="landing" if is_landing(reservation_id) else "step",
        status="cut",
        error=LOST_CALL,
        started_at=task.started_at,
        usage=Usage(input_tokens=worst.tokens),
        cost_nusd=worst.nusd,
        confirmed=False,
        tags=task.tags,
    )
