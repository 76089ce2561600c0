"""The real client libraries, pointed at a scripted provider."""

from __future__ import annotations

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.wire.server import ScriptedProvider

_SHARED: dict[str, object] = {
    "api_key": SecretStr("test"),
    "max_retries": 0,
    "max_tokens": 500,
    "timeout": 5,
}


def openai_client(provider: ScriptedProvider, **settings: object) -> BaseChatModel:
    """gpt-5-mini through langchain-openai, without its own retries."""
    base: dict[str, object] = {"model": "gpt-5-mini", "base_url": provider.openai_url}
    merged = {**_SHARED, **base, "stream_usage": True, **settings}
    return ChatOpenAI.model_validate(merged)


def responses_client(provider: ScriptedProvider, **settings: object) -> BaseChatModel:
    """gpt-5-mini through the responses endpoint."""
    return openai_client(provider, use_responses_api=True, **settings)


def anthropic_client(provider: ScriptedProvider, **settings: object) -> BaseChatModel:
    """claude-haiku-4-5 through langchain-anthropic, without its own retries."""
    base: dict[str, object] = {"model": "claude-haiku-4-5", "base_url": provider.anthropic_url}
    return ChatAnthropic.model_validate({**_SHARED, **base, **settings})
