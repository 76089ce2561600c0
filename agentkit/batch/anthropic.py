"""Anthropic's message batches: all requests in one call, results as one stream of lines.

Rules as of November 2026: 100,000 requests or 256 MB a batch; expired, cancelled and errored
requests are not billed; results are kept for 29 days. A batch takes no metadata: one whose
acceptance was not heard is known by the custom ids of its results, so by nothing until it ends.
https://docs.anthropic.com/en/docs/build-with-claude/batch-processing
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from agentkit.batch.item import Batch
from agentkit.batch.provider import (
    BatchLimits,
    CannotBatch,
    Found,
    Result,
    Standing,
    Wire,
    answer_of,
    sent_arguments,
    wire_of,
)

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

_ENDPOINT = "/v1/messages"
_CLOCK_SKEW_SECONDS = 120.0
_PAGE = 100
_HOUR = {"type": "ephemeral", "ttl": "1h"}
_SEED = {
    "messages": [{"role": "user", "content": "Reply with OK."}], "max_tokens": 1, "timeout": 60.0
}  # fmt: skip
_TRANSIENT = frozenset({"rate_limit_error", "overloaded_error", "api_error", "timeout_error"})


class AnthropicBatches:
    """Implements BatchProvider over the `anthropic` SDK."""

    limits = BatchLimits(requests=100_000, size_bytes=256_000_000)

    def __init__(self, client: Anthropic) -> None:
        self._client = client
        self._once = client.with_options(max_retries=0)
        self.account = f"anthropic@{client.base_url.netloc.decode()}"

    @classmethod
    def of(cls, model: BaseChatModel) -> Self | None:
        """The batches of a ChatAnthropic's own account."""
        client: Anthropic | None = getattr(model, "_client", None)
        return None if client is None else cls(client.with_options(max_retries=2))

    def wire(
        self, model: BaseChatModel, messages: list[BaseMessage], arguments: dict[str, Any]
    ) -> Wire:
        source: Any = model
        payload = dict(source._get_request_payload(messages, **sent_arguments(arguments)))
        if payload.get("betas"):
            raise CannotBatch("it asks for a beta of Anthropic's")
        payload.pop("stream", None)
        payload |= payload.pop("extra_body", None) or {}
        return wire_of(_ENDPOINT, payload)

    def ask(self, endpoint: str, body: dict[str, Any]) -> bytes:  # noqa: ARG002  there is one
        live: Any = self._once.messages
        return cast("bytes", live.with_raw_response.create(**body).http_response.content)

    def upload(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str | None:  # noqa: ARG002  all goes at once
        return None

    def seed(self, body: bytes) -> dict[str, Any] | None:
        front = _kept_front(body)
        return None if front is None else {"model": json.loads(body)["model"], **front, **_SEED}

    def reading(self, body: bytes) -> bytes:
        front = _kept_front(body)
        return body if front is None else json.dumps(json.loads(body) | front).encode()

    def submit(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str:
        requests = [{"custom_id": name, "params": json.loads(body)} for name, body in lines]
        made = self._once.messages.batches.create(requests=cast("Any", requests))
        return made.id

    def recall(self, batch: Batch) -> bool:  # noqa: ARG002  there is nothing to take away
        return False

    def find(self, batch: Batch, is_ours: Callable[[str], bool]) -> Found:
        oldest = batch.created_at - _CLOCK_SKEW_SECONDS
        ours: list[str] = []
        perhaps: list[str] = []
        others = list(batch.others)
        for each in self._client.messages.batches.list(limit=_PAGE):
            if each.created_at.timestamp() < oldest:
                break
            if each.id in others or _requests(each) != batch.requests:
                continue
            if each.processing_status != "ended":
                perhaps.append(each.id)
            elif any(is_ours(line.custom_id) for line in _first(self._lines(each.id))):
                ours.append(each.id)
            else:
                others.append(each.id)
        return Found(ours=tuple(reversed(ours)), perhaps=tuple(perhaps), others=tuple(others))

    def look(self, provider_id: str) -> Standing:
        batch = self._client.messages.batches.retrieve(provider_id)
        counts, total = batch.request_counts, _requests(batch)
        done = total - counts.processing
        match batch.processing_status:
            case "in_progress":
                return Standing(state="working", done=done, total=total)
            case "canceling":
                return Standing(state="cancelling", done=done, total=total)
            case "ended":
                return Standing(state="ended", done=done, total=total)

    def results(self, provider_id: str) -> Iterator[Result]:
        return map(_result_of, self._lines(provider_id))

    def cancel(self, provider_id: str) -> None:
        from anthropic import APIStatusError

        try:
            self._client.messages.batches.cancel(provider_id)
        except APIStatusError as error:
            if error.status_code not in (400, 409):  # it has ended meanwhile
                raise

    def clear(self, batch: Batch) -> None:
        if batch.provider_id is not None:
            self._client.messages.batches.delete(batch.provider_id)

    def _lines(self, provider_id: str) -> Iterator[MessageBatchIndividualResponse]:
        yield from self._client.messages.batches.results(provider_id)


def read(payload: bytes, model: BaseChatModel | None = None) -> AIMessage:
    """An answer as ChatAnthropic gives it."""
    from anthropic.types import Message
    from langchain_anthropic import ChatAnthropic
    from pydantic import SecretStr

    reader: Any = model or ChatAnthropic(
        model_name="reader", api_key=SecretStr("unused"), timeout=None, stop=None
    )
    message = Message.construct(**json.loads(payload))  # as lenient as the SDK itself is
    return answer_of(cast("ChatResult", reader._format_output(message)))


def _kept_front(body: bytes) -> dict[str, Any] | None:
    """System text and tools with a breakpoint of an hour behind them, as in a request sent live;
    None where the request has neither, or breakpoints of its own."""
    request: dict[str, Any] = json.loads(body)
    system: Any = request.get("system")
    tools: list[dict[str, Any]] = request.get("tools") or []
    blocks: list[dict[str, Any]] = (
        [{"type": "text", "text": system}] if isinstance(system, str) and system else system or []
    )
    *before, last = blocks or tools or [{"defer_loading": True}]
    if b'"cache_control"' in body or last.get("defer_loading"):
        return None
    kept = [*before, {**last, "cache_control": _HOUR}]
    if not blocks:
        return {"tools": kept}
    return {"tools": tools, "system": kept} if tools else {"system": kept}


def _requests(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.canceled + counts.errored + counts.expired + counts.processing + counts.succeeded


def _first(lines: Iterator[Any]) -> Iterator[Any]:
    """The first line, if there is one: all lines of a batch are of one hand."""
    for line in lines:
        yield line
        return


def _result_of(line: MessageBatchIndividualResponse) -> Result:
    result = line.result
    match result.type:
        case "succeeded":
            payload = result.message.model_dump_json(exclude_none=True).encode()
            return Result(custom_id=line.custom_id, ending="answered", payload=payload)
        case "errored":
            kind = result.error.error.type
            return Result(
                custom_id=line.custom_id,
                ending="errored",
                error=kind,
                is_transient=kind in _TRANSIENT,
            )
        case "expired":
            return Result(
                custom_id=line.custom_id, ending="expired", error="expired", is_transient=True
            )
        case "canceled":
            return Result(
                custom_id=line.custom_id, ending="cancelled", error="cancelled", is_transient=True
            )
