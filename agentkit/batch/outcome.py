"""What becomes of the requests of a batch: by its results, or because it was never worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentkit.batch.item import Batch, ItemAnswer, ItemState, attempt_of
from agentkit.batch.office import Office
from agentkit.batch.provider import Result, Standing


def take(office: Office, batch: Batch, results: Sequence[Result]) -> None:
    """Store each result once."""
    answers = [_answer_to(office, batch, result) for result in results]
    office.store.answer(batch.batch_id, [answer for answer in answers if answer is not None])


def failed(office: Office, batch: Batch, standing: Standing) -> Batch:
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
    take(office, batch, results)
    return replace(batch, state="failed", ended_at=office.ledger.clock(), error=standing.error)


def unsent(office: Office, batch: Batch) -> Batch:
    """A batch that is given up before it was sent: cancelled by the user, or too late."""
    after: ItemState = "cancelled" if batch.withdrawn else "late"
    left = office.store.items(batch_id=batch.batch_id, states=("sent",))
    answers = [ItemAnswer(item.item_id, after, error="never sent") for item in left]
    office.store.answer(batch.batch_id, answers)
    return replace(batch, state="failed", ended_at=office.ledger.clock(), error="never sent")


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
