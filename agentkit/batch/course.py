"""The course of one batch: submitted once, looked after, its results stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from agentkit.batch.item import OPEN_BATCHES, Batch, BatchItem
from agentkit.batch.office import Office
from agentkit.batch.outcome import failed, take
from agentkit.batch.provider import BatchProvider, Result
from agentkit.batch.strays import without_strays
from agentkit.batch.submission import submitted
from agentkit.models.provider import describe

_log = logging.getLogger("agentkit.batch")

_RESULTS_A_PAGE = 200


def advanced(office: Office, batch: Batch, provider: BatchProvider) -> Batch:
    """Do the next thing for a batch that is claimed; gives it as it stands then."""
    now = office.ledger.clock()
    if batch.may_be_doubled(now):
        batch = without_strays(office, batch, provider)
    if batch.state not in OPEN_BATCHES:
        return replace(batch, due_at=office.policy.next_look(batch, now))
    provider_id = batch.provider_id
    if provider_id is None:
        return submitted(office, batch, provider)
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
            recalled = batch.input_file is None and not standing.wrong_lines
            transient = standing.is_transient or recalled
            return failed(office, batch, replace(standing, is_transient=transient))


def _processed(
    office: Office, batch: Batch, provider: BatchProvider, results: Iterator[Result]
) -> Batch:
    """Store each result once, in whatever order they come; the rest was not done."""
    page: list[Result] = []
    for result in results:
        page.append(result)
        if len(page) >= _RESULTS_A_PAGE:
            take(office, batch, page)
            page = []
    take(office, batch, page)
    left = office.store.items(batch_id=batch.batch_id, states=("sent",))
    take(office, batch, [_undone(item) for item in left])
    ended = replace(batch, state="processed", ended_at=office.ledger.clock(), error=None)
    if office.store.put_batch(ended, office.owner):
        try:
            provider.clear(ended)
        except Exception as error:  # noqa: BLE001  it only leaves files behind
            _log.warning("batch %s was not cleared: %s", batch.batch_id, describe(error))
    return ended


def _undone(item: BatchItem) -> Result:
    return Result(
        custom_id=item.custom_id, ending="cancelled", error="without a result", is_transient=True
    )
