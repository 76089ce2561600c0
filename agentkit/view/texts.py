"""What was said in a task, step by step, from the checkpoint that the task left: only if asked for.

The ledger keeps no text. Where an agent keeps checkpoints they hold the transcript in plain text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from agentkit.budgets.journal import TaskRecord
from agentkit.view.story import Texts

_LONGEST_CHARS = 20_000
_MOST_CHECKPOINTS = 2_000

Checkpointer = BaseCheckpointSaver[Any]


class CheckpointTexts:
    """Reads the texts of tasks from `saver`; calling it with a task gives them by step.

    Step 0 is what the task was asked. A task without a checkpoint has none.
    """

    def __init__(self, saver: Checkpointer) -> None:
        self._saver = saver

    def __call__(self, task: TaskRecord) -> Texts:
        if task.thread_id is None:
            return {}
        config: Any = {"configurable": {"thread_id": task.thread_id}}
        for found in self._saver.list(config, limit=_MOST_CHECKPOINTS):
            values = found.checkpoint["channel_values"]
            if values.get("task_id") == task.task_id:
                start = values.get("request_at", 0)
                return _by_step(values.get("messages", ())[start:])
        return {}


def _by_step(messages: Sequence[BaseMessage]) -> dict[int, list[dict[str, str]]]:
    """Each answer of a model begins a step; what its tools said belongs to it."""
    steps: dict[int, list[dict[str, str]]] = {}
    step = 0
    for message in messages:
        if isinstance(message, AIMessage):
            step += 1
        text = _said(message)
        if text:
            steps.setdefault(step, []).append({"role": _role(message), "text": _cut(text)})
    return steps


def _said(message: BaseMessage) -> str:
    lines = [str(message.text)] if message.text else []
    if isinstance(message, AIMessage):
        lines += [
            f"{call['name']}({json.dumps(call['args'], ensure_ascii=False)})"
            for call in message.tool_calls
        ]
    return "\n".join(lines)


def _role(message: BaseMessage) -> str:
    if isinstance(message, ToolMessage):
        return message.name or "tool"
    return {"human": "user", "ai": "model"}.get(message.type, message.type)


def _cut(text: str) -> str:
    left_out = len(text) - _LONGEST_CHARS
    return text if left_out <= 0 else f"{text[:_LONGEST_CHARS]}\n… {left_out} characters more"
