"""One task for the page: its record, calls and events, and the texts that were kept, if any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.store import Store

Texts = Mapping[int, Sequence[Mapping[str, str]]]
TextsOf = Callable[[TaskRecord], Texts]


class TaskStories:
    """Reads tasks from a store; `texts` gives what was said in a task, by step."""

    def __init__(self, store: Store, texts: TextsOf | None = None) -> None:
        self._store = store
        self._texts = texts

    def of(self, task_id: str) -> dict[str, object] | None:
        """The task of that id as JSON types; None where there is none."""
        record = self._store.task(task_id)
        if record is None:
            return None
        return {
            "task": record.to_dict(),
            "calls": [call.to_dict() for call in self._store.calls(task_id)],
            "events": [event.to_dict() for event in self._store.events(task_id)],
            "texts": dict(self._texts(record)) if self._texts else {},
        }
