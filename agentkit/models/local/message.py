"""A generated answer as LangChain's messages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from agentkit.models.local.dialect import Answer
from agentkit.models.local.generation import Generated
from agentkit.models.local.sampling import Choice

_SCALAR = re.compile(
    r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\btrue\b|\bfalse\b|\bnull\b'
)
"""A text, number or literal of JSON; `key` where it names a member."""
_NAMES = frozenset({"name", "tool_name", "function"})


def as_message(
    answer: Answer,
    generated: Generated | None,
    *,
    model: str,
    usage: UsageMetadata,
    floor: float | None,
) -> AIMessage:
    """The message with its usage, why it ended, and how sure the model was."""
    reason = generated.finish_reason if generated is not None else "stop"
    metadata: dict[str, Any] = {
        "model_name": model,
        "model_provider": "llama.cpp",
        "finish_reason": "tool_calls" if answer.tool_calls and reason == "stop" else reason,
        **answer.metadata,
    }
    if generated is not None and generated.babbled:
        metadata["babbled"] = True
    if generated is not None and generated.choices:
        metadata["logprobs"] = _logprobs(generated, floor)
    return AIMessage(
        content=answer.content,
        tool_calls=list(answer.tool_calls),
        invalid_tool_calls=list(answer.invalid_tool_calls),
        response_metadata=metadata,
        usage_metadata=usage,
    )


def as_chunk(message: AIMessage) -> AIMessageChunk:
    """The last chunk of a stream whose text was already sent: calls, usage, metadata."""
    return AIMessageChunk(
        content="",
        tool_call_chunks=_call_chunks(message),
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )


def _call_chunks(message: AIMessage) -> list[ToolCallChunk]:
    """LangChain completes cut JSON in chunks; a broken call is marked so that it stays broken."""
    sound = [
        (call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"])
        for call in message.tool_calls
    ]
    broken = [
        (call["name"], f"broken: {call['args']}", call["id"]) for call in message.invalid_tool_calls
    ]
    return [
        tool_call_chunk(name=name, args=arguments, id=call_id, index=index)
        for index, (name, arguments, call_id) in enumerate([*sound, *broken])
    ]


def _logprobs(generated: Generated, floor: float | None) -> dict[str, Any]:
    """Figures of every token, in nats, before any grammar had its say; no text."""
    logprobs = [round(choice.logprob, 5) for choice in generated.choices]
    figures: dict[str, Any] = {
        "logprob": logprobs,
        "margin": [round(choice.margin, 5) for choice in generated.choices],
        "count": len(logprobs),
        "sum": sum(logprobs),
        "mean": sum(logprobs) / len(logprobs),
        "min": min(logprobs),
    }
    if generated.constrained_text:
        figures.update(_of_call(generated))
    if floor is not None:
        figures["sum_floor"] = floor
    return figures


def _of_call(generated: Generated) -> dict[str, Any]:
    """The figures of the tokens that matter in a call: its tool's name, its arguments' values."""
    spans = _spans(generated.constrained_text)
    ends = sum(generated.lengths)
    start = ends - len(generated.constrained_text)  # plain text came before
    chosen: dict[str, list[Choice]] = {"name": [], "values": []}
    at = -start
    for choice, length in zip(generated.choices, generated.lengths, strict=True):
        for part, first, last in spans:
            if at < last and at + length > first:
                chosen[part].append(choice)
                break
        at += length
    return {part: _summed(choices) for part, choices in chosen.items() if choices}


def _spans(text: str) -> list[tuple[str, int, int]]:
    """The characters of each name and value in the JSON of calls, with the quote that ends them."""
    spans: list[tuple[str, int, int]] = []
    key = ""
    for found in _SCALAR.finditer(text):
        quoted = found[0].startswith('"')
        first, last = found.start() + quoted, found.end()
        if found["key"] is not None:
            key = found[0][: -len(found["key"])].strip('"')
            continue
        spans.append(("name" if key in _NAMES and not spans else "values", first, last))
    return spans


def _summed(choices: Sequence[Choice]) -> dict[str, Any]:
    logprobs = [choice.logprob for choice in choices]
    return {
        "count": len(choices),
        "sum": round(sum(logprobs), 5),
        "mean": round(sum(logprobs) / len(logprobs), 5),
        "min": round(min(logprobs), 5),
        "margin": round(min(choice.margin for choice in choices), 5),
    }
