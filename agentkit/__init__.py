"""Agents that cannot overspend.

Names are loaded when first used, so that `import agentkit` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit.agent import Agent, StepDone, StreamEvent, TextDelta
    from agentkit.budgets.budget import Budget
    from agentkit.metered import metered
    from agentkit.models.factory import chat_model
    from agentkit.result import TaskResult
    from agentkit.run import current_task

_HOMES = {
    "Agent": "agentkit.agent",
    "Budget": "agentkit.budgets.budget",
    "StepDone": "agentkit.agent",
    "StreamEvent": "agentkit.agent",
    "TaskResult": "agentkit.result",
    "TextDelta": "agentkit.agent",
    "chat_model": "agentkit.models.factory",
    "current_task": "agentkit.run",
    "metered": "agentkit.metered",
}

__all__ = [
    "Agent",
    "Budget",
    "StepDone",
    "StreamEvent",
    "TaskResult",
    "TextDelta",
    "chat_model",
    "current_task",
    "metered",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
