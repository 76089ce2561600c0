"""A paid call that waits for a batch instead of being sent at once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from agentkit.batch.item import HOLDS_MEDIA, BatchItem
from agentkit.batch.lane import BatchLane, lane_of, queue_name
from agentkit.batch.provider import BatchProvider, BatchRefused, CannotBatch
from agentkit.batch.providers import message_of
from agentkit.batch.seeding import can_be_seeded
from agentkit.batch.waiting import deadline_of
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.journal import CallRecord
from agentkit.budgets.task import Task
from agentkit.effects import Blocking, Invoke, Reply, Work
from agentkit.model_call import Call
from agentkit.models.tier import cache_write_asked
from agentkit.replay import fingerprint
from agentkit.settling import settle_reply

_NAME_DIGITS = 32
_ID_DIGITS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A call whose money is held and whose request waits."""

    lane: BatchLane
    item: BatchItem
    held: HeldCall


def batched_call(task: Task, call: Call, plan: CallPlan) -> Work[tuple[Reply, CallRecord] | None]:
    """Carry out `call` in a batch, at the batch price; None where it has to be made live.

    Raises BudgetExceeded and DeadlineExceeded before it is queued, BatchRefused where the provider
    turns the request down. Where the wait is broken off, the request stays where it is: its answer
    is paid for when it comes, and found by a task that is resumed.
    """
    ticket: Ticket | None = yield Blocking(partial(_ticket, task, call, plan), True)
    if ticket is None:
        return None
    lane, held = ticket.lane, ticket.held
    if call.observer is not None:
        call.observer.begin_call(held)
    future = lane.awaited(ticket.item)
    try:
        item: BatchItem = yield Invoke(
            cast("Callable[[], Any]", future.result), partial(_afuture, future)
        )
        ending = partial(_ended, task, call, ticket, item)
        outcome: tuple[Reply, CallRecord] | None = yield Blocking(ending, True)
    finally:
        lane.leave(ticket.item.item_id)
    if item.state in ("refused", "cancelled"):
        raise BatchRefused(item.error or item.state)
    return outcome


def item_id_of(task_id: str, name: str) -> str:
    """The id of a request, the same in every process that asks it for this task."""
    return hashlib.sha256(f"{task_id} {name}".encode()).hexdigest()[:_ID_DIGITS]


def batch_plan(
    task: Task, call: Call, plan: CallPlan, lane: BatchLane, deadline: float
) -> CallPlan:
    """`plan` at the price of a batch, its money held until long after the deadline.

    Where a prefix may be seeded for it, what is held covers that it writes the prefix anew.
    """
    price = task.ledger.prices.batch_price(plan.price.model, plan.price.provider)
    lease = lane.policy.lease_seconds(deadline, task.ledger.clock())
    writes = cache_write_asked(call.messages, call.kwargs)  # without those that a live send sets
    if writes == "none" and lane.policy.seeds and can_be_seeded(plan):
        writes = "1h"
    return replace(plan, price=price, live=plan.price, lease_seconds=lease, cache_write=writes)


def queued(
    task: Task,
    call: Call,
    plan: CallPlan,
    *,
    name: str,
    deadline: float,
    lane: BatchLane,
    provider: BatchProvider,
    key: str = "",
) -> Ticket:
    """Hold the money of a call and put its request into its queue. Raises CannotBatch."""
    held = task.hold_waiting(plan, name)
    tier = call.tier
    arguments = {**call.kwargs, tier.rules.output_limit: held.max_output_tokens}
    try:
        wire = provider.wire(tier.model, list(call.messages), arguments)
    except CannotBatch:
        task.ledger.release(held.call_id)
        raise
    record = held.record(
        task_id=task.task_id, scope=task.scope, tags=task.tags, status="ok", error=None
    )
    item = BatchItem(
        item_id=item_id_of(task.task_id, name),
        call_id=held.call_id,
        task_id=task.task_id,
        queue=queue_name(provider.account, wire.endpoint, tier.name),
        endpoint=wire.endpoint,
        fingerprint=fingerprint(call),
        queued_at=task.ledger.clock(),
        deadline=deadline,
        size_bytes=len(wire.body),
        worst=held.worst,
        max_output_tokens=held.max_output_tokens,
        record={**record.to_dict(), HOLDS_MEDIA: plan.holds_media},
        key=key,
        keeps_response=task.responses.are_kept,
    )
    return Ticket(lane=lane, item=lane.collect(item, wire.body), held=held)


def _ticket(task: Task, call: Call, plan: CallPlan) -> Ticket | None:
    """The call's place in the lane: where an earlier process left it, or a new one."""
    deadline = deadline_of(task)
    if deadline is None or call.purpose == "landing" or call.tier.is_local:
        return None
    lane = lane_of(task.ledger)
    provider = lane.provider(call.tier)
    if provider is None:
        return None
    plan = batch_plan(task, call, plan, lane, deadline)
    base = fingerprint(call)[:_NAME_DIGITS]
    for run in itertools.count(1):
        name = base if run == 1 else f"{base}.{run}"
        known = lane.store.item(item_id_of(task.task_id, name))
        if known is not None and known.taken:
            continue
        if known is not None:
            return Ticket(lane=lane, item=known, held=_held_again(task, plan, known))
        if lane.policy.goes_live(deadline, task.ledger.clock()):
            return None
        try:
            return queued(
                task, call, plan, name=name, deadline=deadline, lane=lane, provider=provider
            )
        except CannotBatch:
            return None
    raise AssertionError("unreachable: the count of runs has no end")


def _held_again(task: Task, plan: CallPlan, item: BatchItem) -> HeldCall:
    """What an earlier process held for a request that is still under way."""
    index = int(item.record.get("index", 0))
    held = task.waiting_call(item.call_id, index, plan, item.worst, item.max_output_tokens)
    since = max(0.0, task.ledger.clock() - item.queued_at)
    return replace(held, started_at=item.queued_at, started_clock=held.started_clock - since)


def _ended(
    task: Task, call: Call, ticket: Ticket, item: BatchItem
) -> tuple[Reply, CallRecord] | None:
    """Settle what has become of a request; None where it was not answered."""
    payload = ticket.lane.store.answer_of(item.item_id) if item.state == "answered" else None
    outcome: tuple[Reply, CallRecord] | None = None
    if payload is None:
        record = task.reject_call(ticket.held, error=f"batch: {item.error or item.state}")
        if call.observer is not None:
            call.observer.end_call(record)
    else:
        message = message_of(item.endpoint, payload, call.tier.model)
        outcome = message, settle_reply(task, ticket.held, call, message)
    ticket.lane.store.finish([item.item_id], taken=True)
    return outcome


async def _afuture(future: Future[BatchItem]) -> BatchItem:
    return await asyncio.wrap_future(future)
