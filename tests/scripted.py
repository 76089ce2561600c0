"""A fake chat model for tests, in process: says what its script says, one word = one token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

Script = Callable[[Sequence[BaseMessage]], AIMessage | BaseException]


def call(name: str, /, **args: Any) -> AIMessage:
    """An answer that calls one tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"{name}-{len(args)}"}])


def in_turn(*answers: AIMessage | str | BaseException) -> Script:
    """Each answer once, then the last one for ever."""
    left = [AIMessage(a) if isinstance(a, str) else a for a in answers]

    def script(messages: Sequence[BaseMessage]) -> AIMessage | BaseException:
        return left.pop(0) if len(left) > 1 else left[0]

    return script


class ScriptedModel(BaseChatModel):
    """Named as the fake that it is; `seen` keeps what it was sent, `offered` the tools."""

    script: Script
    name_of_model: str = "scripted"
    provider: str = "scripted"
    reports_usage: bool = True
    writes_answers: bool = True
    seen: list[list[BaseMessage]] = Field(default_factory=list)
    kwargs_seen: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.name_of_model}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=list(tools), **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._answer(messages, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        message = self._answer(messages, kwargs)
        for word in str(message.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
        last = AIMessageChunk(
            content="",
            usage_metadata=message.usage_metadata,
            tool_call_chunks=[
                {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i}
                for i, c in enumerate(message.tool_calls)
            ],
        )
        yield ChatGenerationChunk(message=last)

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        self.seen.append(list(messages))
        self.kwargs_seen.append(kwargs)
        said = self.script(messages)
        if isinstance(said, BaseException):
            raise said
        words = sum(len(message.text.split()) for message in messages)
        output = len(said.text.split()) + 5 * len(said.tool_calls)
        usage: Any = {
            "input_tokens": words,
            "output_tokens": output,
            "total_tokens": words + output,
        }
        update = {"usage_metadata": usage if self.reports_usage else None}
        return said.model_copy(update=update)
