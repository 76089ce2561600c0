"""What a batch is gone on with: the ledger, the store, the rules, and in whose name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agentkit.batch.item import Batch
from agentkit.batch.policy import BatchPolicy
from agentkit.batch.provider import BatchProvider, Found
from agentkit.batch.store import BatchStore
from agentkit.budgets.ledger import Ledger
from agentkit.models.provider import retry_after_seconds

_BACKOFF_SECONDS = (1.0, 300.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Office:
    """Whoever goes on with batches, under the name `owner`."""

    ledger: Ledger
    store: BatchStore
    policy: BatchPolicy
    owner: str

    def find(self, batch: Batch, provider: BatchProvider, is_ours: Callable[[str], bool]) -> Found:
        """What the provider has of `batch` besides the batches that are known here."""
        known = {each.provider_id for each in self.store.batches() if each.provider_id is not None}
        found = provider.find(replace(batch, others=(*batch.others, *known)), is_ours)
        return replace(found, others=tuple(name for name in found.others if name not in known))


def wait_seconds(error: BaseException, since: float) -> float:
    """Seconds until the next try: what the provider asks, or the longer the longer it lasts."""
    asked = retry_after_seconds(error)
    if asked is not None:
        return asked
    least, most = _BACKOFF_SECONDS
    return min(max(least, since / 4), most)
