"""OpenAI's batches: a JSONL file that is uploaded, a batch made of it, and files of results.

Rules as of November 2026: 50,000 requests and 200 MB a batch, one model each, 24 hours; requests
that are not done by then are not billed. A batch carries our id in its metadata, so that one whose
acceptance was not heard is found again; without its file it fails, so that one that was not found
cannot come later. https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from agentkit.batch.item import Batch
from agentkit.batch.provider import (
    BatchLimits,
    Ending,
    Found,
    Result,
    Standing,
    Wire,
    answer_of,
    sent_arguments,
    wire_of,
)

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch as SdkBatch

_CHAT, _RESPONSES = "/v1/chat/completions", "/v1/responses"
_MARK = "agentkit_batch"
_CLOCK_SKEW_SECONDS = 600.0
_PAGE = 100
_WORKING = frozenset({"validating", "in_progress", "finalizing"})
_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TRANSIENT_CODES = frozenset({"token_limit_exceeded", "rate_limit_exceeded", "server_error"})


class OpenAIBatches:
    """Implements BatchProvider over the `openai` SDK."""

    limits = BatchLimits(requests=50_000, size_bytes=200_000_000)

    def __init__(self, client: OpenAI) -> None:
        self._client = client
        self._once = client.with_options(max_retries=0)
        place = [client.base_url.netloc.decode(), client.organization, client.project]
        self.account = "@".join(["openai", *(part for part in place if part)])

    @classmethod
    def of(cls, model: BaseChatModel) -> Self | None:
        """The batches of a ChatOpenAI's own account; None where it has no synchronous client."""
        client: OpenAI | None = getattr(model, "root_client", None)
        return None if client is None else cls(client.with_options(max_retries=2))

    def wire(
        self, model: BaseChatModel, messages: list[BaseMessage], arguments: dict[str, Any]
    ) -> Wire:
        source: Any = model
        payload = dict(source._get_request_payload(messages, **sent_arguments(arguments)))
        endpoint = _RESPONSES if source._use_responses_api(payload) else _CHAT
        payload.pop("stream", None)
        payload |= payload.pop("extra_body", None) or {}
        return wire_of(endpoint, payload)

    def ask(self, endpoint: str, body: dict[str, Any]) -> bytes:
        live: Any = self._once.chat.completions if endpoint == _CHAT else self._once.responses
        return cast("bytes", live.with_raw_response.create(**body).content)

    def upload(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str | None:
        content = BytesIO()
        for custom_id, body in lines:
            head = json.dumps({"custom_id": custom_id, "method": "POST", "url": batch.endpoint})
            content.write(head[:-1].encode() + b', "body": ' + body + b"}\n")
        content.seek(0)
        name = f"{batch.batch_id}.jsonl"
        return self._client.files.create(file=(name, content), purpose="batch").id

    def submit(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str:  # noqa: ARG002  they are in the file
        if batch.input_file is None:
            raise ValueError(f"{batch.batch_id} was not uploaded")
        made = self._once.batches.create(
            completion_window="24h",
            endpoint=cast("Any", batch.endpoint),
            input_file_id=batch.input_file,
            metadata={_MARK: batch.batch_id},
        )
        return made.id

    def recall(self, batch: Batch) -> bool:
        if batch.input_file is not None:
            self._delete(batch.input_file)
        return True

    def find(self, batch: Batch, is_ours: Callable[[str], bool]) -> Found:  # noqa: ARG002  the metadata tell
        oldest = batch.created_at - _CLOCK_SKEW_SECONDS
        ours: list[str] = []
        for each in self._client.batches.list(limit=_PAGE):
            if each.created_at < oldest:
                break
            void = each.status == "failed" and each.input_file_id != batch.input_file
            marked = (each.metadata or {}).get(_MARK) == batch.batch_id
            if marked and not void and each.id not in batch.others:
                ours.append(each.id)
        return Found(ours=tuple(reversed(ours)), others=batch.others)

    def look(self, provider_id: str) -> Standing:
        batch = self._client.batches.retrieve(provider_id)
        counts = batch.request_counts
        done = 0 if counts is None else counts.completed + counts.failed
        total = 0 if counts is None else counts.total
        if batch.status == "failed":
            told = [] if batch.errors is None else batch.errors.data or []
            codes = [error.code or "?" for error in told]
            return Standing(
                state="failed",
                total=total,
                error=", ".join(sorted(set(codes))[:3]) or "failed",
                is_transient=bool(codes) and all(code in _TRANSIENT_CODES for code in codes),
                wrong_lines=tuple(error.line for error in told if error.line is not None),
            )
        if batch.status in _WORKING:
            return Standing(state="working", done=done, total=total)
        if batch.status == "cancelling":
            return Standing(state="cancelling", done=done, total=total)
        return Standing(state="ended", done=done, total=total)

    def results(self, provider_id: str) -> Iterator[Result]:
        batch = self._client.batches.retrieve(provider_id)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is None:
                continue
            with self._client.files.with_streaming_response.content(file_id) as response:
                for line in response.iter_lines():
                    if line.strip():
                        yield _result_of(json.loads(line))

    def cancel(self, provider_id: str) -> None:
        from openai import ConflictError

        try:
            self._client.batches.cancel(provider_id)
        except ConflictError:
            return  # it has ended meanwhile

    def clear(self, batch: Batch) -> None:
        if batch.provider_id is None:
            return
        known: SdkBatch = self._client.batches.retrieve(batch.provider_id)
        for file_id in (known.input_file_id, known.output_file_id, known.error_file_id):
            if file_id is not None:
                self._delete(file_id)

    def _delete(self, file_id: str) -> None:
        from openai import NotFoundError

        try:
            self._client.files.delete(file_id)
        except NotFoundError:
            return


def read(endpoint: str, payload: bytes, model: BaseChatModel | None = None) -> AIMessage:
    """An answer as ChatOpenAI gives it."""
    from langchain_openai import ChatOpenAI
    from langchain_openai.chat_models.base import (
        _construct_lc_result_from_responses_api,  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]  # what ChatOpenAI itself does with an answer
    )
    from openai.types.responses import Response
    from pydantic import SecretStr

    reader: Any = model or ChatOpenAI(model="reader", api_key=SecretStr("unused"))
    if endpoint == _CHAT:
        return answer_of(cast("ChatResult", reader._create_chat_result(json.loads(payload))))
    response = Response.construct(**json.loads(payload))  # as lenient as the SDK itself is
    version: str | None = reader.output_version
    return answer_of(_construct_lc_result_from_responses_api(response, output_version=version))


def _result_of(line: dict[str, Any]) -> Result:
    custom_id = str(line.get("custom_id"))
    error: dict[str, Any] = line.get("error") or {}
    response: dict[str, Any] = line.get("response") or {}
    code = str(error.get("code") or "")
    if code in ("batch_expired", "batch_cancelled"):
        ending: Ending = "expired" if code == "batch_expired" else "cancelled"
        return Result(custom_id=custom_id, ending=ending, error=code, is_transient=True)
    status = int(response.get("status_code") or 0)
    body: dict[str, Any] = response.get("body") or {}
    if status == 200 and not error:
        return Result(custom_id=custom_id, ending="answered", payload=json.dumps(body).encode())
    told: dict[str, Any] = error or body.get("error") or {}
    return Result(
        custom_id=custom_id,
        ending="errored",
        error=str(told.get("code") or told.get("type") or f"HTTP {status}")[:80],
        is_transient=status in _TRANSIENT_STATUSES or code in _TRANSIENT_CODES,
    )
