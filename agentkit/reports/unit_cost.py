"""What a task costs, and what a resolved one costs, with an interval that says how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.budgets.journal_query import EVERYTHING, JournalFilter, TaskGroup
from agentkit.budgets.store import Store
from agentkit.reports.rollup import NO_VALUE, tags_of

_Z = 1.959964
"""Two-sided 95 % of the normal distribution."""
_SUCCESS = ("resolved", "answered")


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitCost:
    """Tasks of one group. `per_resolved_nusd` is all that they cost over those resolved; None where
    none was. `resolved_range_nusd` holds its 95 % interval; its end is None where the data do not
    bound it."""

    name: str
    tasks: int
    resolved: int
    successful: int
    cost_nusd: int
    per_task_nusd: float
    per_resolved_nusd: float | None
    resolved_range_nusd: tuple[float, float | None] | None
    per_success_nusd: float | None


def unit_costs(
    store: Store, by: str = "feature", where: JournalFilter = EVERYTHING
) -> list[UnitCost]:
    """Unit costs by the tag `by`, the dearest group first. Tasks without a call are left out."""
    groups: dict[str, list[TaskGroup]] = {}
    for group in store.sum_tasks(("tags", "outcome"), where):
        name = tags_of(str(group.key[0])).get(by) or NO_VALUE
        groups.setdefault(name, []).append(group)
    found = [_unit_cost(name, each) for name, each in groups.items()]
    return sorted(found, key=lambda unit: (-unit.cost_nusd, unit.name))


def overall(store: Store, where: JournalFilter = EVERYTHING) -> UnitCost:
    """The unit costs of all tasks together."""
    return _unit_cost("all", store.sum_tasks(("tags", "outcome"), where))


def _unit_cost(name: str, groups: Sequence[TaskGroup]) -> UnitCost:
    tasks = sum(group.tasks for group in groups)
    cost = sum(group.cost_nusd for group in groups)
    resolved = [group for group in groups if group.key[1] == "resolved"]
    successful = sum(group.tasks for group in groups if group.key[1] in _SUCCESS)
    count = sum(group.tasks for group in resolved)
    return UnitCost(
        name=name,
        tasks=tasks,
        resolved=count,
        successful=successful,
        cost_nusd=cost,
        per_task_nusd=cost / tasks if tasks else 0.0,
        per_resolved_nusd=cost / count if count else None,
        resolved_range_nusd=fieller_range(
            tasks=tasks,
            cost=cost,
            cost_squares=sum(group.cost_squares for group in groups),
            resolved=count,
            cost_of_resolved=sum(group.cost_nusd for group in resolved),
        ),
        per_success_nusd=cost / successful if successful else None,
    )


def fieller_range(
    *, tasks: int, cost: float, cost_squares: float, resolved: int, cost_of_resolved: float
) -> tuple[float, float | None] | None:
    """The 95 % interval of cost over resolved, by Fieller's theorem; None where it says nothing.

    Both are means over the same tasks, so their ratio is skewed and may be unbounded above; Fieller
    (1954, "Some problems in interval estimation") takes the tasks' spread and its correlation with
    success into account, which a delta interval around few successes does not.
    """
    if tasks < 2 or resolved == 0:
        return None
    mean_cost, share = cost / tasks, resolved / tasks
    degrees = tasks * (tasks - 1)
    cost_variance = max(0.0, cost_squares - cost * mean_cost) / degrees
    share_variance = max(0.0, resolved - resolved * share) / degrees
    covariance = (cost_of_resolved - cost * share) / degrees
    a = share**2 - _Z**2 * share_variance
    b = mean_cost * share - _Z**2 * covariance
    c = mean_cost**2 - _Z**2 * cost_variance
    root = b**2 - a * c
    if root < 0:
        return None
    low = c / (b + math.sqrt(root)) if b + math.sqrt(root) > 0 else 0.0
    if a <= 0:
        return max(0.0, low), None
    return max(0.0, (b - math.sqrt(root)) / a), (b + math.sqrt(root)) / a
