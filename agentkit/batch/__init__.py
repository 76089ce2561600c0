"""Work that can wait, at half the price: batches of OpenAI and Anthropic.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkit.lazy import lazy

if TYPE_CHECKING:
    from agentkit.batch.item import Batch, BatchItem
    from agentkit.batch.job import BatchJob, JobResult
    from agentkit.batch.lane import BatchLane, Progress
    from agentkit.batch.policy import BatchPolicy
    from agentkit.batch.provider import BatchProvider, BatchRefused
    from agentkit.batch.seeding import Seeded
    from agentkit.batch.store import BatchStore
    from agentkit.batch.waiting import can_wait
    from agentkit.batch.waves import Waves
    from agentkit.batch.webhook import WebhookInvalid, take_webhook

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
    "Seeded": "agentkit.batch.seeding",
    "Waves": "agentkit.batch.waves",
    "WebhookInvalid": "agentkit.batch.webhook",
    "can_wait": "agentkit.batch.waiting",
    "take_webhook": "agentkit.batch.webhook",
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
    "Seeded",
    "Waves",
    "WebhookInvalid",
    "can_wait",
    "take_webhook",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
