"""The series that alert rules are written over: counters of the journal, and gauges of budgets.

Locally a counter's increase is a sum over a window of the journal; Prometheus keeps the same
counters, as `exposition` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agentkit.budgets.journal_query import CallSums, JournalFilter, TaskGroup
from agentkit.budgets.money import NUSD_PER_USD
from agentkit.budgets.store import Account, Store
from agentkit.reports.rollup import NO_VALUE, tags_of

Label = Literal["feature", "model", "user", "scope", "per"]
Labels = tuple[str, ...]
Vector = Mapping[Labels, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter:
    """A sum over calls (`of_calls`), or over tasks with an outcome (`of_tasks`)."""

    name: str
    help: str
    labels: tuple[Label, ...]
    of_calls: Callable[[CallSums], float] | None = None
    of_tasks: Callable[[TaskGroup], float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauge:
    """What stands now."""

    name: str
    help: str
    labels: tuple[Label, ...]


COST = Counter(
    name="agentkit_cost_usd_total", help="What calls cost.", labels=("feature", "model"),
    of_calls=lambda sums: sums.cost_nusd / NUSD_PER_USD,
)  # fmt: skip
USER_COST = Counter(
    name="agentkit_user_cost_usd_total", help="What the calls of a user cost.", labels=("user",),
    of_calls=lambda sums: sums.cost_nusd / NUSD_PER_USD,
)  # fmt: skip
CALLS = Counter(
    name="agentkit_calls_total", help="Model calls.", labels=("feature", "model"),
    of_calls=lambda sums: sums.calls,
)  # fmt: skip
ESCALATIONS = Counter(
    name="agentkit_escalations_total", help="Calls made because a cheaper tier gave way.",
    labels=("feature", "model"), of_calls=lambda sums: sums.escalations,
)  # fmt: skip
UNKNOWN = Counter(
    name="agentkit_unknown_price_calls_total", help="Calls whose price nobody knows.",
    labels=("feature", "model"), of_calls=lambda sums: sums.unknown_calls,
)  # fmt: skip
INPUT = Counter(
    name="agentkit_input_tokens_total", help="Input tokens, cached ones included.",
    labels=("feature", "model"), of_calls=lambda sums: sums.input_tokens,
)  # fmt: skip
CACHED = Counter(
    name="agentkit_cache_read_tokens_total", help="Input tokens read from a prompt cache.",
    labels=("feature", "model"), of_calls=lambda sums: sums.cache_read_tokens,
)  # fmt: skip
ESTIMATED = Counter(
    name="agentkit_estimated_tokens_total", help="Our own count of input that was reported too.",
    labels=("feature", "model"), of_calls=lambda sums: sums.estimated_tokens,
)  # fmt: skip
REPORTED = Counter(
    name="agentkit_reported_tokens_total", help="Reported input that we had counted too.",
    labels=("feature", "model"), of_calls=lambda sums: sums.reported_tokens,
)  # fmt: skip
TASKS = Counter(
    name="agentkit_tasks_total", help="Tasks with at least one call.", labels=("feature",),
    of_tasks=lambda group: group.tasks,
)  # fmt: skip
RESOLVED = Counter(
    name="agentkit_resolved_tasks_total", help="Tasks whose check passed.", labels=("feature",),
    of_tasks=lambda group: group.tasks if group.key[1] == "resolved" else 0,
)  # fmt: skip
COUNTERS = (
    COST, USER_COST, CALLS, ESCALATIONS, UNKNOWN, INPUT, CACHED, ESTIMATED, REPORTED, TASKS,
    RESOLVED,
)  # fmt: skip

BUDGET_USED = Gauge(
    name="agentkit_budget_used_ratio",
    help="Settled money over the limit, of a scope in its window.",
    labels=("scope", "per"),
)
DAY_BUDGET = Gauge(name="agentkit_day_budget_usd", help="What a day may cost.", labels=())
GAUGES = (BUDGET_USED, DAY_BUDGET)


class Window:
    """Sums of the journal between two times, read once for all counters."""

    def __init__(self, store: Store, where: JournalFilter) -> None:
        self._store = store
        self._where = where
        self._calls: list[tuple[dict[str, str], CallSums]] | None = None
        self._tasks: list[tuple[dict[str, str], TaskGroup]] | None = None

    def sums(self, counter: Counter, by: Sequence[Label]) -> Vector:
        """The counter's increase by the values of the labels `by`."""
        found: dict[Labels, float] = {}
        if counter.of_calls is not None:
            for labels, sums in self._read_calls():
                key = tuple(labels.get(name) or NO_VALUE for name in by)
                found[key] = found.get(key, 0.0) + counter.of_calls(sums)
        if counter.of_tasks is not None:
            for labels, group in self._read_tasks():
                key = tuple(labels.get(name) or NO_VALUE for name in by)
                found[key] = found.get(key, 0.0) + counter.of_tasks(group)
        return found

    def _read_calls(self) -> list[tuple[dict[str, str], CallSums]]:
        if self._calls is None:
            groups = self._store.sum_calls(("tags", "model"), self._where, measures="basic")
            self._calls = [
                ({**tags_of(str(group.key[0])), "model": str(group.key[1])}, group.sums)
                for group in groups
            ]
        return self._calls

    def _read_tasks(self) -> list[tuple[dict[str, str], TaskGroup]]:
        if self._tasks is None:
            groups = self._store.sum_tasks(("tags", "outcome"), self._where)
            self._tasks = [(tags_of(str(group.key[0])), group) for group in groups]
        return self._tasks


def budgets_used(store: Store) -> dict[Labels, float]:
    """How much of its money each scope with a limit has settled, but for those of single tasks."""
    found: dict[Labels, float] = {}
    for account, window in _limited(store):
        limit = account.limits.nusd or 0
        if limit > 0:
            found[account.path, window] = account.settled.nusd / limit
    return found


def day_budget_usd(store: Store) -> float | None:
    """The largest limit that any scope has for a day."""
    limits = [account.limits.nusd for account, window in _limited(store) if window == "day"]
    known = [limit for limit in limits if limit is not None]
    return max(known) / NUSD_PER_USD if known else None


def _limited(store: Store) -> list[tuple[Account, str]]:
    scopes = [scope for scope in store.scopes() if scope.limits.nusd and "/~" not in scope.path]
    if not scopes:
        return []
    accounts = store.accounts([scope.path for scope in scopes])
    return [(account, scope.window) for account, scope in zip(accounts, scopes, strict=True)]
