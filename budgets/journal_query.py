"""Questions to the journal: which calls, grouped how, and their sums.

Every store answers them alike; `sum_records` is the meaning, and a store may be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentkit.budgets.journal import CallRecord, Component, Lever, Outcome, TaskRecord

Key = Literal[
    "at",
    "hour",
    "day",
    "task",
    "scope",
    "model",
    "tags",
    "outcome",
    "prefix",
    "tier",
    "step",
    "purpose",
    "status",
    "source",
    "confirmed",
    "escalated",
]
"""What calls are grouped by. `at` is a time in milliseconds, `hour` and `day` are numbers, since
1970 in UTC; `model` is `provider:model`, `outcome` "" while a task runs, `tags` a JSON object with
sorted names."""

COMPONENTS: tuple[Component, ...] = (
    "system", "tools", "summary", "history", "observations", "user",
)  # fmt: skip
LEVERS: tuple[Lever, ...] = (
    "prompt_cache", "routing", "semantic_cache", "pruning", "provisioning", "summary", "batch",
)  # fmt: skip

TaskKey = Literal["tags", "scope", "outcome"]
"""What tasks are grouped by: what all calls of a task have in common."""
Measures = Literal["basic", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalFilter:
    """Which calls or tasks are meant; all of what is given must hold.

    `since` and `until` are Unix times, the second one excluded. `scope` takes in all below it;
    `model` is `provider:model` or the model alone.
    """

    since: float | None = None
    until: float | None = None
    scope: str | None = None
    task_id: str | None = None
    model: str | None = None
    outcome: Outcome | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def takes(self, call: CallRecord, outcome: Outcome | None) -> bool:
        """True where a call of a task with this outcome is meant."""
        return (
            self._in_time(at_ms(call) / 1000)
            and self._in_scope(call.scope)
            and self.task_id in (None, call.task_id)
            and self.model in (None, call.model, f"{call.provider}:{call.model}")
            and self.outcome in (None, outcome)
            and all(call.tags.get(name) == value for name, value in self.tags.items())
        )

    def takes_task(self, task: TaskRecord) -> bool:
        """True where a task is meant; its time is that of its start."""
        return (
            self._in_time(task.started_at)
            and self._in_scope(task.scope)
            and self.task_id in (None, task.task_id)
            and (self.model is None or any(_is_model(self.model, each) for each in task.models))
            and self.outcome in (None, task.outcome)
            and all(task.tags.get(name) == value for name, value in self.tags.items())
        )

    def _in_time(self, at: float) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def _in_scope(self, scope: str) -> bool:
        wanted = self.scope
        return wanted is None or scope == wanted or scope.startswith(f"{wanted}/")


EVERYTHING = JournalFilter()


class CallSums(NamedTuple):
    """Sums over calls: nano-USD, tokens, milliseconds and counts.

    `unconfirmed_nusd` is a part of `cost_nusd`. `unknown_calls` were billed at prices that nobody
    knows. `estimated_tokens` and `reported_tokens` are the input of the calls for which both are
    known. What follows `reported_tokens` is 0 unless all measures were asked for.
    """

    calls: int = 0
    cost_nusd: int = 0
    unconfirmed_nusd: int = 0
    unknown_calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    escalations: int = 0
    estimated_tokens: int = 0
    reported_tokens: int = 0
    reasoning_tokens: int = 0
    latency_ms: int = 0
    retries: int = 0
    turned_down: int = 0
    cache_answers: int = 0
    tools_offered: int = 0
    tools_called: int = 0
    system: int = 0
    tools: int = 0
    summary: int = 0
    history: int = 0
    observations: int = 0
    user: int = 0
    saved_prompt_cache: int = 0
    saved_routing: int = 0
    saved_semantic_cache: int = 0
    saved_pruning: int = 0
    saved_provisioning: int = 0
    saved_summary: int = 0
    saved_batch: int = 0

    def plus(self, other: CallSums) -> CallSums:
        """Both together."""
        return CallSums._make(map(int.__add__, self, other))

    @property
    def fresh_input_tokens(self) -> int:
        """Input at the plain price."""
        written = self.cache_write_5m_tokens + self.cache_write_1h_tokens
        return self.input_tokens - self.cache_read_tokens - written


class GroupSums(NamedTuple):
    """The sums of one group; `key` holds a value for each name grouped by."""

    key: tuple[str | int, ...]
    sums: CallSums


class TaskGroup(NamedTuple):
    """Tasks with at least one call that is meant: how many, what they cost, and the sum of the
    squares of what each cost (nano-USD, as a float), from which its spread follows."""

    key: tuple[str | int, ...]
    tasks: int
    cost_nusd: int
    cost_squares: float


BASIC = CallSums._fields[: CallSums._fields.index("reasoning_tokens")]


def sum_records(
    calls: Iterable[tuple[CallRecord, Outcome | None]],
    by: Sequence[Key],
    *,
    dearest: int | None = None,
) -> list[GroupSums]:
    """The sums of `calls`, each with its task's outcome, in the order of their keys.

    With `dearest`, only that many groups, those that cost most.
    """
    readers = [_READERS[name] for name in by]
    groups: dict[tuple[str | int, ...], CallSums] = {}
    for call, outcome in calls:
        key = tuple(read(call, outcome) for read in readers)
        sums = measured(call)
        known = groups.get(key)
        groups[key] = sums if known is None else known.plus(sums)
    found = [GroupSums(key, groups[key]) for key in sorted(groups)]
    if dearest is not None:
        found = sorted(found, key=lambda group: -group.sums.cost_nusd)[:dearest]
    return found


def sum_task_groups(groups: Iterable[GroupSums]) -> list[TaskGroup]:
    """Tasks by group from the sums of each; the last value of each key names the task."""
    found: dict[tuple[str | int, ...], TaskGroup] = {}
    for group in groups:
        key, cost = group.key[:-1], group.sums.cost_nusd
        known = found.get(key, TaskGroup(key, 0, 0, 0.0))
        squares = known.cost_squares + float(cost) * cost
        found[key] = TaskGroup(key, known.tasks + 1, known.cost_nusd + cost, squares)
    return [found[key] for key in sorted(found)]


def measured(call: CallRecord) -> CallSums:
    """What one call adds to the sums of its group."""
    usage = call.usage
    is_told = call.confirmed and call.status == "ok" and call.estimated_input_tokens > 0
    is_told = is_told and usage.input_tokens > 0
    return CallSums(
        calls=1,
        cost_nusd=call.cost_nusd,
        unconfirmed_nusd=0 if call.confirmed else call.cost_nusd,
        unknown_calls=int(call.cost_source == "unknown" and call.status != "rejected"),
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        escalations=int(call.escalation is not None),
        reasoning_tokens=usage.reasoning_tokens,
        latency_ms=round(call.latency_seconds * 1000),
        retries=int(call.attempt > 1),
        turned_down=int(call.accepted is False),
        cache_answers=int(call.cached_by is not None),
        estimated_tokens=call.estimated_input_tokens if is_told else 0,
        reported_tokens=usage.input_tokens if is_told else 0,
        tools_offered=len(call.tools_offered),
        tools_called=len(call.tools_called),
        **{name: call.components.get(name, 0) for name in COMPONENTS},
        **{f"saved_{name}": call.saved_nusd.get(name, 0) for name in LEVERS},
    )


def tags_key(tags: Mapping[str, str]) -> str:
    """The tags as one key, the same for the same tags."""
    import json

    return json.dumps(tags, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def is_escalated(call: CallRecord) -> int:
    """1 where a cheaper tier had given way before."""
    return int(call.escalation is not None)


def _is_model(wanted: str, named: str) -> bool:
    return named == wanted or named.partition(":")[2] == wanted


_HOUR_MS = 3_600_000
_READERS: dict[Key, Callable[[CallRecord, Outcome | None], str | int]] = {
    "at": lambda call, _: at_ms(call),
    "hour": lambda call, _: at_ms(call) // _HOUR_MS,
    "day": lambda call, _: at_ms(call) // (24 * _HOUR_MS),
    "task": lambda call, _: call.task_id,
    "scope": lambda call, _: call.scope,
    "model": lambda call, _: f"{call.provider}:{call.model}",
    "tags": lambda call, _: tags_key(call.tags),
    "outcome": lambda _, outcome: outcome or "",
    "prefix": lambda call, _: call.prefix,
    "tier": lambda call, _: call.tier,
    "step": lambda call, _: call.step,
    "purpose": lambda call, _: call.purpose,
    "status": lambda call, _: call.status,
    "source": lambda call, _: call.cost_source,
    "confirmed": lambda call, _: int(call.confirmed),
    "escalated": lambda call, _: is_escalated(call),
}


def at_ms(call: CallRecord) -> int:
    """When the call began, in whole milliseconds."""
    return int(call.started_at * 1000)
