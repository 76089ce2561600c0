"""`POST /v1/responses`, the basic part: text and function calls, whole or streamed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.wire import body as read
from tests.wire.cache import Prompt, Unit
from tests.wire.endpoint import Answer, Event, Office
from tests.wire.generation import Block
from tests.wire.model import WireModel
from tests.wire.openai_body import (
    check_sampling,
    content_text,
    read_tool_choice,
    read_tools,
    setting_units,
    task_of,
    tool_units,
)
from tests.wire.refusal import Refusal
from tests.wire.script import (
    Json,
    Protocol,
    Role,
    WireMessage,
    WireRequest,
    WireTool,
    WireToolCall,
)
from tests.wire.tokens import Meter, canonical

_ITEM_TOKENS, _REPLY_TOKENS = 3, 3
_ROLES: dict[object, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_FIELD_NAMES = (
    "model input instructions tools tool_choice parallel_tool_calls max_output_tokens stream "
    "stream_options metadata user safety_identifier temperature top_p store include reasoning text "
    "truncation service_tier prompt_cache_key prompt_cache_retention top_logprobs "
    "max_tool_calls background"
)
_FIELDS = frozenset(_FIELD_NAMES.split())


class Responses:
    """OpenAI's responses, without stored conversations and hosted tools."""

    path = "/v1/responses"
    protocol: Protocol = "openai"

    def model_name(self, body: Json) -> str:
        """The model asked for."""
        return read.text(read.required(body, "model"), "model")

    def read(self, body: Json, model: WireModel) -> WireRequest:
        """The request in normal form."""
        read.refuse_unknown(body, _FIELDS)
        items = _items(body)
        later = tuple(tool for item in items for tool in _added_tools(item, model))
        messages = [_message(item, at) for at, item in enumerate(items)]
        _check_calls(messages)
        if body.get("instructions"):
            messages.insert(0, WireMessage(role="system", text=str(body["instructions"])))
        tools = read_tools(body, nested=False)
        check_sampling(body, model)
        return WireRequest(
            protocol=self.protocol,
            path=self.path,
            model=model.name,
            messages=tuple(messages),
            tools=tools,
            later_tools=later,
            tool_choice=read_tool_choice(body, tools, nested=False),
            parallel_tool_calls=read.flag(body, "parallel_tool_calls", default=True),
            max_tokens=read.positive(body, "max_output_tokens"),
            stream=read.flag(body, "stream"),
            task=task_of(body),
            body=body,
        )

    def measure(self, request: WireRequest, model: WireModel, office: Office) -> Prompt:
        """The billed input, with what the automatic cache holds of it."""
        settings = ("tool_choice", "text")
        units = [
            *tool_units(request.tools, read.optional_sequence(request.body, "tools"), office.meter),
            *setting_units(request.body, settings, office.meter),
            *(_unit(message, office.meter) for message in request.messages),
            Unit(content="", counted_tokens=_REPLY_TOKENS),
        ]
        return office.automatic.look_up(model.name, units, office.meter)

    def whole(self, answer: Answer) -> dict[str, object]:
        """A finished `response`."""
        return _response(answer, finished=True)

    def events(self, answer: Answer) -> Sequence[Event]:
        """The stream; usage in its last event."""
        number = itertools.count()
        produced = answer.generation.reasoning_tokens
        begun: Json = {"response": _response(answer, finished=False)}
        steps = [("created", produced, begun), ("in_progress", produced, begun)]
        for at, block in enumerate(answer.generation.blocks):
            steps += _block_steps(answer, at, block)
        whole = _response(answer, finished=True)
        ending = str(whole["status"])
        steps.append((ending, answer.generation.output_tokens, {"response": whole}))
        return [
            Event(
                data={"type": f"response.{name}", "sequence_number": next(number), **fields},
                output_tokens=so_far,
                name=f"response.{name}",
                usage=name == ending,
            )
            for name, so_far, fields in steps
        ]


_Step = tuple[str, int, Json]


def _block_steps(answer: Answer, at: int, block: Block) -> list[_Step]:
    """A block's events: name, tokens produced so far, fields."""
    before, after = block.pieces[0].output_tokens, block.pieces[-1].output_tokens
    item = _item(answer, at, block, finished=True)
    empty = _item(answer, at, block, finished=False)
    place: dict[str, object] = {"output_index": at, "item_id": item["id"]}
    added: list[_Step] = [("output_item.added", before, {"output_index": at, "item": empty})]
    done: list[_Step] = [("output_item.done", after, {"output_index": at, "item": item})]
    if block.name is not None:
        kind = "function_call_arguments"
        deltas: list[_Step] = [
            (f"{kind}.delta", piece.output_tokens, {**place, "delta": piece.text})
            for piece in block.pieces
        ]
        whole: Json = {**place, "arguments": block.text, "name": block.name}
        return [*added, *deltas, (f"{kind}.done", after, whole), *done]
    no_logprobs: list[object] = []
    place |= {"content_index": 0}
    deltas = [
        (
            "output_text.delta",
            piece.output_tokens,
            {**place, "logprobs": no_logprobs, "delta": piece.text},
        )
        for piece in block.pieces
    ]
    return [
        *added,
        ("content_part.added", before, {**place, "part": _part("")}),
        *deltas,
        ("output_text.done", after, {**place, "text": block.text, "logprobs": no_logprobs}),
        ("content_part.done", after, {**place, "part": _part(block.text)}),
        *done,
    ]


def _response(answer: Answer, *, finished: bool) -> dict[str, object]:
    cut = answer.generation.finish == "length"
    status = "in_progress" if not finished else "incomplete" if cut else "completed"
    blocks = answer.generation.blocks if finished else ()
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created_at,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": answer.model.snapshot,
        "output": [_item(answer, at, block, finished=True) for at, block in enumerate(blocks)],
        "parallel_tool_calls": answer.request.parallel_tool_calls,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(answer) if finished else None,
    }


def _usage(answer: Answer) -> dict[str, object]:
    usage = answer.usage
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _item(answer: Answer, at: int, block: Block, *, finished: bool) -> dict[str, object]:
    status = "completed" if finished else "in_progress"
    if block.name is None:
        return {
            "id": f"msg_{answer.id}_{at}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [_part(block.text)] if finished else [],
        }
    return {
        "id": f"fc_{answer.id}_{at}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{answer.id}_{at}",
        "name": block.name,
        "arguments": block.text if finished else "",
    }


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _items(body: Json) -> list[object]:
    sent = read.required(body, "input")
    return [{"role": "user", "content": sent}] if isinstance(sent, str) else _list(sent)


def _list(sent: object) -> list[object]:
    items = read.sequence(sent, "input")
    if not items:
        raise Refusal("Invalid 'input': empty array.", param="input", code="empty_array")
    return items


def _added_tools(entry: object, model: WireModel) -> tuple[WireTool, ...]:
    """The functions of an `additional_tools` item; their JSON is billed where it stands."""
    item = read.mapping(entry, "input")
    if item.get("type") != "additional_tools":
        return ()
    if not model.changes_tools or item.get("role") != "developer":
        raise Refusal("Invalid value: 'additional_tools'.", param="input", code="invalid_value")
    return read_tools(item, nested=False)


def _message(entry: object, at: int) -> WireMessage:
    where = f"input[{at}]"
    item = read.mapping(entry, where)
    kind = item.get("type", "message")
    if kind == "function_call":
        call = WireToolCall(
            id=read.text(item.get("call_id"), f"{where}.call_id"),
            name=read.text(item.get("name"), f"{where}.name"),
            arguments=read.text(item.get("arguments"), f"{where}.arguments"),
        )
        return WireMessage(role="assistant", tool_calls=(call,))
    if kind == "function_call_output":
        text, _ = content_text(item.get("output"), f"{where}.output")
        call_id = read.text(item.get("call_id"), f"{where}.call_id")
        return WireMessage(role="tool", text=text, tool_call_id=call_id)
    if kind == "additional_tools":
        return WireMessage(role="system", text=canonical(item.get("tools")))
    if kind == "reasoning":
        return WireMessage(role="assistant")
    role = _ROLES.get(item.get("role"))
    if kind != "message" or role is None:
        raise Refusal(f"Invalid value: '{item.get('role')}'.", param=where, code="invalid_value")
    text, _ = content_text(item.get("content"), f"{where}.content")
    return WireMessage(role=role, text=text)


def _check_calls(messages: Sequence[WireMessage]) -> None:
    called: set[str] = set()
    answered: set[str] = set()
    for message in messages:
        called.update(call.id for call in message.tool_calls)
        if message.tool_call_id is not None:
            if message.tool_call_id not in called:
                raise Refusal(
                    "No tool call found for function call output with call_id "
                    f"{message.tool_call_id}.",
                    param="input",
                )
            answered.add(message.tool_call_id)
    if called - answered:
        missing = min(called - answered)
        raise Refusal(f"No tool output found for function call {missing}.", param="input")


def _unit(message: WireMessage, meter: Meter) -> Unit:
    calls = [[call.name, call.arguments] for call in message.tool_calls]
    counted = _ITEM_TOKENS + (meter.count(message.text) if message.text else 0)
    counted += sum(meter.count(name) + meter.count(arguments) for name, arguments in calls)
    return Unit(content=canonical([message.role, message.text, calls]), counted_tokens=counted)
