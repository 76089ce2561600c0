"""`metered(model, task)`: any LangChain chat model, spending from a task.

For users' own graphs and sub-agents: the model reserves before it calls, clamps its output, settles
what was reported, and does nothing else.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.context import current_task
from agentkit.budgets.errors import TaskMissing
from agentkit.budgets.task import Task
from agentkit.effects import Reply, adrive, drive
from agentkit.errors import ConfigError
from agentkit.left_streams import read_on
from agentkit.metering import StreamedCall, metered_call
from agentkit.model_call import Call
from agentkit.models.beside import OUTPUT_LIMITS, output_limit
from agentkit.models.rebound import rebound
from agentkit.models.tier import Tier, tier_of
from agentkit.telemetry.budget import tell_current_span
from agentkit.telemetry.calls import CallSpans

_RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun


WithoutTask = Literal["refuse", "allow"]
_LANGCHAINS_OWN = (
    "cache", "callbacks", "tags", "metadata", "rate_limiter", "output_version", "profile",
)  # fmt: skip
"""What LangChain does around a model by its settings, and not the model by itself."""


def metered(
    model: str | BaseChatModel,
    task: Task | None = None,
    *,
    without_task: WithoutTask = "refuse",
) -> MeteredChatModel:
    """`model`, spending from `task`, or from the task that is current where it is called.

    Its calls raise BudgetExceeded or DeadlineExceeded before anything is sent, and TaskMissing
    where there is no task. With `without_task="allow"` they are then made without a budget.
    """
    tier = tier_of(model, 0)
    own = {name: getattr(tier.model, name) for name in _LANGCHAINS_OWN}
    return MeteredChatModel(tier=tier, task=task, without_task=without_task, **own)


class MeteredChatModel(BaseChatModel):
    """A chat model whose every call is reserved and settled on a task."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tier: Tier
    task: Task | None = None
    without_task: WithoutTask = "refuse"

    @property
    def _llm_type(self) -> str:
        return self.tier.model._llm_type  # LangChain's own name of a model's kind

    @property
    def model_name(self) -> str:
        """The wrapped model's name, by which LangChain tells what it can do."""
        return self.tier.name

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What tells this model from another in LangChain's response cache."""
        return {**self.tier.model._identifying_params, "tier": self.tier.label}

    def _should_stream(
        self, *, async_api: bool, run_manager: _RunManager | None = None, **kwargs: Any
    ) -> bool:
        wanted = super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)
        return wanted and self._can_stream(async_api, kwargs)

    def _should_use_protocol_streaming(
        self, *, async_api: bool, run_manager: _RunManager | None = None, **kwargs: Any
    ) -> bool:
        wanted = super()._should_use_protocol_streaming(
            async_api=async_api, run_manager=run_manager, **kwargs
        )
        return wanted and self._can_stream(async_api, kwargs)

    def _can_stream(self, async_api: bool, kwargs: dict[str, Any]) -> bool:
        """True where the wrapped model streams; else its whole answer comes as one chunk."""
        arguments: dict[str, Any] = {**kwargs, "stream": True}
        return self.tier.model._should_stream(async_api=async_api, **arguments)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.tier.model._get_ls_params(stop=stop, **kwargs)  # LangChain's own protocol

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer `tools` in the shape of the wrapped model's provider."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self._around(self.tier.model.bind_tools(tools, **choice, **kwargs))

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers of `schema`, by the wrapped model's own methods."""
        made = self.tier.model.with_structured_output(schema, include_raw=include_raw, **kwargs)
        return self._around(made)

    def get_token_ids(self, text: str) -> list[int]:
        """As the wrapped model tells."""
        return self.tier.model.get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of `text` as they are counted for reservations."""
        tier = self.tier
        return (
            tier.counter.text(text) if tier.exact_count is None else tier.model.get_num_tokens(text)
        )

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of a request as they are counted for reservations."""
        return self.tier.count(messages, [convert_to_openai_tool(tool) for tool in tools or ()])

    def _around(self, made: Runnable[Any, Any]) -> Runnable[Any, Any]:
        """What the wrapped model made of itself, made of this one."""
        if isinstance(made, BaseChatModel) and made is not self.tier.model:
            return self.model_copy(update={"tier": tier_of(made, 0)})  # it keeps tools in itself
        found = rebound(made, self.tier.model, self)
        if found is None:
            raise ConfigError(
                f"{type(self.tier.model).__name__} makes a {type(made).__name__} that its calls "
                "cannot be metered in; call the model itself, and parse what it answers"
            )
        return found

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        task = self._payer()
        if task is None:
            return self.tier.model._generate(messages, stop=stop, **kwargs)
        spans = CallSpans(task.task_id)

        def send(held: HeldCall, seconds: float | None) -> Reply:
            arguments = self._arguments(task, held, seconds, kwargs)
            with spans.inside_call(held):
                return self.tier.model._generate(messages, stop=stop, **arguments)

        call = self._call(messages, kwargs, spans, send=send)
        reply, _ = drive(metered_call(task, call))
        return _result(reply)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  as above
        **kwargs: Any,
    ) -> ChatResult:
        task = self._payer()
        if task is None:
            return await self.tier.model._agenerate(messages, stop=stop, **kwargs)
        spans = CallSpans(task.task_id)

        async def asend(held: HeldCall, seconds: float | None) -> Reply:
            arguments = self._arguments(task, held, seconds, kwargs)
            with spans.inside_call(held):
                return await self.tier.model._agenerate(messages, stop=stop, **arguments)

        call = self._call(messages, kwargs, spans, asend=asend)
        reply, _ = await adrive(metered_call(task, call))
        return _result(reply)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        task = self._payer()
        if task is None:
            yield from self.tier.model._stream(messages, stop=stop, **kwargs)
            return
        spans = CallSpans(task.task_id)
        streamed = StreamedCall(task, self._call(messages, kwargs, spans))
        if (known := streamed.replayed()) is not None:
            yield _whole(known)
            return
        yield from read_on(self._chunks(streamed, messages, stop, kwargs))

    def _chunks(
        self,
        streamed: StreamedCall,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> Generator[ChatGenerationChunk]:
        with streamed as held:
            task = streamed.task
            arguments = self._arguments(task, held, task.seconds_left(), kwargs)
            chunks = self.tier.model._stream(messages, stop=stop, **arguments)
            try:
                for chunk in chunks:
                    streamed.take(chunk)
                    yield chunk
            finally:
                if isinstance(chunks, Generator):
                    chunks.close()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  as above
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        task = self._payer()
        if task is None:
            async for chunk in self.tier.model._astream(messages, stop=stop, **kwargs):
                yield chunk
            return
        spans = CallSpans(task.task_id)
        streamed = StreamedCall(task, self._call(messages, kwargs, spans))
        if (known := streamed.replayed()) is not None:
            yield _whole(known)
            return
        async with streamed as held:
            arguments = self._arguments(task, held, task.seconds_left(), kwargs)
            chunks = self.tier.model._astream(messages, stop=stop, **arguments)
            try:
                async for chunk in chunks:
                    streamed.take(chunk)
                    yield chunk
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()

    def _call(
        self,
        messages: list[BaseMessage],
        kwargs: dict[str, Any],
        spans: CallSpans,
        *,
        send: Callable[[HeldCall, float | None], Any] | None = None,
        asend: Callable[[HeldCall, float | None], Any] | None = None,
    ) -> Call:
        tools = kwargs.get("tools") or ()
        if not all(isinstance(tool, Mapping) for tool in tools):
            raise ConfigError("tools= takes definitions; offer functions with bind_tools([...])")
        return Call(
            tier=self.tier,
            messages=messages,
            tools=tools,
            kwargs=kwargs,
            send=send or _unused,
            asend=asend or _unused,
            purpose="metered",
            observer=spans,
            wanted_output_tokens=output_limit(kwargs),
        )

    def _payer(self) -> Task | None:
        """The task that pays; None where calls without one are allowed. Raises TaskMissing."""
        try:
            task = self.task or current_task()
        except TaskMissing:
            if self.without_task == "allow":
                return None
            raise
        if not task.is_observed:  # no agent runs it, so nobody has put its events into the trace
            task.observe(tell_current_span)
        return task

    def _arguments(
        self, task: Task, held: HeldCall, seconds: float | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        own = self.tier.call_arguments(held.max_output_tokens, seconds, task.task_id)
        ours = ("stream_usage", *OUTPUT_LIMITS)
        told = {name: value for name, value in kwargs.items() if name not in ours}
        limit, asked = self.tier.rules.timeout_argument, told.get("timeout")
        if limit is not None and isinstance(asked, int | float):
            own[limit] = min(asked, own.get(limit, asked))
        return {**told, **own}


def _result(reply: Reply) -> ChatResult:
    if isinstance(reply, ChatResult):
        return reply
    return ChatResult(generations=[ChatGeneration(message=reply)])


def _whole(message: AIMessage) -> ChatGenerationChunk:
    """A whole answer as one chunk."""
    chunk = AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
        usage_metadata=message.usage_metadata,
        id=message.id,
    )
    return ChatGenerationChunk(message=chunk)


def _unused(held: HeldCall, seconds: float | None) -> Any:  # noqa: ARG001  stands in for a sender
    raise AssertionError("this call is sent in another way")
