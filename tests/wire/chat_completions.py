"""`POST /v1/chat/completions`: reading, refusing, counting and answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.wire import body as read
from tests.wire.cache import Prompt, Unit
from tests.wire.endpoint import Answer, Event, Office
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
from tests.wire.script import Json, Protocol, Role, WireMessage, WireRequest, WireToolCall
from tests.wire.tokens import Meter, canonical

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_MESSAGE_TOKENS, _NAME_TOKENS, _REPLY_TOKENS, _CALL_TOKENS = 3, 1, 3, 3
_FIELD_NAMES = (
    "messages model audio frequency_penalty function_call functions logit_bias logprobs "
    "max_completion_tokens max_tokens metadata modalities moderation n parallel_tool_calls "
    "prediction presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort "
    "response_format safety_identifier seed service_tier stop store stream stream_options "
    "temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
)
_FIELDS = frozenset(_FIELD_NAMES.split())
_OPTIONS = "prompt_cache_options"
_MARK = "prompt_cache_breakpoint"


class ChatCompletions:
    """OpenAI's chat completions."""

    path = "/v1/chat/completions"
    protocol: Protocol = "openai"

    def model_name(self, body: Json) -> str:
        """The model asked for."""
        return read.text(read.required(body, "model"), "model")

    def read(self, body: Json, model: WireModel) -> WireRequest:
        """The request in normal form."""
        read.refuse_unknown(body, _FIELDS | {_OPTIONS} if model.marks_cache else _FIELDS)
        _check_marks(body, model)
        messages = _read_messages(body)
        tools = read_tools(body, nested=True)
        stream = read.flag(body, "stream")
        check_sampling(body, model)
        return WireRequest(
            protocol=self.protocol,
            path=self.path,
            model=model.name,
            messages=messages,
            tools=tools,
            tool_choice=read_tool_choice(body, tools, nested=True),
            parallel_tool_calls=read.flag(body, "parallel_tool_calls", default=True),
            max_tokens=_read_limit(body, model),
            stream=stream,
            include_usage=not stream or _asks_usage(body),
            task=task_of(body),
            body=body,
        )

    def measure(self, request: WireRequest, model: WireModel, office: Office) -> Prompt:
        """The billed input, with what the automatic cache holds of it."""
        settings = ("tool_choice", "response_format")
        listed = read.sequence(request.body["messages"], "messages")
        units = [
            *tool_units(request.tools, read.optional_sequence(request.body, "tools"), office.meter),
            *setting_units(request.body, settings, office.meter),
            *(
                _message_unit(raw, message, office.meter)
                for raw, message in zip(listed, request.messages, strict=True)
            ),
        ]
        if model.marks_cache:
            return _look_up_marks(request.body, units, model, office)
        units.append(Unit(content="", counted_tokens=_REPLY_TOKENS))
        return office.automatic.look_up(model.name, units, office.meter)

    def whole(self, answer: Answer) -> dict[str, object]:
        """A `chat.completion`."""
        generation = answer.generation
        message: dict[str, object] = {
            "role": "assistant",
            "content": None if generation.calls and not generation.text else generation.text,
            "refusal": None,
            "annotations": [],
        }
        if generation.calls:
            message["tool_calls"] = [
                _call(answer, at, name, text) for at, (name, text) in enumerate(_calls(answer))
            ]
        choice = {"index": 0, "message": message, "logprobs": None}
        return {
            **_envelope(answer, "chat.completion"),
            "choices": [{**choice, "finish_reason": generation.finish}],
            "usage": chat_usage(answer),
        }

    def events(self, answer: Answer) -> Sequence[Event]:
        """Chunks; usage in the last one, and only if it was asked for."""
        generation = answer.generation
        produced = generation.reasoning_tokens
        events = [_chunk(answer, {"role": "assistant", "content": "", "refusal": None}, produced)]
        at = 0
        for block in generation.blocks:
            if block.name is not None:
                call = _call(answer, at, block.name, "")
                events.append(_chunk(answer, {"tool_calls": [{"index": at, **call}]}, produced))
            for piece in block.pieces:
                produced = piece.output_tokens
                delta: dict[str, object] = {"content": piece.text}
                if block.name is not None:
                    arguments = {"index": at, "function": {"arguments": piece.text}}
                    delta = {"tool_calls": [arguments]}
                events.append(_chunk(answer, delta, produced))
            at += block.name is not None
        events.append(_chunk(answer, {}, generation.output_tokens, finish=generation.finish))
        if answer.request.include_usage:
            last: dict[str, object] = {**_envelope(answer, "chat.completion.chunk"), "choices": []}
            usage: dict[str, object] = {**last, "usage": chat_usage(answer)}
            events.append(Event(data=usage, output_tokens=generation.output_tokens, usage=True))
        events.append(Event(data="[DONE]", output_tokens=generation.output_tokens))
        return events


def chat_usage(answer: Answer) -> dict[str, object]:
    """Usage in the words of chat completions."""
    usage = answer.usage
    details = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0}
    if answer.model.marks_cache:
        details["cache_write_tokens"] = usage.cache_write_5m_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _envelope(answer: Answer, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created_at,
        "model": answer.model.snapshot,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chunk(
    answer: Answer, delta: dict[str, object], produced: int, finish: str | None = None
) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    data: dict[str, object] = {**_envelope(answer, "chat.completion.chunk"), "choices": [choice]}
    if answer.request.include_usage:
        data["usage"] = None
    return Event(data=data, output_tokens=produced)


def _calls(answer: Answer) -> list[tuple[str, str]]:
    return [(block.name or "", block.text) for block in answer.generation.calls]


def _call(answer: Answer, at: int, name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{answer.id}_{at}", "type": "function", "function": function}


def _asks_usage(body: Json) -> bool:
    return read.flag(read.optional_mapping(body, "stream_options"), "include_usage")


def _read_limit(body: Json, model: WireModel) -> int | None:
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if model.only_default_temperature and body.get("max_tokens") is not None:
        raise Refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    limit = read.positive(body, "max_completion_tokens")
    return limit if limit is not None else read.positive(body, "max_tokens")


def _message_unit(raw: object, message: WireMessage, meter: Meter) -> Unit:
    sent = read.mapping(raw, "messages")
    _, images = content_text(sent.get("content") or "", "content")
    counted = _MESSAGE_TOKENS + meter.count(message.role) + images
    counted += meter.count(message.text) if message.text else 0
    if sent.get("name"):
        counted += _NAME_TOKENS + meter.count(str(sent["name"]))
    for call in message.tool_calls:
        counted += _CALL_TOKENS + meter.count(call.name) + meter.count(call.arguments)
    told = {**sent, "content": message.text} if not images else sent
    mark = "30m" if _marks(sent) else None
    return Unit(content=canonical(told), counted_tokens=counted, breakpoint=mark)


def _marks(sent: Json) -> list[object]:
    """The breakpoints in a message's blocks."""
    content = sent.get("content")
    blocks = content if isinstance(content, list) else []
    return [block[_MARK] for block in blocks if isinstance(block, dict) and _MARK in block]


def _check_marks(body: Json, model: WireModel) -> None:
    listed = read.sequence(read.required(body, "messages"), "messages")
    marks = [mark for raw in listed if isinstance(raw, dict) for mark in _marks(raw)]
    if marks and not model.marks_cache:
        raise Refusal(f"'{_MARK}' is not supported with this model.", param="messages")
    if any(mark != {"mode": "explicit"} for mark in marks):
        raise Refusal(f"Invalid value for '{_MARK}'.", param="messages")
    options = read.optional_mapping(body, _OPTIONS)
    if options.get("mode", "implicit") not in ("implicit", "explicit"):
        raise Refusal(f"Invalid value: '{options['mode']}'.", param=f"{_OPTIONS}.mode")
    if options.get("ttl", "30m") != "30m":
        raise Refusal(f"Invalid value: '{options['ttl']}'.", param=f"{_OPTIONS}.ttl")


def _look_up_marks(body: Json, units: list[Unit], model: WireModel, office: Office) -> Prompt:
    """From GPT-5.6 on: the latest four breakpoints are written, any is read; one at the end comes
    by itself unless the mode is explicit."""
    if read.optional_mapping(body, _OPTIONS).get("mode") != "explicit":
        units[-1] = replace(units[-1], breakpoint="30m")
    return office.breakpoints.look_up(
        model.name,
        units,
        office.meter,
        least_tokens=model.least_cached_tokens,
        extra_tokens=_REPLY_TOKENS,
        look_back=1,
    )


def _read_messages(body: Json) -> tuple[WireMessage, ...]:
    listed = read.sequence(read.required(body, "messages"), "messages")
    if not listed:
        raise Refusal(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    messages = tuple(_read_message(entry, at) for at, entry in enumerate(listed))
    _check_tool_pairs(messages)
    return messages


def _read_message(entry: object, at: int) -> WireMessage:
    where = f"messages[{at}]"
    raw = read.mapping(entry, where)
    role = _ROLES.get(str(raw.get("role")))
    if role is None:
        raise Refusal(
            f"Invalid value: '{raw.get('role')}'. Supported values are: 'system', 'assistant', "
            "'user', 'function', 'tool', and 'developer'.",
            param=f"{where}.role",
            code="invalid_value",
        )
    calls = _read_calls(raw, where) if role == "assistant" else ()
    content = raw.get("content")
    if content is None and not calls:
        raise Refusal(
            "Invalid value for 'content': expected a string, got null.", param=f"{where}.content"
        )
    text, _ = content_text("" if content is None else content, f"{where}.content")
    call_id = raw.get("tool_call_id")
    if role == "tool" and not isinstance(call_id, str):
        raise Refusal(
            f"Missing required parameter: '{where}.tool_call_id'.",
            param=f"{where}.tool_call_id",
            code="missing_required_parameter",
        )
    known_id = call_id if isinstance(call_id, str) else None
    return WireMessage(role=role, text=text, tool_calls=calls, tool_call_id=known_id)


def _read_calls(raw: Json, where: str) -> tuple[WireToolCall, ...]:
    calls: list[WireToolCall] = []
    for at, entry in enumerate(read.optional_sequence(raw, "tool_calls")):
        call = read.mapping(entry, f"{where}.tool_calls[{at}]")
        function = read.mapping(call.get("function"), f"{where}.tool_calls[{at}].function")
        calls.append(
            WireToolCall(
                id=read.text(call.get("id"), f"{where}.tool_calls[{at}].id"),
                name=read.text(function.get("name"), f"{where}.tool_calls[{at}].function.name"),
                arguments=read.text(
                    function.get("arguments"), f"{where}.tool_calls[{at}].function.arguments"
                ),
            )
        )
    return tuple(calls)


def _check_tool_pairs(messages: Sequence[WireMessage]) -> None:
    """Every call is answered right after its message, and every tool message answers one."""
    open_ids: list[str] = []
    for at, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_ids:
                raise Refusal(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    param=f"messages.[{at}].role",
                )
            open_ids.remove(message.tool_call_id)
            continue
        _refuse_unanswered(open_ids, at)
        open_ids = [call.id for call in message.tool_calls]
    _refuse_unanswered(open_ids, len(messages))


def _refuse_unanswered(open_ids: Sequence[str], at: int) -> None:
    if open_ids:
        raise Refusal(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            f"{', '.join(open_ids)}",
            param=f"messages.[{at}].role",
        )
