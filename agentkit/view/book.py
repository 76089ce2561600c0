"""What the page shows, in columns: a row a task, and a cell for each model that a task called.

All of it is made from the store's own sums, so every figure on the page adds up to the ledger's.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.journal_query import (
    COMPONENTS,
    LEVERS,
    CallSums,
    GroupSums,
    JournalFilter,
    Key,
)
from agentkit.budgets.store import Store
from agentkit.view.columns import packed

Json = dict[str, object]
Alerts = Callable[[], Sequence[Json] | None]

_KEYS: tuple[Key, ...] = ("task", "model", "scope", "tags", "outcome")
_EVERY_TASK = 10_000_000
_MOST_TAGS = 8
_MOST_RUNNING = 200
_UNNAMED = "(unknown model)"
"""The model of a call whose process died before it could say."""
_RECENT_SECONDS = 900.0
"""How far back a call may have begun that is settled only now."""
_LEAST_PAUSE_SECONDS = 1.0
_REST = 20
"""A full look is followed by this many times its own length without one."""

_MEASURES: Mapping[str, str] = {
    "calls": "calls",
    "nusd": "cost_nusd",
    "unconfirmed": "unconfirmed_nusd",
    "unknown": "unknown_calls",
    "input": "input_tokens",
    "cached": "cache_read_tokens",
    "output": "output_tokens",
    "escalations": "escalations",
}
"""The columns that there always are, and the sums that they are made of."""
_FURTHER = (*COMPONENTS, *(f"saved_{lever}" for lever in LEVERS))
"""Columns that are there where they are not all 0."""


@dataclass(slots=True)
class _Task:
    """One row: what the record says, and the sums of its calls by model."""

    task_id: str
    at: float
    seconds: float
    outcome: str
    scope: str
    tags: Mapping[str, str]
    cells: list[tuple[str, CallSums]] = field(default_factory=list[tuple[str, CallSums]])


class CostBook:
    """The figures of one ledger for the page, read when asked; safe from many threads.

    `alerts` is evaluated with each full look. `since` leaves out the tasks that began before it.
    """

    def __init__(
        self, store: Store, *, name: str, alerts: Alerts | None = None, since: float | None = None
    ) -> None:
        self._store = store
        self._name = name
        self._alerts = alerts
        self._since = since
        self._lock = threading.Lock()
        self._rows: dict[str, _Task] = {}
        self._recent: dict[str, CallSums] = {}
        self._known: CallSums | None = None
        self._next_look = 0.0
        self._next_full_look = 0.0
        self._version = 0
        self._made: tuple[int, bytes] = (0, b"")
        self._told: Sequence[Json] | None = None

    def packed(self, since_version: int = 0) -> bytes | None:
        """The packed columns, or None where nothing changed since that version."""
        with self._lock:
            self._look()
            if since_version == self._version:
                return None
            if self._made[0] != self._version:
                with _without_cycles():
                    self._made = (self._version, self._encoded())
            return self._made[1]

    def task_ids(self, most_calls: int) -> list[str]:
        """The latest tasks whose calls together are at most that many."""
        with self._lock:
            self._look()
            found: list[str] = []
            for row in sorted(self._rows.values(), key=lambda row: row.at, reverse=True):
                most_calls -= sum(sums.calls for _, sums in row.cells)
                if most_calls < 0:
                    break
                found.append(row.task_id)
            return found

    @property
    def size(self) -> int:
        """Tasks in it, as of the last look."""
        return len(self._rows)

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        if now >= self._next_full_look:
            with _without_cycles():
                self._look_at_all(now)
        else:
            self._look_at_recent()
        self._next_look = time.monotonic() + _LEAST_PAUSE_SECONDS

    def _look_at_all(self, began: float) -> None:
        whole = self._store.sum_calls((), self._filter, measures="basic")
        known = whole[0].sums if whole else CallSums()
        if self._known != known or self._version == 0:
            self._known = known
            groups = self._store.sum_calls(_KEYS, self._filter)
            records = self._store.tasks(limit=_EVERY_TASK, where=self._filter)
            self._rows = {row.task_id: row for row in map(_row, reversed(records))}
            self._take(groups)
            self._version += 1
        else:
            self._look_at_recent()
        told = self._alerts() if self._alerts else None
        self._version += told != self._told
        self._told = told
        self._next_full_look = time.monotonic() + max(5.0, _REST * (time.monotonic() - began))

    def _look_at_recent(self) -> None:
        where = JournalFilter(since=time.time() - _RECENT_SECONDS)
        recent = {
            str(g.key[0]): g.sums for g in self._store.sum_calls(("task",), where, measures="basic")
        }
        changed = {task for task, sums in recent.items() if self._recent.get(task) != sums}
        self._recent = recent
        changed |= {task.task_id for task in self._store.tasks(limit=50) if self._is_news(task)}
        changed |= set(self._running())
        is_new = False
        for task_id in changed:
            is_new |= self._look_at(task_id)
        self._version += is_new

    def _running(self) -> list[str]:
        """The latest tasks without an end; what died years ago is not asked after each second."""
        found = sorted((row for row in self._rows.values() if not row.outcome), key=_began)
        return [row.task_id for row in found[-_MOST_RUNNING:]]

    def _is_news(self, task: TaskRecord) -> bool:
        known = self._rows.get(task.task_id)
        return (known is None or known.outcome != (task.outcome or "")) and (
            self._since is None or task.started_at >= self._since
        )

    def _look_at(self, task_id: str) -> bool:
        record = self._store.task(task_id)
        if record is None or (self._since is not None and record.started_at < self._since):
            return False
        before = self._rows.get(task_id)
        self._rows[task_id] = _row(record)
        self._take(self._store.sum_calls(_KEYS, JournalFilter(task_id=task_id)))
        return self._rows[task_id] != before

    def _take(self, groups: Iterable[GroupSums]) -> None:
        for (task_id, model, scope, tags, outcome), sums in groups:
            row = self._rows.get(str(task_id))
            if row is None:
                row = self._stray(str(task_id), str(scope), str(tags), str(outcome))
                if self._since is not None and row.at < self._since:
                    continue
                self._rows[row.task_id] = row
            row.cells.append((_UNNAMED if model == ":" else str(model), sums))

    def _stray(self, task_id: str, scope: str, tags: str, outcome: str) -> _Task:
        """Calls whose task left no record, or began before what is shown."""
        at = min((call.started_at for call in self._store.calls(task_id)), default=0.0)
        return _Task(task_id, at, -1.0, outcome, scope, json.loads(tags))

    @property
    def _filter(self) -> JournalFilter:
        return JournalFilter(since=self._since)

    def _encoded(self) -> bytes:
        rows = list(self._rows.values())
        tags = _tags_by_use(rows)
        columns: dict[str, Sequence[float]] = {
            "task.at": [round(row.at, 1) for row in rows],
            "task.seconds": [round(row.seconds, 2) for row in rows],
        }
        names: dict[str, list[str]] = {}
        columns["task.outcome"] = _numbered(names, "outcome", [row.outcome for row in rows])
        columns["task.scope"] = _numbered(names, "scope", [row.scope for row in rows])
        for tag in tags:
            kind = f"tag:{tag}"
            columns[kind] = _numbered(names, kind, [row.tags.get(tag) for row in rows])
        cells = [(n, model, sums) for n, row in enumerate(rows) for model, sums in row.cells]
        columns["cell.task"] = [n for n, _, _ in cells]
        columns["cell.model"] = _numbered(names, "model", [model for _, model, _ in cells])
        columns |= _measured([sums for _, _, sums in cells])
        head = {
            "version": self._version,
            "ledger": self._name,
            "made_at": time.time(),
            "running": sum(not row.outcome for row in rows),
            "names": names,
            "tags": tags,
            "ids": "\n".join(row.task_id for row in rows),
            "alerts": self._told,
        }
        return packed(head, columns)


@contextmanager
def _without_cycles() -> Generator[None]:
    """Nobody looks for cycles of garbage: a million new values hold none, and that takes long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _measured(sums: Sequence[CallSums]) -> dict[str, Sequence[int]]:
    columns = zip(*sums, strict=True) if sums else ((),) * len(CallSums._fields)
    fields: dict[str, Sequence[int]] = dict(zip(CallSums._fields, columns, strict=True))
    found = {f"cell.{name}": fields[field] for name, field in _MEASURES.items()}
    return found | {f"cell.{name}": fields[name] for name in _FURTHER if any(fields[name])}


def _numbered(names: dict[str, list[str]], kind: str, texts: Sequence[str | None]) -> Sequence[int]:
    """Each text as its place in `names[kind]`, which this makes; -1 where there is none."""
    names[kind] = [text for text in dict.fromkeys(texts) if text is not None]
    numbers: dict[str | None, int] = {text: n for n, text in enumerate(names[kind])}
    numbers[None] = -1
    return [numbers[text] for text in texts]


def _began(row: _Task) -> float:
    return row.at


def _row(record: TaskRecord) -> _Task:
    seconds = -1.0 if record.ended_at is None else record.ended_at - record.started_at
    return _Task(
        task_id=record.task_id,
        at=record.started_at,
        seconds=seconds,
        outcome=record.outcome or "",
        scope=record.scope,
        tags=record.tags,
    )


def _tags_by_use(rows: Sequence[_Task]) -> list[str]:
    """The tags that most tasks have; `feature` first, for that is what people ask by."""
    uses = Counter(tag for row in rows for tag in row.tags)
    order = sorted(uses, key=lambda tag: (tag != "feature", -uses[tag], tag))
    return order[:_MOST_TAGS]
