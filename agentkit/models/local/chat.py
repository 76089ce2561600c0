"""A GGUF model in this process as a LangChain chat model."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from agentkit.models.local.candidates import likeliest
from agentkit.models.local.dialect import Answer, Dialect, Turn
from agentkit.models.local.engine import EngineSettings, LlamaEngine
from agentkit.models.local.errors import ContextOverflow, ModelSettingsInvalid
from agentkit.models.local.generation import Generated, Request, generate
from agentkit.models.local.gguf_check import GgufSummary, check_gguf
from agentkit.models.local.loaded import dialect_for, engine_for
from agentkit.models.local.message import as_chunk, as_message
from agentkit.models.local.offer import offered_tools, tool_choice, tool_spec
from agentkit.models.local.sampling import Sampling

_LARGEST_DEFAULT_WINDOW = 8192
_LEAST_WINDOW = 64
_KV_WINDOWS = 2
_SMALL_FILE_BYTES = 32 << 20  # the matrices of smaller models gain nothing from a second thread
_THREADS = 16


class _Threads:
    """Where calls from event loops run; a forked child has none of its parent's threads."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="agentkit-local")


_threads = _Threads()


class LocalChatModel(BaseChatModel):
    """Chats with a quantized model through llama.cpp; tool calls follow the tools' schemas.

    The file is checked when the object is made and loaded at the first call. Objects with the same
    file and settings share one copy in memory, which is safe under threads and tasks. A call with
    `conversation="..."` keeps its evaluated prefix for the next call of that conversation, one with
    `prefix="..."` goes on from that beginning of its answer, which is not said again.
    Raises the errors of `agentkit.models.local.errors`.
    """

    model_path: str
    model_name: str = ""
    n_ctx: int | None = Field(
        default=None, description="window in tokens; None: as trained, 8192 at most"
    )
    kv_tokens: int | None = Field(
        default=None, description="tokens kept for all conversations together"
    )
    sequences: int = Field(default=8, ge=1, le=64, description="conversations kept at once")
    n_threads: int | None = Field(default=None, ge=1, description="None: the cores of this process")
    n_gpu_layers: int = 0
    max_tokens: int = Field(default=1024, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None
    stop: list[str] | None = None
    cut_babble: bool = Field(
        default=True, description="end an answer that goes in circles, as at its limit"
    )

    def model_post_init(self, context: Any, /) -> None:
        """Look at the file before anything relies on it."""
        super().model_post_init(context)
        summary = self._summary
        window = self.context_tokens
        if not self.model_name:
            self.model_name = Path(self.model_path).stem
        if window < _LEAST_WINDOW:
            raise ModelSettingsInvalid(
                f"n_ctx is {window}; a window needs at least {_LEAST_WINDOW} tokens"
            )
        if window > summary.context_tokens:
            raise ModelSettingsInvalid(
                f"n_ctx is {window} and {self.model_name} was trained for "
                f"{summary.context_tokens}; lower n_ctx"
            )
        if self._settings.kv_tokens < window:
            raise ModelSettingsInvalid(
                f"kv_tokens is {self._settings.kv_tokens}, less than the window of {window}; "
                "raise kv_tokens or lower n_ctx"
            )

    @property
    def context_tokens(self) -> int:
        """The window: tokens of a request and its answer together."""
        return self.n_ctx or min(self._summary.context_tokens, _LARGEST_DEFAULT_WINDOW)

    @property
    def writes_answers(self) -> bool:
        """False for a pocket model, which only turns requests into tool calls."""
        return not self._summary.is_pocket

    @property
    def engine(self) -> LlamaEngine:
        """The engine that runs this model, loaded now if it was not."""
        return engine_for(self._settings)

    def count_tokens(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Exactly the input tokens that a call with these messages and tools reports."""
        prepared = self._dialect().prepare(messages, offered_tools(tools), tool_choice(None))
        return len(prepared.prompt) if isinstance(prepared, Turn) else 0

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a bare text in the model's own vocabulary."""
        return len(self.engine.tokenize(text, special=False))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Exactly the input tokens that a call with these messages and tools reports."""
        return self.count_tokens(messages, [tool_spec(tool) for tool in tools or ()])

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with `tools` offered; `tool_choice` is auto, none, any or a tool's name."""
        specs = [tool_spec(tool) for tool in tools]
        return self.bind(tools=specs, tool_choice=tool_choice, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "llama.cpp"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_path": self.model_path, "temperature": self.temperature, "seed": self.seed}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "local"
        params["ls_model_name"] = self.model_name
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._complete(messages, stop, kwargs, threading.Event())

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces(messages, stop, kwargs, threading.Event()):
            yield _generation_chunk(piece)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        given_up = threading.Event()
        work = partial(self._complete, messages, stop, kwargs, given_up)
        try:
            return await asyncio.get_running_loop().run_in_executor(_threads.pool, work)
        finally:
            given_up.set()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop, given_up = asyncio.get_running_loop(), threading.Event()
        arrived: asyncio.Queue[ChatGenerationChunk | None] = asyncio.Queue()

        def send(item: ChatGenerationChunk | None) -> None:
            if not given_up.is_set():
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        def work() -> None:
            try:
                for piece in self._pieces(messages, stop, kwargs, given_up):
                    send(_generation_chunk(piece))
            finally:
                send(None)

        finished = loop.run_in_executor(_threads.pool, work)
        try:
            while (chunk := await arrived.get()) is not None:
                yield chunk
            await finished
        finally:
            given_up.set()

    def _complete(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        given_up: threading.Event,
    ) -> ChatResult:
        *_, message = self._pieces(messages, stop, kwargs, given_up)
        if isinstance(message, str):
            raise TypeError("a generation ends with its message")
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _pieces(
        self,
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        kwargs: Mapping[str, Any],
        given_up: threading.Event,
    ) -> Iterator[str | AIMessage]:
        """Text as it comes, then the whole message."""
        dialect = self._dialect()
        prepared = dialect.prepare(
            messages,
            offered_tools(kwargs.get("tools") or ()),
            tool_choice(kwargs.get("tool_choice")),
        )
        if kwargs.get("prefix") and isinstance(prepared, Turn):
            prepared = self._begun(prepared, str(kwargs["prefix"]))
        if isinstance(prepared, Answer):
            if prepared.content:
                yield prepared.content
            yield self._message(prepared, None, prompt_tokens=0, floor=None)
            return
        request = self._request(prepared, stop, kwargs)
        for piece in self._generated(request, prepared.tries, given_up):
            if isinstance(piece, str):
                yield piece
            else:
                answer = dialect.read(prepared, piece)
                yield self._message(
                    answer, piece, prompt_tokens=len(request.prompt), floor=dialect.logprob_floor
                )

    def _begun(self, turn: Turn, prefix: str) -> Turn:
        """The turn with its answer begun; control words in the beginning stay plain text."""
        return replace(turn, prompt=(*turn.prompt, *self.engine.tokenize(prefix, special=False)))

    def _generated(
        self, request: Request, tries: int, given_up: threading.Event
    ) -> Iterator[str | Generated]:
        if tries and request.sampling.temperature == 0:
            yield likeliest(self.engine, request, tries=tries, cancelled=given_up.is_set)
        else:
            yield from generate(self.engine, request, cancelled=given_up.is_set)

    def _message(
        self,
        answer: Answer,
        generated: Generated | None,
        *,
        prompt_tokens: int,
        floor: float | None,
    ) -> AIMessage:
        output = len(generated.choices) if generated is not None else 0
        usage = UsageMetadata(
            input_tokens=prompt_tokens,
            output_tokens=output,
            total_tokens=prompt_tokens + output,
            input_token_details=InputTokenDetails(
                cache_read=generated.reused_tokens if generated is not None else 0
            ),
        )
        return as_message(answer, generated, model=self.model_name, usage=usage, floor=floor)

    def _request(
        self, turn: Turn, stop: Sequence[str] | None, kwargs: Mapping[str, Any]
    ) -> Request:
        room = self.context_tokens - len(turn.prompt)
        if room < 1:
            raise ContextOverflow(
                prompt_tokens=len(turn.prompt), n_ctx=self.context_tokens, model=self.model_name
            )
        wanted = kwargs.get("max_tokens")
        if wanted is None:
            wanted = self.max_tokens
        if not isinstance(wanted, int) or wanted < 1:
            raise ModelSettingsInvalid(f"max_tokens is {wanted!r}; ask for at least 1")
        conversation = kwargs.get("conversation")
        return Request(
            prompt=turn.prompt,
            max_tokens=min(wanted, room),
            stop=(*(self.stop or ()), *(stop or ()), *turn.stop),
            sampling=Sampling(
                temperature=float(kwargs.get("temperature", self.temperature)),
                top_p=float(kwargs.get("top_p", self.top_p)),
                seed=kwargs.get("seed", self.seed),
            ),
            conversation=None if conversation is None else str(conversation),
            constraint=turn.constraint,
            once=turn.once,
            banned=turn.banned,
            cut_babble=bool(kwargs.get("cut_babble", self.cut_babble)),
        )

    def _dialect(self) -> Dialect:
        return dialect_for(self._settings, self._summary, n_ctx=self.context_tokens)

    @property
    def _summary(self) -> GgufSummary:
        return check_gguf(self.model_path)

    @property
    def _settings(self) -> EngineSettings:
        window = self.context_tokens
        return EngineSettings(
            path=os.path.abspath(self.model_path),
            stamp=self._summary.stamp,
            kv_tokens=self.kv_tokens
            or window * (self.sequences if self._summary.is_pocket else _KV_WINDOWS),
            sequences=self.sequences,
            threads=self.n_threads
            or (1 if self._summary.stamp[0] < _SMALL_FILE_BYTES else _cores()),
            gpu_layers=self.n_gpu_layers,
        )


def _generation_chunk(piece: str | AIMessage) -> ChatGenerationChunk:
    chunk = AIMessageChunk(content=piece) if isinstance(piece, str) else as_chunk(piece)
    return ChatGenerationChunk(message=chunk)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
