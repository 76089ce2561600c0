"""The tasks that an agent has open in this process: opened, found by id, closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, TypeVarTuple, cast

from agentkit.budgets.budget import Budget
from agentkit.budgets.errors import PriceUnknown
from agentkit.budgets.event import BudgetEvent, Decision
from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.ledger import Ledger, OnLostCall
from agentkit.budgets.task import Task
from agentkit.consent import waiting_for
from agentkit.effects import off_loop, on_event_loop
from agentkit.landing import LandingPlan, landing_tier, plan_landing
from agentkit.memory.context import Context
from agentkit.models.tier import Tier
from agentkit.progress import ProgressWatch
from agentkit.result import TaskResult, result_of
from agentkit.run import OnProgress, Run
from agentkit.state import AgentState
from agentkit.telemetry.trace import TaskTrace

Rest = TypeVarTuple("Rest")


class OpenTasks:
    """Opens a task with its landing reserve and its trace, and closes it once."""

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        budget: Budget,
        tiers: Sequence[Tier],
        system: str,
        context: Context,
        on_budget: Callable[[BudgetEvent], Decision | None] | None,
        on_lost_call: OnLostCall,
        rounds: int | None,
        saves: bool,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._budget = budget
        self._tiers = tiers
        self._system = system
        self._context = context
        self._on_budget = on_budget
        self._on_lost_call: OnLostCall = on_lost_call
        self._rounds = rounds
        self._saves = saves
        self._open: dict[str, tuple[Run, LandingPlan | None]] = {}
        self._lock = threading.Lock()

    def open(
        self,
        request: str,
        *,
        scope: str,
        tags: Mapping[str, str] | None,
        task_id: str,
        thread_id: str | None,
        on_progress: OnProgress | None,
        digest: str = "",
        parent: Task | None = None,
        streams: bool = False,
    ) -> Run:
        """Raises BudgetTooSmall and PriceUnknown before anything is sent."""
        self._require_prices()
        task = (self._ledger if parent is None else parent.ledger).open_task(
            scope=scope,
            budget=self._budget,
            task_id=task_id,
            tags=tags,
            models=[tier.label for tier in self._tiers],
            thread_id=thread_id,
            keep_responses=self._saves,
            request_digest=digest,
            parent=parent,
            on_lost_call=self._on_lost_call,
        )
        trace = TaskTrace(task.record, agent_name=self._name)
        run = Run(
            task,
            trace,
            on_budget=self._on_budget,
            on_progress=on_progress,
            watch=None if self._rounds is None else ProgressWatch(self._rounds),
            can_ask=self._saves,
            streams=streams,
            context=self._context,
        )
        try:
            plan = self._hold_landing(task, request)
        except Exception as error:
            trace.end(task.close("failed", reason=str(error), trace_id=trace.trace_id))
            raise
        with self._lock:
            self._open[task_id] = (run, plan)
        return run

    def __len__(self) -> int:
        return len(self._open)

    def run(self, task_id: str) -> Run | None:
        """The run of a task that is open here."""
        known = self._open.get(task_id)
        return None if known is None else known[0]

    def landing(self, task_id: str) -> LandingPlan | None:
        """How an open task is to land."""
        return self._open[task_id][1]

    def forget(self, run: Run) -> None:
        """A task that has been closed is no longer open here."""
        with self._lock:
            self._open.pop(run.task_id, None)

    def finish(self, run: Run, state: AgentState) -> TaskResult:
        """What became of a task whose graph was left; one that waits is closed as resumable."""
        record = run.task.record
        if record.outcome is None:
            record = self.abandon(run, waiting_for(state))
        self.forget(run)
        return result_of(record, answer=state.get("answer", ""), calls=run.task.calls)

    def abandon(self, run: Run, reason: str, *, failed: bool = False) -> TaskRecord:
        """Close a task that did not come to its end; what it spent stays, and it can be resumed."""
        self.forget(run)
        record = run.task.close(
            "failed" if failed else "cancelled",
            reason=reason,
            trace_id=run.trace.trace_id,
            resumable=self._saves,
        )
        run.trace.end(record)
        return record

    def guard(self, run: Run) -> AbstractContextManager[None]:
        """Closes the task when its graph is left by an exception."""
        return _Guard(self, run)

    def aguard(self, run: Run) -> AbstractAsyncContextManager[None]:
        """As `guard`, without waiting on the event loop for the ledger."""
        return _AsyncGuard(self, run)

    async def abegin(self, begin: Callable[[], tuple[Run, *Rest]]) -> tuple[Run, *Rest]:
        """What `begin` returns, which opens a task; cancelled meanwhile, it is closed again."""
        if not self.waits:
            return begin()
        begun, cancelled = await off_loop(begin)
        if cancelled is not None:
            await off_loop(partial(self.abandon, begun[0], type(cancelled).__name__))
            raise cancelled
        return cast("tuple[Run, *Rest]", begun)

    async def afinish(self, run: Run, state: AgentState) -> TaskResult:
        """As `finish`, on the event loop."""
        if run.task.record.outcome is not None or not self.waits:
            return self.finish(run, state)
        result, cancelled = await off_loop(partial(self.finish, run, state))
        if cancelled is not None:
            raise cancelled
        return cast(TaskResult, result)

    @property
    def waits(self) -> bool:
        """True where opening and closing a task waits for a disk or a network."""
        return self._ledger.store.blocking or self._saves

    def _hold_landing(self, task: Task, request: str) -> LandingPlan | None:
        tier = landing_tier(self._tiers)
        if tier is None:
            return None
        plan = plan_landing(task, tier, self._system, request)
        task.hold_landing(plan.worst)
        return plan

    def _require_prices(self) -> None:
        """A USD budget refuses an unpriced tier before anything is sent."""
        if not self._budget.limits_money:
            return
        for tier in self._tiers:
            if self._ledger.prices.price(tier.name, tier.provider).state == "unknown":
                raise PriceUnknown(model=tier.name, provider=tier.provider)


class _Guard:
    def __init__(self, tasks: OpenTasks, run: Run) -> None:
        self._tasks = tasks
        self._run = run
        self._pid = os.getpid()

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if error is not None and self._run.task.record.outcome is None:
            self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        if self._pid != os.getpid():  # a fork of the process that goes on with it
            return
        failed = isinstance(error, Exception)
        reason = f"{type(error).__name__}: {error}" if failed else type(error).__name__
        self._tasks.abandon(self._run, reason, failed=failed)


class _AsyncGuard(_Guard):
    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if error is None or self._run.task.record.outcome is not None:
            return
        if self._tasks.waits and on_event_loop():  # else its loop has ended before it
            await off_loop(partial(self._abandon, error))  # a second cancellation adds nothing
        else:
            self._abandon(error)
