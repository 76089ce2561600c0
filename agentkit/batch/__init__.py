"""Work that can wait, at half the price: batches of OpenAI and Anthropic.

Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit.batch.item import Batch, BatchItem
    from agentkit.batch.job import BatchJob, JobResult
    from agentkit.batch.lane import BatchLane, Progress
    from agentkit.batch.policy import BatchPolicy
    from agentkit.batch.provider import BatchProvider, BatchRefused
    from agentkit.batch.store import BatchStore
    from agentkit.batch.waiting import can_wait
    from agentkit.batch.waves import Waves

_HOMES = {
    "Batch": "agentkit.batch.item",
    "BatchItem": "agentkit.batch.item",
    "BatchJob": "agentkit.batch.job",
    "BatchLane": "agentkit.batch.lane",
    "BatchPolicy": "agentkit.batch.policy",
    "BatchProvider": "agentkit.batch.provider",
    "BatchRefused": "agentkit.batch.provider",
    "BatchStore": "agentkit.batch.store",
    "JobResult": "agentkit.batch.job",
    "Progress": "agentkit.batch.lane",
    "Waves": "agentkit.batch.waves",
    "can_wait": "agentkit.batch.waiting",
}

__all__ = [
    "Batch",
    "BatchItem",
    "BatchJob",
    "BatchLane",
    "BatchPolicy",
    "BatchProvider",
    "BatchRefused",
    "BatchStore",
    "JobResult",
    "Progress",
    "Waves",
    "can_wait",
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
