"""`metered(model, task)`: any LangChain chat model, spending from a task.

For users' own graphs and sub-agents: the model reserves before it calls, clamps its output, settles
what was reported, and does nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict

from agentkit.budgets.task import HeldCall, Task
from agentkit.effects import Reply, adrive, drive
from agentkit.metering import Call, StreamedCall, metered_call
from agentkit.models.tier import Tier, tier_of


def metered(model: str | BaseChatModel, task: Task) -> MeteredChatModel:
    """`model`, spending from `task`: what `ledger.open_task(...)` or a sub-agent's task gives.

    Its calls raise BudgetExceeded or DeadlineExceeded before anything is sent.
    """
    return MeteredChatModel(tier=tier_of(model, 0), task=task)


class MeteredChatModel(BaseChatModel):
    """A chat model whose every call is reserved and settled on a task."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tier: Tier
    task: Task

    @property
    def _llm_type(self) -> str:
        return f"metered-{self.tier.model._llm_type}"  # LangChain's own name of a model's kind

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
        bound = self.tier.model.bind_tools(tools, **choice, **kwargs)
        return self.bind(**getattr(bound, "kwargs", {}))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def send(held: HeldCall, seconds: float | None) -> Reply:
            arguments = self._arguments(held, seconds, kwargs)
            return self.tier.model._generate(messages, stop=stop, **arguments)

        reply, _ = drive(metered_call(self.task, self._call(messages, kwargs, send, send)))
        return _result(reply)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async def asend(held: HeldCall, seconds: float | None) -> Reply:
            arguments = self._arguments(held, seconds, kwargs)
            return await self.tier.model._agenerate(messages, stop=stop, **arguments)

        reply, _ = await adrive(metered_call(self.task, self._call(messages, kwargs, asend, asend)))
        return _result(reply)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        streamed = StreamedCall(self.task, self._call(messages, kwargs, None, None))
        with streamed as held:
            arguments = self._stream_arguments(held, kwargs)
            for chunk in self.tier.model._stream(messages, stop=stop, **arguments):
                streamed.take(_chunk(chunk))
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        streamed = StreamedCall(self.task, self._call(messages, kwargs, None, None))
        async with streamed as held:
            arguments = self._stream_arguments(held, kwargs)
            async for chunk in self.tier.model._astream(messages, stop=stop, **arguments):
                streamed.take(_chunk(chunk))
                yield chunk

    def _call(
        self,
        messages: list[BaseMessage],
        kwargs: dict[str, Any],
        send: Callable[[HeldCall, float | None], Any] | None,
        asend: Callable[[HeldCall, float | None], Any] | None,
    ) -> Call:
        wanted = kwargs.get(self.tier.rules.output_limit)
        return Call(
            tier=self.tier,
            messages=messages,
            tools=kwargs.get("tools") or (),
            kwargs=kwargs,
            send=send or _unused,
            asend=asend or _unused,
            purpose="metered",
            wanted_output_tokens=wanted if isinstance(wanted, int) else None,
        )

    def _arguments(
        self, held: HeldCall, seconds: float | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        own = self.tier.call_arguments(held.max_output_tokens, seconds, self.task.task_id)
        return {**kwargs, **own}

    def _stream_arguments(self, held: HeldCall, kwargs: dict[str, Any]) -> dict[str, Any]:
        arguments = self._arguments(held, self.task.seconds_left(), kwargs)
        return {**arguments, **dict(self.tier.rules.stream_arguments)}


def _result(reply: Reply) -> ChatResult:
    if isinstance(reply, ChatResult):
        return reply
    return ChatResult(generations=[ChatGeneration(message=reply)])


def _chunk(chunk: ChatGenerationChunk) -> AIMessageChunk:
    message = chunk.message
    if not isinstance(message, AIMessageChunk):
        raise TypeError(f"a chat model streamed a {type(message).__name__}")
    return message


def _unused(held: HeldCall, seconds: float | None) -> Any:
    raise AssertionError("a streamed call is not sent through the driver")
