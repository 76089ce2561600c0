"""The course of one batch: submitted once, looked after, its results stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from agentkit.batch.item import Batch, BatchItem, ItemAnswer, ItemState, attempt_of
from agentkit.batch.policy import BatchPolicy
from agentkit.batch.provider import BatchProvider, Result, Standing
from agentkit.batch.store import BatchStore
from agentkit.budgets.ledger import Ledger
from agentkit.models.provider import classify, describe, retry_after_seconds

_log = logging.getLogger("agentkit.batch")

_RESULTS_A_PAGE = 200
_BACKOFF_SECONDS = (1.0, 300.0)
_HOPELESS = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True, slots=True)
class Office:
    """What a batch is gone on with: the ledger, the store, the rules, and in whose name."""

    ledger: Ledger
    store: BatchStore
    policy: BatchPolicy
    owner: str


def advanced(office: Office, batch: Batch, provider: BatchProvider) -> Batch:
    """Do the next thing for a batch that is claimed; gives it as it stands then."""
    provider_id = batch.provider_id
    if provider_id is None:
        return _submitted(office, batch, provider)
    now = office.ledger.clock()
    standing = provider.look(provider_id)
    batch = replace(batch, answered=standing.done, error=None)
    match standing.state:
        case "working":
            if batch.withdrawn or office.policy.gives_up(batch, now):
                provider.cancel(provider_id)
                return replace(batch, state="cancelling", due_at=now + office.policy.poll_seconds)
            return replace(batch, due_at=office.policy.next_poll(batch, now))
        case "cancelling":
            due = now + office.policy.poll_seconds
            return replace(batch, state="cancelling", due_at=due)
        case "ended":
            return _processed(office, batch, provider, provider.results(provider_id))
        case "failed":
            return _failed(office, batch, standing)


def _submitted(office: Office, batch: Batch, provider: BatchProvider) -> Batch:
    """The batch at its provider, sent at most once."""
    now = office.ledger.clock()
    if batch.tries:
        since = now - (batch.asked_at or now)
        if since < office.policy.uncertain_seconds:
            return replace(batch, due_at=now + office.policy.uncertain_seconds - since)
        found = provider.find(_with_known(office, batch), _knows(office, batch))
        batch = replace(batch, others=found.others)
        if found.ours:
            for extra in found.ours[1:]:
                _log.error("batch %s was accepted twice; %s is cancelled", batch.batch_id, extra)
                provider.cancel(extra)
            return _accepted(office, batch, found.ours[0])
        if found.perhaps:
            return replace(batch, due_at=now + office.policy.poll_seconds)
    if batch.withdrawn or office.policy.gives_up(batch, now):
        return unsent(office, batch)
    batch = _with_money(office, batch)
    if not batch.requests:
        return replace(batch, state="failed", ended_at=now, error="nothing left to send")
    batch = replace(batch, tries=batch.tries + 1, asked_at=now, due_at=now)
    if not office.store.put_batch(batch, office.owner):
        return batch
    try:
        provider_id = provider.submit(batch, office.store.bodies(batch.batch_id))
    except Exception as error:  # noqa: BLE001  whatever an SDK raises is told apart here
        return _not_heard(office, batch, error)
    return _accepted(office, batch, provider_id)


def _accepted(office: Office, batch: Batch, provider_id: str) -> Batch:
    now = office.ledger.clock()
    batch = replace(batch, provider_id=provider_id, state="submitted", submitted_at=now, error=None)
    return replace(batch, due_at=office.policy.next_poll(batch, now))


def _not_heard(office: Office, batch: Batch, error: BaseException) -> Batch:
    """A submission that failed: surely, or perhaps not."""
    now = office.ledger.clock()
    _log.warning("batch %s was not accepted: %s", batch.batch_id, describe(error))
    told = replace(batch, error=describe(error))
    status: object = getattr(error, "status_code", None)
    refused = isinstance(status, int) and 400 <= status < 500
    if not refused and classify(error, "") != "unsent":
        return replace(told, due_at=now + office.policy.uncertain_seconds)
    if status in _HOPELESS:
        return _failed(office, told, Standing(state="failed", error=describe(error)))
    return replace(told, tries=0, due_at=now + wait_seconds(error, now - batch.created_at))


def _with_money(office: Office, batch: Batch) -> Batch:
    """The batch without what nothing is held for; from now on a lost lease is a charge."""
    now = office.ledger.clock()
    items = office.store.items(batch_id=batch.batch_id, states=("sent",))
    lease = max((office.policy.lease_seconds(item.deadline, now) for item in items), default=0.0)
    lost = office.ledger.renew_all([item.call_id for item in items], lease_seconds=lease)
    bare = [
        ItemAnswer(item.item_id, "late", error="nothing was held for it any more")
        for item in items
        if item.call_id in lost
    ]
    if bare:
        office.store.answer(batch.batch_id, bare)
    return replace(batch, requests=len(items) - len(bare))


def _with_known(office: Office, batch: Batch) -> Batch:
    """The batch with those of the provider that are known to be other ones."""
    known = [each.provider_id for each in office.store.batches() if each.provider_id is not None]
    return replace(batch, others=(*batch.others, *known))


def _knows(office: Office, batch: Batch) -> Callable[[str], bool]:
    def is_ours(custom_id: str) -> bool:
        item = office.store.item(attempt_of(custom_id)[0])
        return item is not None and item.batch_id == batch.batch_id

    return is_ours


def _processed(
    office: Office, batch: Batch, provider: BatchProvider, results: Iterator[Result]
) -> Batch:
    """Store each result once, in whatever order they come; the rest was not done."""
    page: list[Result] = []
    for result in results:
        page.append(result)
        if len(page) >= _RESULTS_A_PAGE:
            _take(office, batch, page)
            page = []
    _take(office, batch, page)
    left = office.store.items(batch_id=batch.batch_id, states=("sent",))
    _take(office, batch, [_undone(item) for item in left])
    ended = replace(batch, state="processed", ended_at=office.ledger.clock(), error=None)
    if office.store.put_batch(ended, office.owner):
        try:
            provider.clear(ended)
        except Exception as error:  # noqa: BLE001  it only leaves files behind
            _log.warning("batch %s was not cleared: %s", batch.batch_id, describe(error))
    return ended


def _take(office: Office, batch: Batch, results: Sequence[Result]) -> None:
    answers = [_answer_to(office, batch, result) for result in results]
    office.store.answer(batch.batch_id, [answer for answer in answers if answer is not None])


def _answer_to(office: Office, batch: Batch, result: Result) -> ItemAnswer | None:
    """What a result makes of its request: an answer, another try, a live call, or a refusal."""
    item_id, attempt = attempt_of(result.custom_id)
    if result.ending == "answered":
        return ItemAnswer(item_id, "answered", result.payload)
    if batch.withdrawn and result.ending == "cancelled":
        return ItemAnswer(item_id, "cancelled", error="cancelled by the user")
    if not result.is_transient or attempt + 1 >= office.policy.most_attempts:
        return ItemAnswer(item_id, "refused", error=result.error)
    item = office.store.item(item_id)
    if item is None:
        return None
    if office.policy.goes_live(item.deadline, office.ledger.clock()):
        return ItemAnswer(item_id, "late", error=result.error)
    return ItemAnswer(item_id, "queued", error=result.error)


def _failed(office: Office, batch: Batch, standing: Standing) -> Batch:
    """A batch that was turned down whole; nothing of it is billed.

    Where the provider names the lines that are wrong, the others go into the next batch.
    """
    left = office.store.items(batch_id=batch.batch_id, states=("sent",))
    wrong = set(standing.wrong_lines)
    results = [
        Result(
            custom_id=item.custom_id,
            ending="errored",
            error=standing.error,
            is_transient=standing.is_transient or (bool(wrong) and line not in wrong),
        )
        for line, item in enumerate(left, start=1)
    ]
    _take(office, batch, results)
    return replace(batch, state="failed", ended_at=office.ledger.clock(), error=standing.error)


def unsent(office: Office, batch: Batch) -> Batch:
    """A batch that is given up before it was sent: cancelled by the user, or too late."""
    after: ItemState = "cancelled" if batch.withdrawn else "late"
    left = office.store.items(batch_id=batch.batch_id, states=("sent",))
    answers = [ItemAnswer(item.item_id, after, error="never sent") for item in left]
    office.store.answer(batch.batch_id, answers)
    return replace(batch, state="failed", ended_at=office.ledger.clock(), error="never sent")


def _undone(item: BatchItem) -> Result:
    return Result(
        custom_id=item.custom_id, ending="cancelled", error="without a result", is_transient=True
    )


def wait_seconds(error: BaseException, since: float) -> float:
    """Seconds until the next try: what the provider asks, or the longer the longer it lasts."""
    asked = retry_after_seconds(error)
    if asked is not None:
        return asked
    least, most = _BACKOFF_SECONDS
    return min(max(least, since / 4), most)
