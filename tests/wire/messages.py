"""`POST /v1/messages`: counting against the cache and answering."""

from __future__ import annotations

from collections.abc import Sequence

from tests.wire.bill import WireUsage
from tests.wire.cache import Prompt
from tests.wire.endpoint import Answer, Event, Office
from tests.wire.generation import Block
from tests.wire.messages_body import read_model, read_request
from tests.wire.messages_prompt import prompt_units
from tests.wire.model import WireModel
from tests.wire.script import Json, Protocol, WireRequest

_REPLY_TOKENS = 3
_STOP_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
_SIGNATURE = "c2NyaXB0ZWQ="


class Messages:
    """Anthropic's messages."""

    path = "/v1/messages"
    protocol: Protocol = "anthropic"

    def model_name(self, body: Json) -> str:
        """The model asked for."""
        return read_model(body)

    def read(self, body: Json, model: WireModel) -> WireRequest:
        """The request in normal form."""
        return read_request(body, model, self.path)

    def measure(self, request: WireRequest, model: WireModel, office: Office) -> Prompt:
        """The billed input, with what the breakpoint cache holds of it and takes in."""
        return office.breakpoints.look_up(
            model.name,
            prompt_units(request, model, office.meter),
            office.meter,
            least_tokens=model.least_cached_tokens,
            extra_tokens=office.meter.billed(_REPLY_TOKENS),
        )

    def whole(self, answer: Answer) -> dict[str, object]:
        """A `message`."""
        blocks = answer.generation.blocks
        content = [_block(answer, at, block, full=True) for at, block in enumerate(blocks)]
        if _thinks(answer):
            content = [_thinking(full=True), *content]
        return {
            **_envelope(answer),
            "content": content,
            "stop_reason": _STOP_REASONS[answer.generation.finish],
            "usage": {**input_usage(answer.usage), **_output_usage(answer.usage)},
        }

    def events(self, answer: Answer) -> Sequence[Event]:
        """message_start with the input usage, a ping, the blocks, message_delta, message_stop."""
        generation = answer.generation
        started: dict[str, object] = {**_envelope(answer), "content": [], "stop_reason": None}
        usage = {**input_usage(answer.usage), "output_tokens": 1}
        first = max(generation.reasoning_tokens, 1)
        events = [
            _event("message_start", first, message={**started, "usage": usage}),
            _event("ping", first),
        ]
        thoughts = 0
        if _thinks(answer):
            thoughts = 1
            events += _thinking_events(first)
        for at, block in enumerate(generation.blocks):
            events += _block_events(answer, at, at + thoughts, block)
        reason = {"stop_reason": _STOP_REASONS[generation.finish], "stop_sequence": None}
        total = {**_final_input_usage(answer.usage), **_output_usage(answer.usage)}
        events += [
            _event(
                "message_delta", generation.output_tokens, usage=True, delta=reason, totals=total
            ),
            _event("message_stop", generation.output_tokens),
        ]
        return events


def input_usage(usage: WireUsage) -> dict[str, object]:
    """The input side of usage; `input_tokens` leaves out what was read or written."""
    return {
        "input_tokens": usage.plain_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "service_tier": "standard",
    }


def _final_input_usage(usage: WireUsage) -> dict[str, object]:
    """The input side in message_delta, which does not split writes by lifetime."""
    whole = input_usage(usage)
    return {key: value for key, value in whole.items() if key.endswith("input_tokens")}


def _output_usage(usage: WireUsage) -> dict[str, object]:
    details = {"thinking_tokens": usage.reasoning_tokens}
    return {"output_tokens": usage.output_tokens, "output_tokens_details": details}


def _envelope(answer: Answer) -> dict[str, object]:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model.snapshot,
        "stop_sequence": None,
    }


def _thinks(answer: Answer) -> bool:
    return answer.generation.reasoning_tokens > 0


def _thinking(full: bool) -> dict[str, object]:
    thought = {"thinking": "(thinking)" if full else "", "signature": _SIGNATURE if full else ""}
    return {"type": "thinking", **thought}


def _block(answer: Answer, at: int, block: Block, full: bool) -> dict[str, object]:
    if block.name is None:
        return {"type": "text", "text": block.text if full else ""}
    arguments = dict(block.arguments) if full else {}
    call = {"id": f"toolu_{answer.id}_{at}", "name": block.name, "input": arguments}
    return {"type": "tool_use", **call}


def _block_events(answer: Answer, at: int, index: int, block: Block) -> list[Event]:
    before = block.pieces[0].output_tokens
    start = _block(answer, at, block, full=False)
    events = [_event("content_block_start", before, index=index, content_block=start)]
    for piece in block.pieces:
        delta = {"type": "text_delta", "text": piece.text}
        if block.name is not None:
            delta = {"type": "input_json_delta", "partial_json": piece.text}
        events.append(_event("content_block_delta", piece.output_tokens, index=index, delta=delta))
    events.append(_event("content_block_stop", block.pieces[-1].output_tokens, index=index))
    return events


def _thinking_events(produced: int) -> list[Event]:
    thought = {"type": "thinking_delta", "thinking": "(thinking)"}
    signature = {"type": "signature_delta", "signature": _SIGNATURE}
    start = _thinking(full=False)
    return [
        _event("content_block_start", produced, index=0, content_block=start),
        _event("content_block_delta", produced, index=0, delta=thought),
        _event("content_block_delta", produced, index=0, delta=signature),
        _event("content_block_stop", produced, index=0),
    ]


def _event(
    name: str,
    produced: int,
    *,
    usage: bool = False,
    totals: Json | None = None,
    **fields: object,
) -> Event:
    data: dict[str, object] = {"type": name, **fields}
    if totals is not None:
        data["usage"] = totals
    return Event(data=data, output_tokens=produced, name=name, usage=usage)
