"""Evaluates the alert rules on the journal, and finds the tasks behind what fires."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.store import Store
from agentkit.reports.alert import RULES, Rule
from agentkit.reports.expression import evaluate, spans
from agentkit.reports.rollup import NO_VALUE
from agentkit.reports.series import (
    BUDGET_USED,
    Counter,
    Gauge,
    Label,
    Labels,
    Vector,
    Window,
    budgets_used,
    day_budget_usd,
)

_TASKS_NAMED = 3
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleChange:
    """What the user set for one rule; None keeps the rule's own."""

    threshold: float | None = None
    floor: float | None = None
    off: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """A rule that fires for one set of labels, with the dearest tasks of its window."""

    rule: Rule
    labels: Mapping[str, str]
    value: float
    tasks: tuple[str, ...]


def rules_in_force(changes: Mapping[str, RuleChange]) -> list[Rule]:
    """The rules with the user's thresholds and floors, without those that are off."""
    found: list[Rule] = []
    for rule in RULES:
        change = changes.get(rule.name, RuleChange())
        if change.off:
            continue
        threshold = rule.threshold if change.threshold is None else change.threshold
        floor = rule.floor if change.floor is None else change.floor
        found.append(replace(rule, threshold=threshold, floor=floor))
    return found


def check_alerts(
    store: Store,
    *,
    now: float,
    rules: Sequence[Rule] = RULES,
    scope: str | None = None,
    tags: Mapping[str, str] | None = None,
    day_usd: float | None = None,
) -> list[Firing]:
    """What fires at `now` (Unix time), the critical first.

    `day_usd` is the day's budget where no scope has a limit for a day.
    """
    source = JournalSource(
        store, now=now, scope=scope, tags=tags or {}, day_usd=day_usd, rules=rules
    )  # fmt: skip
    found: list[Firing] = []
    for rule in rules:
        kept = evaluate(rule.condition(rule.threshold, rule.floor), source)
        measured = evaluate(rule.measured, source)
        if not isinstance(kept, Mapping) or not isinstance(measured, Mapping):
            continue
        for labels in sorted(kept):
            named: dict[str, str] = dict(zip(rule.by, labels, strict=True))
            value = measured.get(labels, math.nan)
            tasks = source.tasks_behind(rule, named)
            found.append(Firing(rule=rule, labels=named, value=value, tasks=tasks))
    return sorted(found, key=lambda firing: firing.rule.severity != "critical")


class JournalSource:
    """The series of the alert rules, read from the journal.

    The windows of all rules overlap, so that time is cut where any of them begins or ends, and each
    piece is read once.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: float,
        scope: str | None,
        tags: Mapping[str, str],
        day_usd: float | None,
        rules: Sequence[Rule],
    ) -> None:
        self._store = store
        self._now = now
        self._scope = scope
        self._tags = tags
        self._day_usd = day_usd
        ends = {
            end
            for rule in rules
            for asked in (rule.measured, rule.condition(rule.threshold, rule.floor))
            for span in spans(asked)
            for end in span
        }
        cuts = sorted(ends)
        self._pieces = [
            (begin, end, Window(store, self._span(begin - end, end)))
            for end, begin in itertools.pairwise(cuts)
        ]

    def increase(
        self, counter: Counter, by: tuple[Label, ...], hours: float, offset_hours: float
    ) -> Vector:
        """The sum over the window, by labels; a window without a call has none."""
        found: dict[Labels, float] = {}
        for begin, end, window in self._pieces:
            if end >= offset_hours and begin <= offset_hours + hours:
                for labels, value in window.sums(counter, by).items():
                    found[labels] = found.get(labels, 0.0) + value
        return found

    def gauge(self, gauge: Gauge, by: tuple[Label, ...]) -> Vector:
        """What stands now, whatever `now` is: budgets are not kept for the past."""
        del by
        if gauge is BUDGET_USED:
            used = budgets_used(self._store)
            return {key: share for key, share in used.items() if self._is_in_scope(key)}
        day = self._day_usd if self._day_usd is not None else day_budget_usd(self._store)
        return {} if day is None else {(): day}

    def tasks_behind(self, rule: Rule, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The dearest tasks of the rule's window with these labels."""
        where = self._span(rule.hours, 0)
        tags = {name: value for name, value in labels.items() if name in ("feature", "user")}
        if NO_VALUE in labels.values():
            return ()
        where = replace(
            where,
            tags={**where.tags, **tags},
            model=labels.get("model"),
            scope=labels.get("scope", where.scope),
        )
        dearest = self._store.sum_calls(("task",), where, measures="basic", dearest=_TASKS_NAMED)
        return tuple(str(group.key[0]) for group in dearest)

    def _span(self, hours: float, offset_hours: float) -> JournalFilter:
        until = self._now - offset_hours * _HOUR
        return JournalFilter(
            since=until - hours * _HOUR, until=until, scope=self._scope, tags=self._tags
        )

    def _is_in_scope(self, key: Labels) -> bool:
        wanted = self._scope
        return wanted is None or key[0] == wanted or key[0].startswith(f"{wanted}/")
