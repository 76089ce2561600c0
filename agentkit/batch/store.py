"""Where requests wait: beside the ledger, in memory, in its SQLite file or in its Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from agentkit.batch.item import Batch, BatchItem, BatchState, ItemAnswer, ItemState, QueueSums
from agentkit.budgets.store import Store


class BatchStore(Protocol):
    """Keeps items and batches over the end of every process. Each verb is atomic."""

    def add(self, item: BatchItem, body: bytes) -> BatchItem:
        """Keep a request, unless its id is known: then the one that is."""
        ...

    def item(self, item_id: str) -> BatchItem | None:
        """One request."""
        ...

    def items(
        self,
        *,
        batch_id: str | None = None,
        task_id: str | None = None,
        states: Sequence[ItemState] = (),
        limit: int = 100_000,
    ) -> list[BatchItem]:
        """The requests of a batch, a task, or in one of `states`, in the order of their ids."""
        ...

    def states(self, item_ids: Sequence[str]) -> dict[str, ItemState]:
        """The states of those that are known."""
        ...

    def queues(self) -> list[QueueSums]:
        """What waits, by queue."""
        ...

    def seal(self, batch: Batch, *, most_requests: int, most_bytes: int) -> Batch | None:
        """Move what waits in the queue of `batch` into it, up to both limits, the most urgent
        first; None where nothing waits. The batch is claimed for nobody yet."""
        ...

    def bodies(self, batch_id: str) -> Iterator[tuple[str, bytes]]:
        """The custom ids and requests of what is sent in a batch."""
        ...

    def body(self, item_id: str) -> bytes | None:
        """The request itself."""
        ...

    def batch(self, batch_id: str) -> Batch | None:
        """One batch."""
        ...

    def batches(self, states: Sequence[BatchState] = (), *, limit: int = 1000) -> list[Batch]:
        """The latest batches first, of those in `states`."""
        ...

    def claim(self, batch_id: str, owner: str, *, seconds: float) -> bool:
        """Take or keep the right to go on with a batch; False while another has it."""
        ...

    def put_batch(self, batch: Batch, owner: str) -> bool:
        """Write a batch; False where `owner` has lost its claim, and then nothing is written.

        Whether it is withdrawn stays as `withdraw` left it.
        """
        ...

    def withdraw(self, batch_id: str) -> None:
        """Note that the user wants no more of a batch, whoever has its claim."""
        ...

    def answer(self, batch_id: str, answers: Sequence[ItemAnswer]) -> list[str]:
        """Write what became of requests that are sent in this batch; the others, and those of
        which it is known, stay. `queued` counts an attempt. Gives the ids that were written."""
        ...

    def answer_of(self, item_id: str) -> bytes | None:
        """The stored answer."""
        ...

    def put_item(self, item: BatchItem, answer: bytes | None = None) -> None:
        """Replace a request; its body stays, and its answer where none is given."""
        ...

    def move(self, item_ids: Sequence[str], state: ItemState) -> list[str]:
        """Take requests out of their queue; those that are in none stay. Gives what was moved."""
        ...

    def overdue(self, until: float, *, limit: int = 1000) -> list[str]:
        """Requests in queues whose deadline is before `until`."""
        ...

    def finish(self, item_ids: Sequence[str], *, taken: bool = False) -> None:
        """Note that the money of these is final, and whether the answer was taken.

        What was asked is deleted once it is answered, and the answer once it was taken.
        """
        ...

    def unfinished(self, *, limit: int = 1000) -> list[BatchItem]:
        """Requests of which something has become, whose money is not final."""
        ...

    def counts(self, task_id: str | None = None) -> dict[ItemState, int]:
        """How many requests are in each state."""
        ...

    def forget(self, before: float) -> int:
        """Delete batches that ended before `before`, with all that is in them."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def open_batch_store(store: Store) -> BatchStore:
    """The batch store that lives where `store`, a ledger's, does."""
    from agentkit.budgets.stores.redis import RedisStore
    from agentkit.budgets.stores.sqlite import SqliteStore

    if isinstance(store, RedisStore):
        from agentkit.batch.redis import RedisBatchStore

        return RedisBatchStore(store.address)
    from agentkit.batch.sqlite import SqliteBatchStore

    if isinstance(store, SqliteStore):
        return SqliteBatchStore(store.path, synchronous=store.synchronous)
    return SqliteBatchStore(":memory:")
