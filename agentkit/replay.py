"""Answers that were paid for are not paid for again when a graph is resumed.

Each answer is stored with its settlement, under a fingerprint of its request, until the task ends.
A graph that died after the model answered runs its node anew; the same request then gets the stored
answer, at no cost. An answer whose charge was lost on the way is settled from its own usage.
"""

from __future__ import annotations

import hashlib
import json

from langchain_core.messages import AIMessage, ToolMessage

from agentkit.budgets.journal import CallRecord, PaidResponse
from agentkit.budgets.task import Task
from agentkit.checkpoint import strict_serializer
from agentkit.model_call import Call
from agentkit.models.beside import text_beside
from agentkit.models.usage import usage_of

_SERIALIZER = strict_serializer()


def fingerprint(call: Call) -> str:
    """A name for what `call` asks, the same in every process."""
    digest = hashlib.sha256()

    def take(*parts: object) -> None:
        digest.update(json.dumps(parts, default=str, sort_keys=True).encode())

    take(call.tier.label, call.tier.index, call.purpose, len(call.messages), list(call.tools))
    beside = text_beside(call.kwargs)
    if beside:
        take(beside)
    for message in call.messages:
        take(message.type, message.content, message.name)
        if isinstance(message, AIMessage):
            take([(each["name"], each["args"]) for each in message.tool_calls])
        if isinstance(message, ToolMessage):
            take(message.tool_call_id, message.status)
    return digest.hexdigest()


def kept_response(task: Task, call: Call, call_id: str, message: AIMessage) -> PaidResponse | None:
    """What is stored of an answer; None where the task keeps none."""
    if not task.responses.are_kept:
        return None
    return PaidResponse(
        task_id=task.task_id,
        call_id=call_id,
        fingerprint=fingerprint(call),
        payload=packed(message),
    )


def packed(message: AIMessage) -> bytes:
    """An answer as it is stored."""
    kind, payload = _SERIALIZER.dumps_typed(message)
    return kind.encode() + b"\n" + payload


def unpacked(stored: bytes) -> AIMessage | None:
    """An answer read back; None where it is none."""
    kind, _, payload = stored.partition(b"\n")
    message = _SERIALIZER.loads_typed((kind.decode(), payload))
    return message if isinstance(message, AIMessage) else None


def replayed(task: Task, call: Call) -> tuple[AIMessage, CallRecord] | None:
    """The stored answer to the same request of a resumed task; each one is given once."""
    if not task.responses.any_left:
        return None
    kept = task.responses.take(fingerprint(call))
    if kept is None:
        return None
    message = unpacked(kept.payload)
    if message is None:
        return None
    record = task.recover_call(kept.call_id, usage_of(message), call.tier.name, call.tier.provider)
    if record is None:
        return None
    task.note("replayed", "a stored answer was used again, at no cost", step=call.step)
    return message, record
