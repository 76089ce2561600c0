"""What a ledger's tasks have shown about its tiers, by tenant, and what of it is near a request."""

from __future__ import annotations

import heapq
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.budgets.journal import CallRecord, TaskRecord
from agentkit.budgets.ledger import Ledger
from agentkit.errors import ExtraMissing
from agentkit.result import CHECK_FAILED
from agentkit.routing.difficulty import Difficulty
from agentkit.routing.outcome import (
    MemoryOutcomeStore,
    Outcome,
    OutcomeStore,
    SqliteOutcomeStore,
)
from agentkit.routing.request import PastOutcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agentkit.tools.provision.embedding import Embedder

NEAREST = 32
_FRESH_SECONDS = 5.0
_ANSWERED_WEIGHT = 0.5
"""A task that just ended with an answer says less than a check does."""
_STEP = 127.0

_in_memory: weakref.WeakKeyDictionary[object, MemoryOutcomeStore] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class RouteHistory:
    """The outcomes of a ledger's tasks; safe from many threads."""

    def __init__(
        self,
        store: OutcomeStore,
        *,
        embedder: Embedder | None = None,
        difficulty: Difficulty | None = None,
    ) -> None:
        """`embedder` makes the vectors, by default the one that comes with agentkit, as is the
        `difficulty` of requests. Raises ExtraMissing without numpy.
        """
        self.store = store
        self.difficulty = difficulty or Difficulty.shipped()
        self._embedder = embedder or _shipped()
        self._lock = threading.Lock()
        self._read: dict[str, tuple[float, _Table]] = {}

    @classmethod
    def of(cls, ledger: Ledger) -> RouteHistory:
        """The history beside a ledger's own tables. Raises RouteStoreError, ExtraMissing."""
        return cls(open_outcomes(ledger))

    def outcomes(self, scope: str) -> Sequence[Outcome]:
        """All outcomes of the scope's tenant, the oldest first."""
        return self._table(tenant_of(scope)).outcomes

    def nearest(self, scope: str, text: str, *, most: int = NEAREST) -> list[PastOutcome]:
        """The outcomes of the requests that are most like `text`, the nearest first."""
        table = self._table(tenant_of(scope))
        return table.nearest(self._embedder.embed([text])[0], most)

    def record(self, scope: str, text: str, outcomes: Sequence[Outcome]) -> None:
        """Keep how tiers did on a request; its words are not kept."""
        tenant = tenant_of(scope)
        difficulty = self.difficulty(text)
        vector = _packed(self._embedder.embed([text])[0])
        rows = [
            replace(
                outcome,
                vector=vector,
                embedding=self._embedder.fingerprint,
                difficulty=difficulty,
            )
            for outcome in outcomes
        ]
        self.store.add(tenant, rows)
        with self._lock:
            self._read.pop(tenant, None)

    def forget(self, scope: str | None = None) -> int:
        """Drop what is known of a scope's tenant, or everything; returns how many outcomes."""
        with self._lock:
            self._read.clear()
        return self.store.forget(None if scope is None else tenant_of(scope))

    def _table(self, tenant: str) -> _Table:
        now = time.monotonic()
        with self._lock:
            known = self._read.get(tenant)
        if known is not None and now - known[0] < _FRESH_SECONDS:
            return known[1]
        table = _Table(self.store.latest(tenant), self._embedder.fingerprint)
        with self._lock:
            self._read[tenant] = (now, table)
        return table


class _Table:
    """A tenant's outcomes with their vectors side by side."""

    def __init__(self, outcomes: Sequence[Outcome], fingerprint: str) -> None:
        import numpy as np

        self.outcomes = outcomes
        self._alike = [each for each in outcomes if each.embedding == fingerprint and each.vector]
        size = max((len(each.vector) for each in self._alike), default=0)
        self._alike = [each for each in self._alike if len(each.vector) == size]
        packed = b"".join(each.vector for each in self._alike)
        self._rows: NDArray[np.float32] = (
            np.frombuffer(packed, np.int8).reshape(len(self._alike), size) / _STEP
        ).astype(np.float32)

    def nearest(self, vector: NDArray[np.float32], most: int) -> list[PastOutcome]:
        import numpy as np

        if not self._alike or self._rows.shape[1] != len(vector):
            return []
        cosines: Any = np.einsum("ij,j->i", self._rows, vector)  # on this thread
        places = heapq.nlargest(most, range(len(self._alike)), key=cosines.__getitem__)
        return [_past(self._alike[place], float(cosines[place])) for place in places]


def open_outcomes(ledger: Ledger) -> OutcomeStore:
    """The store of outcomes that goes with a ledger's own: the same file, server or process."""
    from agentkit.budgets.stores.memory import MemoryStore

    store: Any = ledger.store
    store = getattr(store, "behind", store)
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        return SqliteOutcomeStore(path)
    address = getattr(store, "address", None)
    if address is not None and not isinstance(store, MemoryStore):
        from agentkit.routing.outcome_redis import RedisOutcomeStore

        return RedisOutcomeStore(address)
    with _lock:
        return _in_memory.setdefault(store, MemoryOutcomeStore())


def tenant_of(scope: str) -> str:
    """Whose outcomes a scope shares: its first segment."""
    return scope.partition("/")[0]


def outcomes_of(
    task: TaskRecord, calls: Sequence[CallRecord], *, at: float, exploration_nusd: int = 0
) -> list[Outcome]:
    """What an ended task says about its tiers.

    A tier whose answer was turned down did not do. The tier that answered last did where the task
    was resolved or answered, and did not where its check failed. A task that ran out of budget, was
    cancelled, was cut or met a provider's error says nothing about the tier that it ended on.
    """
    steps = [call for call in calls if call.purpose == "step" and call.tier < len(task.models)]
    if not steps:
        return []
    first, last = steps[0].tier, steps[-1].tier
    found: list[Outcome] = []
    for tier in sorted({call.tier for call in steps}):
        own = [call for call in steps if call.tier == tier]
        verdict = _verdict(task, own, is_last=tier == last)
        if verdict is not None:
            found.append(
                Outcome(
                    task_id=task.task_id,
                    tier=task.models[tier],
                    is_ok=verdict[0],
                    weight=verdict[1],
                    was_first=tier == first,
                    cost_nusd=sum(call.cost_nusd for call in own),
                    difficulty=0.0,
                    at=at,
                    exploration_nusd=exploration_nusd if tier == first else 0,
                )
            )
    return found


def _verdict(
    task: TaskRecord, own: Sequence[CallRecord], *, is_last: bool
) -> tuple[bool, float] | None:
    """Whether a tier did, and how much that says; None for nothing."""
    if not is_last:
        return (False, 1.0) if any(call.accepted is False for call in own) else None
    if task.outcome == "resolved":
        return True, 1.0
    if task.outcome != "answered" or own[-1].status != "ok":
        return None
    if task.reason == CHECK_FAILED:
        return False, 1.0
    return None if task.reason else (True, _ANSWERED_WEIGHT)


def _past(outcome: Outcome, cosine: float) -> PastOutcome:
    return PastOutcome(
        similarity=cosine,
        tier=outcome.tier,
        is_ok=outcome.is_ok,
        weight=outcome.weight,
        was_first=outcome.was_first,
        cost_nusd=outcome.cost_nusd,
        difficulty=outcome.difficulty,
        at=outcome.at,
    )


def _packed(vector: NDArray[np.float32]) -> bytes:
    import numpy as np

    rounded: NDArray[np.int8] = np.clip(np.rint(vector * _STEP), -127, 127).astype(np.int8)
    return bytes(rounded.tobytes())


def _shipped() -> Embedder:
    try:
        from agentkit.tools.provision.embedding import StaticEmbedding
    except ImportError as error:
        raise ExtraMissing(what="a learned route", extra="retrieval") from error
    return StaticEmbedding.shipped()
