"""The money of a request in a batch: settled once, given back where it was not billed.

What is done here needs no running task: any process may find a result and settle it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage

from agentkit.batch.item import HOLDS_MEDIA, BatchItem
from agentkit.budgets.amount import NOTHING, amount_of
from agentkit.budgets.counterfactual import saved_by_prompt_cache
from agentkit.budgets.errors import ReservationUnknown
from agentkit.budgets.journal import CallRecord, PaidResponse
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.scope import scope_chain
from agentkit.budgets.usage import Usage
from agentkit.models.usage import usage_of
from agentkit.replay import packed

_LEASE_SECONDS = 60.0


def settle(ledger: Ledger, item: BatchItem, message: AIMessage) -> bool:
    """Charge what an answer took, at the batch price; True where somebody had done so before."""
    usage = usage_of(message)
    if usage is None:
        return forfeit(ledger, item)
    record = _answered(ledger, item, message, usage)
    response = None
    if item.keeps_response and not _is_kept(ledger, item):
        response = PaidResponse(
            task_id=item.task_id,
            call_id=item.call_id,
            fingerprint=item.fingerprint,
            payload=packed(message),
        )
    return _settle(ledger, item, record, response)


def give_back(ledger: Ledger, item: BatchItem) -> bool:
    """Charge nothing, for the provider has not billed it."""
    return _settle(ledger, item, _unbilled(item))


def charge_again(
    ledger: Ledger, item: BatchItem, message: AIMessage | None, provider_id: str
) -> int:
    """Charge an answer to a request that was sent again meanwhile; gives its nano-USD.

    It was billed, so no limit stops it; without a readable `message`, at the worst case. It is
    charged once for each `provider_id`, that of a batch.
    """
    usage = None if message is None else usage_of(message)
    record = (
        _without_usage(item)
        if message is None or usage is None
        else _answered(ledger, item, message, usage)
    )
    call_id = f"{item.call_id}.{provider_id}"
    again = replace(record, call_id=call_id, saved_nusd={"batch": -record.cost_nusd})
    ledger.reserve(
        call_id, NOTHING, _chain(ledger, item), lease_seconds=_LEASE_SECONDS, dispatched=False
    )  # nothing is never denied
    spent = amount_of(again.usage, cost_nusd=again.cost_nusd) if again.confirmed else item.worst
    end = ledger.settle if again.confirmed else ledger.forfeit
    if end(call_id, spent, call=again).before in ("held", "released"):
        _add_to_task(ledger, again)
    return again.cost_nusd


def _add_to_task(ledger: Ledger, call: CallRecord) -> None:
    """A task that has ended has its sums already."""
    task = ledger.store.task(call.task_id)
    if task is not None and task.ended_at is not None:
        cost = task.cost_nusd + call.cost_nusd
        ledger.store.put_task(replace(task, calls=task.calls + 1, cost_nusd=cost))


def _chain(ledger: Ledger, item: BatchItem) -> Sequence[str]:
    """Where a late charge of a task goes: its own scope as long as that is there, and above."""
    scope = str(item.record["scope"])
    path = f"{scope}/~{item.task_id}"
    if any(each.path == path for each in ledger.store.scopes(path)):
        return (path,) if "/~" in scope else scope_chain(path)
    return scope_chain(scope.partition("/~")[0])


def _is_kept(ledger: Ledger, item: BatchItem) -> bool:
    return any(each.call_id == item.call_id for each in ledger.store.responses(item.task_id))


def _settle(
    ledger: Ledger, item: BatchItem, record: CallRecord, response: PaidResponse | None = None
) -> bool:
    spent = (
        NOTHING
        if record.status == "rejected"
        else amount_of(record.usage, cost_nusd=record.cost_nusd)
    )
    try:
        known = ledger.settle(item.call_id, spent, call=record, response=response)
    except ReservationUnknown:  # it ended so long ago that the store has forgotten it
        return True
    return known.before == "settled"


def forfeit(ledger: Ledger, item: BatchItem) -> bool:
    """Charge the worst case of an answer that does not say what it took."""
    record = _without_usage(item)
    return ledger.forfeit(item.call_id, item.worst, call=record).before == "settled"


def _without_usage(item: BatchItem) -> CallRecord:
    """The worst case, as a record."""
    return replace(
        CallRecord.from_dict(item.record),
        usage=Usage(
            input_tokens=max(0, item.worst.tokens - item.max_output_tokens),
            output_tokens=item.max_output_tokens,
        ),
        cost_nusd=item.worst.nusd,
        confirmed=False,
        error="the answer carried no usage",
    )


def _answered(ledger: Ledger, item: BatchItem, message: AIMessage, usage: Usage) -> CallRecord:
    template = CallRecord.from_dict(item.record)
    price = ledger.prices.batch_price(template.model, template.provider)
    live = ledger.prices.price(template.model, template.provider)
    cost = price.cost_nusd(usage)
    ledger.margins.learn(
        counted_tokens=template.estimated_input_tokens,
        reported_tokens=usage.input_tokens,
        model=template.model,
        provider=template.provider,
        narrows=not item.record.get(HOLDS_MEDIA),
    )
    saved: Mapping[Any, int] = {
        "batch": live.cost_nusd(usage) - cost,
        "prompt_cache": saved_by_prompt_cache(price, usage),
    }
    return replace(
        template,
        usage=usage,
        cost_nusd=cost,
        latency_seconds=max(0.0, ledger.clock() - template.started_at),
        tools_called=tuple(call["name"] for call in message.tool_calls),
        components={**template.components, "output": usage.output_tokens},
        saved_nusd={lever: nusd for lever, nusd in saved.items() if nusd},
    )


def _unbilled(item: BatchItem) -> CallRecord:
    told = item.error or item.state
    return replace(CallRecord.from_dict(item.record), status="rejected", error=f"batch: {told}")
