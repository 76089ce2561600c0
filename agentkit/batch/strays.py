"""Submissions that arrived after they were taken for lost: cancelled, and charged for.

A batch of which more was tried than is known may be at its provider twice. What is found there
besides it is ended at once; what it had answered by then was billed, so it is charged beyond any
limit, and told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from langchain_core.messages import AIMessage

from agentkit.batch.item import Batch, BatchItem, attempt_of
from agentkit.batch.money import charge_again
from agentkit.batch.office import Office
from agentkit.batch.provider import BatchProvider
from agentkit.batch.providers import message_of
from agentkit.budgets.journal import EventRecord
from agentkit.models.provider import describe

_log = logging.getLogger("agentkit.batch")


def without_strays(office: Office, batch: Batch, provider: BatchProvider) -> Batch:
    """The batch, once all that is seen of its lost submissions was cancelled or charged."""
    found = office.find(batch, provider, _asked_before(office, batch))
    done = [
        stray
        for stray in found.ours
        if stray != batch.provider_id and _ended(office, batch, provider, stray)
    ]
    return replace(batch, others=(*found.others, *done))


def _asked_before(office: Office, batch: Batch) -> Callable[[str], bool]:
    """Whether a custom id is of this batch, or of an attempt that is over."""

    def is_ours(custom_id: str) -> bool:
        item_id, attempt = attempt_of(custom_id)
        item = office.store.item(item_id)
        return item is not None and (item.batch_id == batch.batch_id or attempt < item.attempts)

    return is_ours


def _ended(office: Office, batch: Batch, provider: BatchProvider, stray: str) -> bool:
    """Go on with a stray; True once it is charged."""
    standing = provider.look(stray)
    match standing.state:
        case "working":
            _log.error("batch %s arrived a second time; %s is cancelled", batch.batch_id, stray)
            provider.cancel(stray)
            return False
        case "cancelling":
            return False
        case "failed":
            return True
        case "ended":
            _charge(office, batch, provider, stray)
            return True


def _charge(office: Office, batch: Batch, provider: BatchProvider, stray: str) -> None:
    cost: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for result in provider.results(stray):
        if result.ending != "answered":
            continue
        item = office.store.item(attempt_of(result.custom_id)[0])
        if item is None:
            _log.error("%s answered %s, which is forgotten here", stray, result.custom_id)
            continue
        message = _message(item, result.payload)
        cost[item.task_id] += charge_again(office.ledger, item, message, stray)
        answers[item.task_id] += 1
    _tell(office, batch, stray, answers, cost)
    try:
        provider.clear(replace(batch, provider_id=stray))
    except Exception as error:  # noqa: BLE001  it only leaves files behind
        _log.warning("batch %s was not cleared: %s", stray, describe(error))


def _message(item: BatchItem, payload: bytes) -> AIMessage | None:
    try:
        return message_of(item.endpoint, payload)
    except Exception as error:  # noqa: BLE001  an answer that cannot be read was paid for all the same
        _log.error("the answer to %s cannot be read: %s", item.item_id, describe(error))
        return None


def _tell(
    office: Office, batch: Batch, stray: str, answers: Mapping[str, int], cost: Mapping[str, int]
) -> None:
    for task_id, count in answers.items():
        _log.error("batch %s was billed twice for task %s", batch.batch_id, task_id)
        office.ledger.add_event(
            EventRecord(
                task_id=task_id,
                at=office.ledger.clock(),
                kind="billed_twice",
                text=f"{count} answers were billed twice: a submission arrived after it was "
                "taken for lost",
                data={"batch": batch.batch_id, "stray": stray, "cost_nusd": cost[task_id]},
            )
        )
