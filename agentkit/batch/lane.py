"""The batch lane of a ledger: collects what can wait, and goes on with every batch that is open.

Any process that works the lane goes on with what any other has begun. A batch belongs to one
process at a time, by a claim that ends with its process.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentkit.batch.claim import kept_claim
from agentkit.batch.course import advanced
from agentkit.batch.item import ENDED_BATCHES, OPEN_BATCHES, Batch, BatchItem, ItemState, QueueSums
from agentkit.batch.money import forfeit, give_back, settle
from agentkit.batch.office import Office, wait_seconds
from agentkit.batch.policy import COMPLETION_SECONDS, BatchPolicy
from agentkit.batch.provider import BatchProvider
from agentkit.batch.providers import message_of, provider_of
from agentkit.batch.seeding import Seeded, balance
from agentkit.batch.store import BatchStore, open_batch_store
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.scope import scope_chain
from agentkit.models.provider import describe

if TYPE_CHECKING:
    from agentkit.budgets.ledger import Ledger
    from agentkit.models.tier import Tier

_log = logging.getLogger("agentkit.batch")

_RESTING_SECONDS = 5.0
_WAITED_SECONDS = 1.0
_FORGETTING_SECONDS = 3_600.0
_CLAIM_PAUSE_SECONDS = 0.1
_CLAIM_PATIENCE_SECONDS = 5.0

_lanes_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where what waits stands, by number of requests; for a line on a screen."""

    queued: int
    sent: int
    answered: int
    refused: int
    late: int
    cancelled: int

    @property
    def is_done(self) -> bool:
        """True once something has become of every request."""
        return not self.queued and not self.sent


OnProgress = Callable[[Progress], None]


class BatchLane:
    """What can wait, from its queue to its settlement. Safe from many threads and processes."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        policy: BatchPolicy | None = None,
        store: BatchStore | None = None,
        providers: Sequence[BatchProvider] = (),
    ) -> None:
        """The lane of `ledger`, from now on. `providers` are added to those of the agents' models.

        Raises StoreError where the ledger's store cannot keep batches.
        """
        self.ledger = ledger
        self.policy = policy or BatchPolicy()
        known = _known_lane(ledger)
        self.store: BatchStore = store or (
            open_batch_store(ledger.store) if known is None else known.store
        )
        self.crowd: Callable[[], int] | None = None
        self._providers = {provider.account: provider for provider in providers}
        self._by_model: dict[int, tuple[object, BatchProvider | None]] = {}
        self._office = Office(
            ledger=ledger,
            store=self.store,
            policy=self.policy,
            owner=f"{os.getpid()}-{secrets.token_hex(6)}",
        )
        self._waiting: dict[str, Future[BatchItem]] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._next_forgetting = 0.0
        self._hurried: set[str] = set()
        self._next_doubts = 0.0
        ledger.lane = self

    def provider(self, tier: Tier) -> BatchProvider | None:
        """The batch API of a tier; None where it has none."""
        known = self._by_model.get(id(tier.model))
        if known is None or known[0] is not tier.model:
            found = provider_of(tier)
            if found is not None:
                found = self._providers.setdefault(found.account, found)
            known = self._by_model[id(tier.model)] = (tier.model, found)
        return known[1]

    def add_provider(self, provider: BatchProvider) -> None:
        """Work for this account too."""
        self._providers.setdefault(provider.account, provider)

    def works_for(self, batch: Batch) -> bool:
        """True where this process has a client for the account of a batch."""
        return account_of(batch.queue) in self._providers

    def collect(self, item: BatchItem, body: bytes) -> BatchItem:
        """Put a request into its queue, unless it is known."""
        kept = self.store.add(item, body)
        self._rouse()
        return kept

    def awaited(self, item: BatchItem) -> Future[BatchItem]:
        """The item once something has become of it; a thread of this process sees to it."""
        with self._wake:
            future = self._waiting.setdefault(item.item_id, _pending())
            if not item.is_open and not future.done():
                future.set_result(item)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="agentkit-batches", daemon=True
                )
                self._thread.start()
            self._wake.notify_all()
        return future

    def leave(self, item_id: str) -> None:
        """Nobody waits for it any more in this process."""
        with self._wake:
            self._waiting.pop(item_id, None)

    @property
    def waiting(self) -> int:
        """How many requests are waited for in this process."""
        with self._wake:
            return sum(not future.done() for future in self._waiting.values())

    def progress(self, task_id: str | None = None) -> Progress:
        """How many requests, of a task or in all, are where."""
        counts = self.store.counts(task_id)
        return Progress(
            queued=counts.get("queued", 0),
            sent=counts.get("sent", 0),
            answered=counts.get("answered", 0),
            refused=counts.get("refused", 0),
            late=counts.get("late", 0),
            cancelled=counts.get("cancelled", 0),
        )

    def tick(self, *, flush: bool = False) -> float:
        """Do once all that is due; gives the seconds until something is again.

        With `flush` all that waits is sent now.
        """
        with self._turn:
            self._finish()
            self._drop_overdue()
            self._seal(flush=flush)
            now = self.ledger.clock()
            due: list[float] = [now + _RESTING_SECONDS]
            due += [self._go_on(batch) for batch in self.store.batches(OPEN_BATCHES)]
            self._settle_doubts(now)
            self._finish()
            due += [
                queue.oldest_at + self.policy.most_age_seconds
                for queue in self.store.queues()
                if account_of(queue.queue) in self._providers
            ]
            self._tell_waiters()
            self._forget(now)
            return max(0.0, min(due) - self.ledger.clock())

    def seeded(self, scope: str | None = None, since: float | None = None) -> Seeded:
        """What seeding has cost and saved at or below `scope`, since a Unix time."""
        return balance(self.ledger, JournalFilter(scope=scope, since=since))

    def flush(self) -> list[Batch]:
        """Send all that waits now; gives the batches that are open."""
        self.tick(flush=True)
        return self.store.batches(OPEN_BATCHES)

    def look_now(self, batch_id: str) -> Batch | None:
        """Ask the provider about a batch before that is due, as when its end was announced.

        Waits up to five seconds for a process that is at it. Gives the batch as it stands then,
        None where it is not open.
        """
        batch = self.store.batch(batch_id)
        if batch is None or batch.state not in OPEN_BATCHES:
            return None
        until = time.monotonic() + _CLAIM_PATIENCE_SECONDS
        self._hurried.add(batch_id)
        self.tick()
        while batch_id in self._hurried and time.monotonic() < until:
            time.sleep(_CLAIM_PAUSE_SECONDS)
            self.tick()
        self._hurried.discard(batch_id)
        return self.store.batch(batch_id)

    def cancel(self, batch_id: str) -> Batch | None:
        """End a batch. What is done by then is billed and kept; None where it is not open."""
        batch = self.store.batch(batch_id)
        if batch is None or batch.state not in OPEN_BATCHES:
            return None
        self.store.withdraw(batch_id)
        self.tick()
        return self.store.batch(batch_id)

    def retry(self, batch_id: str) -> int:
        """Queue again what a job's batch did not answer, for a day at least; gives how many.

        Raises BudgetExceeded where its worst case does not fit any more.
        """
        now = self.ledger.clock()
        states: tuple[ItemState, ...] = ("refused", "late", "cancelled")
        queued = 0
        for item in self.store.items(batch_id=batch_id, states=states):
            if item.taken or not item.closed:
                continue
            deadline = max(item.deadline, now + COMPLETION_SECONDS)
            again = replace(
                item,
                call_id=f"{item.call_id}.r{item.attempts + 1}",
                state="queued",
                batch_id=None,
                attempts=item.attempts + 1,
                queued_at=now,
                deadline=deadline,
                error=None,
                closed=False,
            )
            self.ledger.reserve(
                again.call_id,
                again.worst,
                scope_chain(str(item.record["scope"])),
                lease_seconds=self.policy.lease_seconds(deadline, now),
                dispatched=False,
            )
            self.store.put_item(replace(again, record={**item.record, "call_id": again.call_id}))
            queued += 1
        return queued

    # Collecting.

    def _seal(self, *, flush: bool) -> None:
        crowd = self.crowd
        everybody_waits = crowd is not None and self.waiting >= crowd() > 0
        now = self.ledger.clock()
        for waiting in self.store.queues():
            queue = waiting
            provider = self._providers.get(account_of(queue.queue))
            if provider is None:
                continue
            now_or_never = flush or everybody_waits or self.policy.is_due(queue, now)
            while queue.requests and (now_or_never or self.policy.is_full(queue)):
                if self._seal_queue(queue, provider) is None:
                    break
                queue = _rest(self.store, queue)

    def _seal_queue(self, queue: QueueSums, provider: BatchProvider) -> Batch | None:
        return self.store.seal(
            Batch(
                batch_id=f"agentkit-{secrets.token_hex(8)}",
                queue=queue.queue,
                endpoint=queue.endpoint,
                created_at=self.ledger.clock(),
            ),
            most_requests=min(self.policy.most_requests, provider.limits.requests),
            most_bytes=min(self.policy.most_bytes, provider.limits.size_bytes),
        )

    def _drop_overdue(self) -> None:
        """What a batch would not answer in time goes live."""
        until = self.ledger.clock() + self.policy.live_seconds + self.policy.usual_seconds
        self.store.move(self.store.overdue(until), "late")

    # Going on with a batch.

    def _go_on(self, batch: Batch) -> float:
        """The next thing that is due for a batch; gives when the one after that is."""
        now = self.ledger.clock()
        ends_now = batch.withdrawn and batch.state == "submitted"
        at_once = ends_now or batch.batch_id in self._hurried
        if batch.due_at > now and not at_once:
            return batch.due_at
        provider = self._providers.get(account_of(batch.queue))
        if provider is None or not self._claim(batch):
            return now + self.policy.claim_seconds / 2
        self._hurried.discard(batch.batch_id)
        batch = self.store.batch(batch.batch_id) or batch
        is_done = batch.state not in OPEN_BATCHES and not batch.may_be_doubled(now)
        if is_done or (batch.due_at > now and not at_once):
            return max(batch.due_at, now)
        with kept_claim(self._office, batch):
            try:
                batch = advanced(self._office, batch, provider)
            except Exception as error:  # noqa: BLE001  whatever an SDK raises: other batches go on
                _log.warning("batch %s: %s", batch.batch_id, describe(error))
                since = now - (batch.submitted_at or batch.created_at)
                known = self.store.batch(batch.batch_id) or batch
                due = now + wait_seconds(error, since)
                batch = replace(known, due_at=due, error=describe(error))
            self.store.put_batch(batch, self._office.owner)
        return batch.due_at if batch.state in OPEN_BATCHES else now + _RESTING_SECONDS

    def _settle_doubts(self, now: float) -> None:
        """Look for second ones of batches that have ended."""
        if now < self._next_doubts:
            return
        self._next_doubts = now + self.policy.poll_seconds
        for batch in self.store.batches(ENDED_BATCHES):
            if batch.may_be_doubled(now):
                self._go_on(batch)

    def _finish(self) -> None:
        """Make the money final of requests that nobody in this process waits for."""
        while unfinished := self.store.unfinished():
            mine = [item for item in unfinished if item.item_id not in self._waiting]
            before = {item.item_id: self._settled(item) and item.keeps_response for item in mine}
            for taken in (False, True):
                ids = [item_id for item_id, known in before.items() if known is taken]
                self.store.finish(ids, taken=taken)
            if not mine:
                return

    def _settled(self, item: BatchItem) -> bool:
        """Settle an item; True where that had been done before."""
        payload = self.store.answer_of(item.item_id) if item.state == "answered" else None
        if payload is None:
            return give_back(self.ledger, item)
        try:
            message = message_of(item.endpoint, payload)
        except Exception as error:  # noqa: BLE001  an answer that cannot be read was paid for all the same
            _log.error("the answer to %s cannot be read: %s", item.item_id, describe(error))
            return forfeit(self.ledger, item)
        return settle(self.ledger, item, message)

    # Waiting.

    def _forget(self, now: float) -> None:
        if now >= self._next_forgetting:
            self._next_forgetting = now + _FORGETTING_SECONDS
            self.store.forget(now - self.policy.keep_seconds)

    def _tell_waiters(self) -> None:
        with self._wake:
            open_ids = [name for name, future in self._waiting.items() if not future.done()]
        for item_id, state in self.store.states(open_ids).items():
            if state in ("queued", "sent"):
                continue
            item = self.store.item(item_id)
            with self._wake:
                future = self._waiting.get(item_id)
                if item is not None and future is not None and not future.done():
                    future.set_result(item)

    def _work(self) -> None:
        """Work the lane as long as somebody in this process waits."""
        while True:
            with self._wake:
                if not self._waiting:
                    self._thread = None
                    return
            try:
                wait = min(self.tick(), self._patience())
            except Exception:  # noqa: BLE001  a store that is down for a while: the next turn tries again
                _log.exception("the batch lane failed; it goes on in %.0f s", _RESTING_SECONDS)
                wait = _RESTING_SECONDS
            with self._wake:
                if wait > 0:
                    self._wake.wait(wait)

    def _patience(self) -> float:
        """Seconds after which to look whether everybody waits, or another process has answers."""
        return min(_WAITED_SECONDS, self.policy.poll_seconds)

    def _rouse(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _claim(self, batch: Batch) -> bool:
        seconds = self.policy.claim_seconds
        return self.store.claim(batch.batch_id, self._office.owner, seconds=seconds)


def lane_of(ledger: Ledger) -> BatchLane:
    """The lane of a ledger: the one that was made for it, or one by the default policy."""
    with _lanes_lock:
        return _known_lane(ledger) or BatchLane(ledger)


def _known_lane(ledger: Ledger) -> BatchLane | None:
    return ledger.lane if isinstance(ledger.lane, BatchLane) else None


def _pending() -> Future[BatchItem]:
    """A future that a waiter who leaves does not cancel for the others."""
    future: Future[BatchItem] = Future()
    future.set_running_or_notify_cancel()
    return future


def queue_name(account: str, endpoint: str, model: str) -> str:
    """What may share a batch, as one name."""
    return f"{account}|{endpoint}|{model}"


def account_of(queue: str) -> str:
    """The account that a queue belongs to."""
    return queue.partition("|")[0]


def _rest(store: BatchStore, queue: QueueSums) -> QueueSums:
    """What is left of a queue after a batch was taken out."""
    left = [each for each in store.queues() if each.queue == queue.queue]
    return left[0] if left else queue._replace(requests=0, size_bytes=0)
