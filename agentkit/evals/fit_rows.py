"""Answers with their signals and whether they were right: from a run, or from recorded tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from agentkit.budgets.journal import EventRecord, TaskRecord
from agentkit.budgets.journal_query import EVERYTHING, JournalFilter
from agentkit.budgets.store import Store
from agentkit.evals.case_result import CaseResult

_DECISION = "decision"
_NOT_PASSED = "check did not pass"
_MOST_TASKS = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FitRow:
    """One answer. `group` names its request: the rows of one request are never held against each
    other."""

    signals: Mapping[str, float]
    right: bool
    group: str


def rows_of_run(results: Sequence[CaseResult], setting: str) -> list[FitRow]:
    """The answers that one model alone gave in an evaluation."""
    return [
        FitRow(signals=_finite(result.signals), right=result.passed, group=result.case_id)
        for result in results
        if result.setting == setting and result.signals and not result.stopped and result.tier >= 0
    ]


def rows_of_tasks(store: Store, model: str, where: JournalFilter = EVERYTHING) -> list[FitRow]:
    """The answers of a model that ended recorded tasks, of those that a check has judged.

    An answer that was passed on has no outcome of its own, so it is none of them.
    """
    rows: list[FitRow] = []
    for task in store.tasks(limit=_MOST_TASKS, where=where):
        right = _outcome(task)
        if right is None:
            continue
        kept = list(_kept(store.events(task.task_id), model))
        if kept:
            signals = _finite(kept[-1].data.get("signals"))
            rows.append(FitRow(signals=signals, right=right, group=task.request_digest))
    return [row for row in rows if row.signals]


def _outcome(task: TaskRecord) -> bool | None:
    if task.outcome == "resolved":
        return True
    failed = task.outcome == "answered" and (task.reason or "").startswith(_NOT_PASSED)
    return False if failed else None


def _kept(events: Sequence[EventRecord], model: str) -> Iterator[EventRecord]:
    for event in events:
        if event.kind == _DECISION and event.data.get("action") == "accept":
            if event.data.get("model") == model and event.data.get("signals"):
                yield event


def _finite(signals: object) -> dict[str, float]:
    """Stored rows are untrusted: numbers that are numbers."""
    if not isinstance(signals, dict):
        return {}
    found: dict[str, float] = {}
    for name, value in cast("dict[object, object]", signals).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value):
            found[str(name)] = float(value)
    return found
