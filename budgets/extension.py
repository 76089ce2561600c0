"""A task's limits with what it was given since."""

from __future__ import annotations

from agentkit.budgets.amount import DIMENSIONS, Limits
from agentkit.budgets.budget import Budget
from agentkit.budgets.journal import TaskRecord


def extended_limits(budget: Budget, record: TaskRecord) -> Limits:
    """The limits of `budget` with all extensions that the task was given."""
    given = record.extensions.values()
    more = [sum(each.get(dimension, 0) for each in given) for dimension in DIMENSIONS]
    raised = zip(budget.limits, more, strict=True)
    return Limits(*(None if limit is None else limit + extra for limit, extra in raised))


def extended_seconds(budget: Budget, record: TaskRecord) -> float | None:
    """The seconds of `budget` with all extensions that the task was given."""
    if budget.seconds is None:
        return None
    more: float = sum(given.get("seconds", 0.0) for given in record.extensions.values())
    return budget.seconds + more
