"""What a call cost is charged, whichever way it ended, and written down."""

from __future__ import annotations

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.journal import CallRecord, CallStatus
from agentkit.budgets.task import Task
from agentkit.effects import Reply
from agentkit.model_call import Call, Review, message_of
from agentkit.models.provider import classify, describe
from agentkit.models.usage import from_cache, usage_in, usage_of
from agentkit.replay import kept_response


def settle_reply(task: Task, held: HeldCall, call: Call, reply: Reply) -> CallRecord:
    """Charge what an answer took, judge it, and write its record."""
    message = message_of(reply)
    review = call.review(message) if call.review is not None else Review()
    usage = usage_of(message, cache_write=held.plan.cache_write)
    if from_cache(message):
        record = task.release_call(held, error="answered by the model's own cache")
    elif usage is None or (usage.total_tokens == 0 and not call.tier.is_local):
        # ChatAnthropic makes zeros of usage that did not arrive
        was_cut = bool(message.response_metadata.get("babbled"))
        why = "it went in circles and was cut" if was_cut else "the answer carried no usage"
        record = task.forfeit_call(held, status="cut" if was_cut else "ok", error=why)
    else:
        record = task.settle_call(
            held,
            usage,
            tools_called=call.names_called(message),
            confidence=review.confidence,
            accepted=review.accepted,
            reason=review.reason,
            response=kept_response(task, call, held.call_id, message),
        )
    if call.observer is not None:
        call.observer.end_call(record)
    return record


def settle_failure(
    task: Task, held: HeldCall, call: Call, error: BaseException, *, started: bool
) -> None:
    """Charge what a call that failed may have cost, write its record, and tell of it.

    `started` is False where it provably never left.
    """
    record = charge_failure(task, held, call.tier.provider, error, started=started)
    if call.observer is not None:
        call.observer.end_call(record)


def charge_failure(
    task: Task, held: HeldCall, provider: str, error: BaseException, *, started: bool
) -> CallRecord:
    """Charge what a call to `provider` that failed may have cost; gives its record."""
    told = describe(error)
    usage = usage_in(error)
    if usage is not None:
        return task.settle_call(held, usage, status="error", error=told)
    failure = classify(error, provider) if started else "unsent"
    if failure == "unsent":
        return task.release_call(held, error=told)
    if failure == "rejected":
        return task.reject_call(held, error=told)
    status: CallStatus = "error" if isinstance(error, Exception) else "cancelled"
    return task.forfeit_call(held, status=status, error=told)
