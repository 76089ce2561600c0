"""A batch on its way to its provider: sent at most once, whatever is lost on the way.

That it is tried is written down before. Where no answer came, the provider is asked whether it has
arrived, and it is sent again only when the first one cannot arrive any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from agentkit.batch.item import Batch, BatchItem, ItemAnswer, attempt_of
from agentkit.batch.office import Office, wait_seconds
from agentkit.batch.outcome import failed, unsent
from agentkit.batch.provider import BatchProvider, Standing
from agentkit.batch.seeding import as_sent, seed
from agentkit.models.provider import classify, describe

_log = logging.getLogger("agentkit.batch")

_HOPELESS = frozenset({400, 413, 422})


def submitted(office: Office, batch: Batch, provider: BatchProvider) -> Batch:
    """The batch at its provider, or as it stands until the next try."""
    now = office.ledger.clock()
    if batch.tries:
        batch, is_settled = _looked_for(office, batch, provider)
        if not is_settled:
            return batch
    if batch.withdrawn or office.policy.gives_up(batch, now):
        return unsent(office, batch)
    items = _with_money(office, batch)
    batch = replace(batch, requests=len(items))
    if not items:
        return replace(batch, state="failed", ended_at=now, error="nothing left to send")
    batch, reading = seed(office, batch, provider, items)
    return _sent(office, batch, provider, reading)


def _looked_for(office: Office, batch: Batch, provider: BatchProvider) -> tuple[Batch, bool]:
    """What has come of an uncertain submission; True where nothing has, and nothing can."""
    now = office.ledger.clock()
    since = now - (batch.asked_at or now)
    if since < office.policy.uncertain_seconds:
        return replace(batch, due_at=now + office.policy.uncertain_seconds - since), False
    batch, is_known = _found(office, batch, provider)
    if is_known:
        return batch, False
    if provider.recall(batch):
        batch, is_known = _found(office, batch, provider)  # it may have come just before
        return replace(batch, input_file=None), not is_known
    is_lost = since >= office.policy.late_seconds or office.policy.gives_up(batch, now)
    return replace(batch, due_at=now + office.policy.poll_seconds), is_lost


def _found(office: Office, batch: Batch, provider: BatchProvider) -> tuple[Batch, bool]:
    """Look for a batch at its provider; True where it is there, or may be."""
    found = office.find(batch, provider, _knows(office, batch))
    batch = replace(batch, others=found.others)
    if found.ours:
        tries = max(batch.tries, len(found.ours))
        return _accepted(office, replace(batch, tries=tries), found.ours[0]), True
    due = office.ledger.clock() + office.policy.poll_seconds
    return replace(batch, due_at=due), bool(found.perhaps)


def _sent(office: Office, batch: Batch, provider: BatchProvider, reading: frozenset[str]) -> Batch:
    """Send a batch of which nothing is under way; `reading` is who asks for what was seeded."""

    def lines() -> Iterator[tuple[str, bytes]]:
        return as_sent(provider, office.store.bodies(batch.batch_id), reading)

    try:
        input_file = provider.upload(batch, lines())
    except Exception as error:  # noqa: BLE001  whatever an SDK raises: no batch was made of it
        return _turned_down(office, batch, error)
    now = office.ledger.clock()
    asked = replace(batch, input_file=input_file, tries=batch.tries + 1, asked_at=now, due_at=now)
    if not office.store.put_batch(asked, office.owner):  # another goes on with it
        provider.recall(asked)
        return batch
    try:
        provider_id = provider.submit(asked, lines())
    except Exception as error:  # noqa: BLE001  whatever an SDK raises is told apart here
        if _may_have_arrived(error):
            _log.warning("batch %s may not have arrived: %s", batch.batch_id, describe(error))
            due = office.ledger.clock() + office.policy.uncertain_seconds
            return replace(asked, due_at=due, error=describe(error))
        if not office.store.put_batch(asked, office.owner):
            return batch  # another goes on with it, and has made this one void
        _recalled(asked, provider)
        return _turned_down(office, batch, error)
    return _accepted(office, asked, provider_id)


def _accepted(office: Office, batch: Batch, provider_id: str) -> Batch:
    now = office.ledger.clock()
    batch = replace(batch, provider_id=provider_id, state="submitted", submitted_at=now, error=None)
    return replace(batch, due_at=office.policy.next_poll(batch, now))


def _may_have_arrived(error: BaseException) -> bool:
    status: object = getattr(error, "status_code", None)
    refused = isinstance(status, int) and 400 <= status < 500
    return not refused and classify(error, "") != "unsent"


def _turned_down(office: Office, batch: Batch, error: BaseException) -> Batch:
    """A submission that surely did not arrive; `batch` is as it was before it."""
    _log.warning("batch %s was not accepted: %s", batch.batch_id, describe(error))
    if getattr(error, "status_code", None) in _HOPELESS:
        return failed(office, batch, Standing(state="failed", error=describe(error)))
    now = office.ledger.clock()
    due = now + wait_seconds(error, now - batch.created_at)
    return replace(batch, due_at=due, error=describe(error))


def _recalled(batch: Batch, provider: BatchProvider) -> None:
    """Delete what was uploaded for nothing."""
    try:
        provider.recall(batch)
    except Exception as error:  # noqa: BLE001  it only leaves a file behind
        _log.warning("batch %s left a file behind: %s", batch.batch_id, describe(error))


def _with_money(office: Office, batch: Batch) -> list[BatchItem]:
    """The requests that something is held for; from now on a lost lease is a charge."""
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
    return [item for item in items if item.call_id not in lost]


def _knows(office: Office, batch: Batch) -> Callable[[str], bool]:
    def is_ours(custom_id: str) -> bool:
        item = office.store.item(attempt_of(custom_id)[0])
        return item is not None and item.batch_id == batch.batch_id

    return is_ours
