"""One task's hold on the ledger: what its calls may cost, its deadline, its landing reserve."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from agentkit.budgets.amount import NOTHING, UNLIMITED, Amount, Limits, amount_of
from agentkit.budgets.budget import Budget
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.counterfactual import Savings
from agentkit.budgets.errors import DeadlineExceeded
from agentkit.budgets.event import (
    Ask,
    BudgetEvent,
    Decision,
    Extend,
    Land,
    OnBudget,
    Stop,
    facts,
    told,
)
from agentkit.budgets.extension import extended_limits, extended_seconds
from agentkit.budgets.holding import hold_clamped, waiting_id
from agentkit.budgets.journal import (
    CallRecord,
    CallStatus,
    EventRecord,
    Outcome,
    PaidResponse,
    TaskRecord,
)
from agentkit.budgets.landing_reserve import LandingReserve
from agentkit.budgets.listener import TimedListener
from agentkit.budgets.paid_responses import PaidResponses
from agentkit.budgets.purse import Purse
from agentkit.budgets.scope import Scope
from agentkit.budgets.usage import Usage

if TYPE_CHECKING:
    from agentkit.budgets.ledger import Ledger

_LANDING_LEASE_SECONDS = 3600.0
_LANDING_SHARE_OF_SECONDS = 0.1
_LONGEST_LANDING_SECONDS = 15.0
_CACHE_LEASE_SECONDS = 60.0


class Task:
    """Spends from its own scope and all scopes above it. Safe from many threads."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        record: TaskRecord,
        budget: Budget,
        path: str,
        chain: Sequence[str],
        calls: Iterable[CallRecord] = (),
        keep_responses: bool = False,
        responses: Iterable[PaidResponse] = (),
        purse: Purse | None = None,
        parent: Task | None = None,
    ) -> None:
        self.ledger = ledger
        self.budget = budget
        self.path = path
        self._record = record
        self._summed: tuple[TaskRecord | None, TaskRecord] = (None, record)
        """The record with its sums, and what it was made of; None where a call has ended since."""
        self._chain = tuple(chain)
        self._limits = extended_limits(budget, record)
        self._seconds = extended_seconds(budget, record)
        self._calls = {call.call_id: call for call in calls}
        self._index = max((call.index for call in self._calls.values()), default=0)
        self._savings = Savings()
        self._started = time.monotonic()
        self._observer: Callable[[BudgetEvent], None] | None = None
        self._listener: TimedListener | None = None
        self._landing: LandingReserve | None = None
        self._pending: Literal["land", "stop", "ask"] | None = None
        self.responses = PaidResponses(responses, are_kept=keep_responses)
        self._purse = purse
        self._parent = parent
        self._subtasks: WeakSet[Task] = WeakSet()
        self._lock = threading.RLock()
        if parent is not None:
            parent.adopt(self)

    @property
    def task_id(self) -> str:
        """Unique, sortable by the time the task began."""
        return self._record.task_id

    @property
    def scope(self) -> str:
        """The scope that the task spends under."""
        return self._record.scope

    @property
    def tags(self) -> Mapping[str, str]:
        """What the task was opened with, as reports group by it."""
        return self._record.tags

    @property
    def record(self) -> TaskRecord:
        """The task with its sums so far."""
        with self._lock:
            made_of, summed = self._summed
            if made_of is self._record:
                return summed
            calls = self._calls.values()
            usage = Usage()
            for call in calls:
                usage = usage + call.usage
            summed = replace(
                self._record,
                calls=sum(call.is_billed for call in calls),
                usage=usage,
                cost_nusd=sum(call.cost_nusd for call in calls),
                unconfirmed_nusd=sum(call.cost_nusd for call in calls if not call.confirmed),
            )
            self._summed = (self._record, summed)
            return summed

    @property
    def calls(self) -> list[CallRecord]:
        """The calls that have ended, in the order they were begun."""
        with self._lock:
            return sorted(self._calls.values(), key=lambda call: call.index)

    def recover_call(
        self, call_id: str, usage: Usage | None, model: str, provider: str
    ) -> CallRecord | None:
        """The record of a stored answer; where its charge was lost, it is settled from `usage`."""
        record = self._calls.get(call_id)
        if record is None or (not record.confirmed and usage is not None):
            price = self.ledger.prices.price(model, provider)
            if record is None or usage is None:
                return None
            record = replace(
                record,
                model=model,
                provider=provider,
                status="ok",
                error=None,
                usage=usage,
                cost_nusd=price.cost_nusd(usage),
                cost_source=price.source,
                confirmed=True,
            )
            self._keep(record)
            charged = amount_of(usage, cost_nusd=record.cost_nusd)
            self.ledger.settle(call_id, charged, call=record)
        return record

    @property
    def wish(self) -> Literal["land", "stop", "ask"] | None:
        """What a callback asked for: the answer now, no answer, or to wait for a person."""
        return self._pending

    def listen(self, listener: OnBudget) -> None:
        """Hear this task's events; what `listener` returns is carried out, also where it is late.

        It is called in a thread of its own, and left behind after the ledger's `listener_seconds`.
        """
        self._listener = self.ledger.timed(listener, take=self.decide)

    def observe(self, observer: Callable[[BudgetEvent], None]) -> None:
        """Tell this task's events to what returns at once, before any listener."""
        self._observer = observer

    @property
    def is_observed(self) -> bool:
        """True once `observe` was called."""
        return self._observer is not None

    def hear(self, event: BudgetEvent) -> None:
        """Take an event of this task, or of a scope above it, from the ledger."""
        self.note(f"budget_{event.kind}", told(event), data=facts(event))
        if self._observer is not None:
            self._observer(event)
        if self._listener is not None and not self._listener(event):
            self.note("budget_listener", f"the callback failed, or hangs, on {told(event)}")

    def decide(self, decision: Decision | None, *, once: str | None = None) -> None:
        """Carry out what a callback or a person answered; see `extend` for `once`."""
        match decision:
            case Extend():
                self._pending = None if self._pending == "ask" else self._pending
                self.extend(decision, once=once)
            case Land():
                self._pending = "stop" if self._pending == "stop" else "land"
            case Ask():
                self._pending = self._pending or "ask"
            case Stop():
                self._pending = "stop"
            case None:
                pass

    def extend(self, extension: Extend, *, once: str | None = None) -> None:
        """Raise the limits that the task has, for good; raises InvalidLimit for negative values.

        An extension that is named by `once` counts once, however often it comes.
        """
        more = extension.amount()
        with self._lock:
            given = self._record.extensions
            name = once or f"{len(given) + 1}"
            if self._record.outcome is not None or name in given:
                return  # a late answer, with nothing left to extend; or one that came before
            if self._purse is not None:
                self._purse.take(more)
            facts = {**more._asdict(), "seconds": extension.seconds}
            self._record = replace(
                self._record,
                extensions={**given, name: facts},
                purses=0 if self._purse is None else self._purse.count,
            )
            self._limits = extended_limits(self.budget, self._record)
            self._seconds = extended_seconds(self.budget, self._record)
            scope = Scope(path=self.path, limits=self._limits, thresholds=self.budget.thresholds)
            self.ledger.store.put_scope(scope)
            self.ledger.store.put_task(self.record)
        self.note("budget_extended", "the budget was extended", data=more._asdict())

    def subtask(
        self,
        *,
        budget: Budget,
        task_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        on_event: OnBudget | None = None,
    ) -> Task:
        """A task for a part of the work: it takes `budget` from this one, and gives back the rest.

        What it takes is held here and in all scopes above until `close`, so no sibling can spend
        it; then they are charged what it spent. The same `task_id` again takes up where it was.
        Raises BudgetExceeded where too little is left, InvalidLimit where `budget` leaves out what
        is limited above.

        >>> from agentkit.budgets import Budget, Ledger
        >>> task = Ledger().open_task(budget=Budget(usd="1"))
        >>> part = task.subtask(budget=Budget(usd="0.20"))
        >>> task.room().nusd, part.room().nusd
        (800000000, 200000000)
        >>> _ = part.close("answered")
        >>> task.room().nusd
        1000000000
        """
        return self.ledger.open_task(
            parent=self, budget=budget, task_id=task_id, tags=tags, on_event=on_event
        )

    def adopt(self, subtask: Task) -> None:
        """Close `subtask` with this task, if it is still open then."""
        self._subtasks.add(subtask)

    def charge_subtask(self, spent: Amount) -> None:
        """A subtask has ended, and `spent` is what it took since it was opened."""
        with self._lock:
            total = self._record.subtasks_nusd + spent.nusd
            self._record = replace(self._record, subtasks_nusd=total)
            if self._record.outcome is None:
                self.ledger.store.put_task(self.record)

    def room(self) -> Limits:
        """What is left for this task, under its own limits and those of all scopes above."""
        least = UNLIMITED
        for account in self.ledger.store.accounts(self._chain):
            least = least.least(account.available)
        return least

    def seconds_left(self, *, landing: bool = False) -> float | None:
        """Seconds until steps must stop, or until the landing answer must; None without a limit.

        A subtask has none beyond its parent's.
        """
        above = None if self._parent is None else self._parent.seconds_left()
        if self._seconds is None:
            return above
        kept = min(self._seconds * _LANDING_SHARE_OF_SECONDS, _LONGEST_LANDING_SECONDS)
        left = self._seconds - (time.monotonic() - self._started)
        left = left if landing else left - kept
        return left if above is None else min(left, above)

    def check_deadline(self, *, landing: bool = False) -> None:
        """Raise DeadlineExceeded once the seconds are used up."""
        left = self.seconds_left(landing=landing)
        if left is not None and left <= 0:
            elapsed = time.monotonic() - self._started
            limit = elapsed + left if self._seconds is None else self._seconds
            raise DeadlineExceeded(limit_seconds=limit, elapsed_seconds=elapsed)

    def hold_landing(self, worst: Amount) -> None:
        """Keep `worst` aside for the final answer, in every scope, from now on.

        Raises BudgetTooSmall where a limit is below it, BudgetExceeded where a shared scope has
        too little left.
        """
        seconds = max(_LANDING_LEASE_SECONDS, self._seconds or 0.0)
        self._landing = LandingReserve(
            self.ledger, self.task_id, self._chain, worst, seconds=seconds
        )
        self._record = replace(self._record, landing=self._landing.worst._asdict())

    def keep_landing(self) -> None:
        """Renew the lease of the landing reserve once half of it is over."""
        if (reserve := self._landing) is not None:
            reserve.keep()

    def hold_call(self, plan: CallPlan) -> HeldCall:
        """Hold the worst case of a call, its output clamped to what every limit allows.

        Raises BudgetExceeded or DeadlineExceeded, with nothing held and nothing to be sent.
        """
        self.check_deadline(landing=plan.purpose == "landing")
        index, call_id = self._next_call()
        held, output = hold_clamped(self.ledger, call_id, plan, self._chain, self.room)
        return self._held(call_id, index, plan, held.worst, output)

    def hold_waiting(self, plan: CallPlan, name: str) -> HeldCall:
        """Hold a call that waits for a batch, as money kept for later until it is sent.

        The same `name` again takes up what is held, in another process too; where that covers less
        output than is wanted now, and was not sent, it is given back and held anew. Raises as
        `hold_call`.
        """
        self.check_deadline()
        index, _ = self._next_call()
        for run in itertools.count(1):
            call_id = waiting_id(self.task_id, name if run == 1 else f"{name}.{run}")
            held, output = hold_clamped(
                self.ledger, call_id, plan, self._chain, self.room, dispatched=False
            )
            if held.state != "held":
                continue
            if held.repeated and not held.dispatched and output < plan.wanted_output_tokens:
                self.ledger.release(call_id)  # held by what a dead process knew of the counting
                continue
            return self.waiting_call(call_id, index, plan, held.worst, output)
        raise AssertionError("unreachable: the count of runs has no end")

    def waiting_call(
        self, call_id: str, index: int, plan: CallPlan, worst: Amount, output: int
    ) -> HeldCall:
        """A call that is held already; its lease is the batch's, and no process renews it."""
        return HeldCall(
            call_id=call_id,
            index=index,
            plan=plan,
            worst=worst,
            max_output_tokens=output,
            started_at=self.ledger.clock(),
            started_clock=time.perf_counter(),
        )

    def hold_landing_call(self, plan: CallPlan) -> HeldCall:
        """Turn the landing reserve into the call for the final answer; it can be used once."""
        with self._lock:
            reserve, self._landing = self._landing, None
        output = None if reserve is None else reserve.output_for(plan)
        if reserve is None or output is None:
            return self.hold_call(plan)
        index, _ = self._next_call()
        self.ledger.announcer.landing(self.path, reserve.worst)
        return self._held(reserve.reservation_id, index, plan, reserve.worst, output)

    def settle_call(
        self,
        held: HeldCall,
        usage: Usage,
        *,
        status: CallStatus = "ok",
        cost_nusd: int | None = None,
        error: str | None = None,
        tools_called: tuple[str, ...] = (),
        confidence: float | None = None,
        accepted: bool | None = None,
        reason: str | None = None,
        response: PaidResponse | None = None,
    ) -> CallRecord:
        """Charge reported usage, learn from it, and write the call's record with it.

        `cost_nusd` overrides the price book where the provider reports what it billed.
        """
        price = held.plan.price
        cost = price.cost_nusd(usage) if cost_nusd is None else cost_nusd
        record = replace(
            self._call_record(held, status, error),
            usage=usage,
            cost_nusd=cost,
            cost_source=price.source if cost_nusd is None else "provider",
            tools_called=tools_called,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            components={**held.plan.components, "output": usage.output_tokens},
            saved_nusd=self._savings.of(held.plan, usage, cost, turned_down=accepted is False),
        )
        self._keep(record)
        charged = amount_of(usage, cost_nusd=cost)
        self.ledger.settle(held.call_id, charged, call=record, response=response)
        self.ledger.margins.learn(
            counted_tokens=held.plan.counted_input_tokens,
            reported_tokens=usage.input_tokens,
            model=price.model,
            provider=price.provider,
            narrows=not held.plan.holds_media,
        )
        return record

    def forfeit_call(self, held: HeldCall, *, status: CallStatus, error: str) -> CallRecord:
        """Charge the worst case: the request left, and no usage came back."""
        record = replace(
            self._call_record(held, status, error),
            usage=Usage(input_tokens=held.plan.input_tokens, output_tokens=held.max_output_tokens),
            cost_nusd=held.worst.nusd,
            confirmed=False,
        )
        self._keep(record)
        self.ledger.forfeit(held.call_id, held.worst, call=record)
        return record

    def reject_call(self, held: HeldCall, *, error: str) -> CallRecord:
        """Charge nothing: the provider answered with an error that it does not bill."""
        record = self._call_record(held, "rejected", error)
        self._keep(record)
        self.ledger.settle(held.call_id, NOTHING, call=record)
        return record

    def release_call(self, held: HeldCall, *, error: str) -> CallRecord:
        """Give everything back: the request provably never left."""
        record = self._call_record(held, "rejected", error)
        self._keep(record)
        self.ledger.release(held.call_id, call=record)
        return record

    def answered_from_cache(self, kind: str, *, saved_nusd: int) -> CallRecord:
        """Write that a cache of answers replied in a model's place: a call that cost nothing."""
        index, call_id = self._next_call()
        record = CallRecord(
            call_id=call_id,
            task_id=self.task_id,
            scope=self.scope,
            step=0,
            index=index,
            model=kind,
            provider="cache",
            started_at=self.ledger.clock(),
            cost_source="free",
            cached_by=kind,
            saved_nusd={"semantic_cache": saved_nusd},
            tags=self._record.tags,
        )
        self.ledger.reserve(call_id, NOTHING, self._chain, lease_seconds=_CACHE_LEASE_SECONDS)
        self._keep(record)
        self.ledger.settle(call_id, NOTHING, call=record)
        return record

    def note(
        self, kind: str, text: str, *, step: int = 0, data: Mapping[str, object] | None = None
    ) -> None:
        """Add a line to the task's story; `text` holds no message contents."""
        self.ledger.add_event(
            EventRecord(
                task_id=self.task_id,
                at=self.ledger.clock(),
                kind=kind,
                step=step,
                text=text,
                data=data or {},
            )
        )

    def close(
        self,
        outcome: Outcome,
        *,
        reason: str | None = None,
        steps: int = 0,
        escalations: int = 0,
        trace_id: str = "",
        resumable: bool = False,
    ) -> TaskRecord:
        """End the task: give back the landing reserve and write its record.

        A `resumable` task keeps its scope, so that what it spent still counts when it goes on.
        """
        for subtask in list(self._subtasks):
            if subtask.record.outcome is None:
                subtask.close("cancelled", reason="its parent ended", resumable=resumable)
        if self._purse is not None:
            self._release_landing()
            self._landing = None
            account = self.ledger.account(self.path)  # what is still under way, at its worst case
            spent = self._purse.settle(account.settled.plus(account.held))
            if self._parent is not None:
                self._parent.charge_subtask(spent)
        record = replace(
            self.record,
            ended_at=self.ledger.clock(),
            outcome=outcome,
            reason=reason,
            steps=steps,
            escalations=escalations,
            trace_id=trace_id,
        )
        self._record = record
        with self.ledger.together():
            self._release_landing()
            self.ledger.close_task(self, record, keep_scope=resumable)
            if not resumable and not self.responses.outlast:
                self.forget_responses()
        self._landing = None
        return record

    def forget_responses(self) -> None:
        """Let paid answers go once the task has ended: what rests on them is stored."""
        if self.responses.are_kept and self._record.outcome is not None:
            self.ledger.store.forget_responses(self.task_id)

    def _release_landing(self) -> None:
        if self._landing is not None:
            self._landing.release()

    def _next_call(self) -> tuple[int, str]:
        with self._lock:
            self._index += 1
            return self._index, f"{self.task_id}.{self._index}.{secrets.token_hex(3)}"

    def _held(
        self, call_id: str, index: int, plan: CallPlan, worst: Amount, output: int
    ) -> HeldCall:
        held = self.waiting_call(call_id, index, plan, worst, output)
        self.ledger.heartbeat.begin(call_id, held, lease_seconds=plan.lease_seconds)
        return held

    def _keep(self, record: CallRecord) -> None:
        self.ledger.heartbeat.end(record.call_id)
        with self._lock:
            self._calls[record.call_id] = record
            self._summed = (None, self._record)

    def _call_record(self, held: HeldCall, status: CallStatus, error: str | None) -> CallRecord:
        return held.record(
            task_id=self.task_id,
            scope=self.scope,
            tags=self._record.tags,
            status=status,
            error=error,
        )


def new_id() -> str:
    """A task id that sorts by time: milliseconds and 40 random bits, in hexadecimal."""
    return f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(5)}"
