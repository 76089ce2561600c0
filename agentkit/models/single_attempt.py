"""A user's own model object with its SDK's hidden retries taken off, and its usage told in streams.

An SDK that retries on its own sends requests that nobody reserved. The copies made here share
everything else with the original, which stays as it was.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel

Sdk = Literal["openai", "anthropic", ""]


def single_attempt(model: BaseChatModel) -> BaseChatModel:
    """`model`, or a copy of it whose client sends each request once."""
    if getattr(model, "max_retries", 0) == 0:
        return model
    match sdk_of(model):
        case "openai":
            return _openai(model)
        case "anthropic":
            return _anthropic(model)
        case _:
            pass
    if "max_retries" in type(model).model_fields:
        return model.model_copy(update={"max_retries": 0})
    return model


def with_stream_usage(model: BaseChatModel) -> BaseChatModel:
    """`model`, or a copy of it that asks for its usage where it streams.

    Without it a stream is charged at its worst case. It is told to the model, not to the call: the
    Responses API of OpenAI always tells, and knows no argument for it.
    """
    if "stream_usage" not in type(model).model_fields or getattr(model, "stream_usage", True):
        return model
    return model.model_copy(update={"stream_usage": True})


def sdk_of(model: BaseChatModel) -> Sdk:
    """The SDK that a LangChain class asks, or a class made from one, such as ChatDeepSeek."""
    return _sdk_of(type(model))


@cache
def _sdk_of(kind: type[BaseChatModel]) -> Sdk:
    packages = {each.__module__.partition(".")[0] for each in kind.__mro__}
    if "langchain_openai" in packages:
        return "openai"
    return "anthropic" if "langchain_anthropic" in packages else ""


def _openai(model: BaseChatModel) -> BaseChatModel:
    source: Any = model
    clients: dict[str, Any] = {"max_retries": 0}
    if source.root_client is not None:
        root = source.root_client.with_options(max_retries=0)
        clients |= {"root_client": root, "client": root.chat.completions}
    if source.root_async_client is not None:
        root = source.root_async_client.with_options(max_retries=0)
        clients |= {"root_async_client": root, "async_client": root.chat.completions}
    return model.model_copy(update=clients)


def _anthropic(model: BaseChatModel) -> BaseChatModel:
    """ChatAnthropic builds its clients at first use and keeps them in its `__dict__`."""
    copy = model.model_copy(update={"max_retries": 0})
    kept: dict[str, Any] = vars(copy)
    for cached in ("_client_params", "_client", "_async_client"):
        kept.pop(cached, None)
    return copy
