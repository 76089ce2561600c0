"""Agents that cannot overspend.

Names are loaded when first used, so that `import agentkit` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkit.lazy import lazy

if TYPE_CHECKING:
    from agentkit.agent import Agent
    from agentkit.budgets.budget import Budget
    from agentkit.budgets.context import carry, current_task, spending
    from agentkit.cascade.settings import Cascade
    from agentkit.consent import Approve, Refuse
    from agentkit.fanout import Job, Mapped, MapProgress
    from agentkit.metered import metered
    from agentkit.models.factory import chat_model
    from agentkit.result import TaskResult
    from agentkit.stream import StepDone, StreamEvent, TextDelta
    from agentkit.tools.permissions import Permissions

_HOMES = {
    "Agent": "agentkit.agent",
    "Approve": "agentkit.consent",
    "Budget": "agentkit.budgets.budget",
    "Cascade": "agentkit.cascade.settings",
    "Job": "agentkit.fanout",
    "MapProgress": "agentkit.fanout",
    "Mapped": "agentkit.fanout",
    "Permissions": "agentkit.tools.permissions",
    "Refuse": "agentkit.consent",
    "StepDone": "agentkit.stream",
    "StreamEvent": "agentkit.stream",
    "TaskResult": "agentkit.result",
    "TextDelta": "agentkit.stream",
    "carry": "agentkit.budgets.context",
    "chat_model": "agentkit.models.factory",
    "current_task": "agentkit.budgets.context",
    "metered": "agentkit.metered",
    "spending": "agentkit.budgets.context",
}

__all__ = [
    "Agent",
    "Approve",
    "Budget",
    "Cascade",
    "Job",
    "MapProgress",
    "Mapped",
    "Permissions",
    "Refuse",
    "StepDone",
    "StreamEvent",
    "TaskResult",
    "TextDelta",
    "carry",
    "chat_model",
    "current_task",
    "metered",
    "spending",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
