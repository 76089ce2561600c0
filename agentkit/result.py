"""What a task gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from agentkit.budgets.journal import CallRecord, Outcome, TaskRecord
from agentkit.budgets.money import plain_usd, usd_from_nusd
from agentkit.budgets.usage import Usage

if TYPE_CHECKING:
    from agentkit.memory.cache import CacheHit


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """The end of one task.

    `outcome`: `resolved` (your check passed), `answered` (no check, or it did not pass), `landed`
    (answered from the landing reserve: the budget was used up), `exhausted` (the budget was used up
    and there is no answer), `failed`, `cancelled`. `reason` says why it was not simply answered.
    `cost_usd` includes what subtasks cost; `calls`, `usage` and `records` are the task's own.
    `unconfirmed_usd` is the part charged at its worst case, for no usage arrived. `cache_hit` tells
    where the answer came from a cache, and what that saved.
    """

    outcome: Outcome
    answer: str
    reason: str | None
    cost_usd: Decimal
    unconfirmed_usd: Decimal
    usage: Usage
    calls: int
    steps: int
    escalations: int
    task_id: str
    thread_id: str
    trace_id: str
    records: tuple[CallRecord, ...] = field(default=(), repr=False)
    cache_hit: CacheHit | None = None

    @property
    def ok(self) -> bool:
        """True where the task was answered within its budget."""
        return self.outcome in ("resolved", "answered")

    def to_dict(self) -> dict[str, object]:
        """The result as JSON types, without the single calls."""
        return {
            "task_id": self.task_id,
            "thread_id": self.thread_id,
            "trace_id": self.trace_id,
            "outcome": self.outcome,
            "answer": self.answer,
            "reason": self.reason,
            "cost_usd": plain_usd(self.cost_usd),
            "unconfirmed_usd": plain_usd(self.unconfirmed_usd),
            "usage": self.usage.to_dict(),
            "calls": self.calls,
            "steps": self.steps,
            "escalations": self.escalations,
            "cache_hit": None if self.cache_hit is None else self.cache_hit.hit_id,
        }


CHECK_FAILED = "check did not pass"
"""The reason of a task that was answered and not resolved."""

Check = Callable[[TaskResult], bool]


def checked(check: Check, result: TaskResult) -> tuple[Outcome, str | None]:
    """What the user's check makes of an answer, and why it is not resolved."""
    try:
        passed = check(result)
    except Exception as error:  # noqa: BLE001  the user's own code: it must not lose the answer
        return "answered", f"check raised {type(error).__name__}: {error}"
    return ("resolved", None) if passed else ("answered", CHECK_FAILED)


def result_of(record: TaskRecord, *, answer: str, calls: list[CallRecord]) -> TaskResult:
    """The result of a task that has been closed."""
    return TaskResult(
        outcome=record.outcome or "failed",
        answer=answer,
        reason=record.reason,
        cost_usd=usd_from_nusd(record.cost_nusd + record.subtasks_nusd),
        unconfirmed_usd=usd_from_nusd(record.unconfirmed_nusd),
        usage=record.usage,
        calls=record.calls,
        steps=record.steps,
        escalations=record.escalations,
        task_id=record.task_id,
        thread_id=record.thread_id or record.task_id,
        trace_id=record.trace_id,
        records=tuple(calls),
    )
