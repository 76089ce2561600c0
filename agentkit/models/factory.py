"""Models by name: `"openai:gpt-5-mini"` becomes the LangChain class of that provider."""

from __future__ import annotations

import os
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentkit.errors import ConfigError, ExtraMissing, ModelNotFound

DEFAULT_TIMEOUT_SECONDS = 120.0


def chat_model(name: str, **kwargs: Any) -> BaseChatModel:
    """The chat model that `name` stands for; `kwargs` go to its provider's class unchanged.

    `local:pocket`, `local:/path/model.gguf`, `openai:MODEL` and `anthropic:MODEL` are known. The
    providers' own retries are off, for every attempt must be a reservation of its own. Raises
    ModelNotFound for a name that means nothing, ExtraMissing without the provider's package, and
    ConfigError without an API key.
    """
    provider, separator, model = name.partition(":")
    if not separator or not model:
        raise ModelNotFound(
            f"{name!r} is not a model; write provider:model, like 'local:pocket', "
            "'openai:gpt-5-mini' or 'anthropic:claude-sonnet-4-5'"
        )
    match provider:
        case "local":
            from agentkit.models.local import local_model

            return local_model(model, **kwargs)
        case "openai":
            return _openai(model, kwargs)
        case "anthropic":
            return _anthropic(model, kwargs)
        case _:
            raise ModelNotFound(
                f"provider {provider!r} of {name!r} is not known; use local:, openai: or "
                "anthropic:, or pass any LangChain chat model as an object"
            )


def _openai(model: str, kwargs: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain_openai import ChatOpenAI
    except ImportError as error:
        raise ExtraMissing(what=f"openai:{model}", extra="openai") from error
    _require_key("OPENAI_API_KEY", f"openai:{model}", kwargs, ("api_key", "openai_api_key"))
    settings: dict[str, Any] = {
        "timeout": DEFAULT_TIMEOUT_SECONDS,
        "stream_usage": True,
        **kwargs,
        "max_retries": 0,
    }
    return ChatOpenAI(model=model, **settings)


def _anthropic(model: str, kwargs: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain_anthropic import ChatAnthropic
    except ImportError as error:
        raise ExtraMissing(what=f"anthropic:{model}", extra="anthropic") from error
    names = ("api_key", "anthropic_api_key")
    _require_key("ANTHROPIC_API_KEY", f"anthropic:{model}", kwargs, names)
    settings: dict[str, Any] = {
        "timeout": DEFAULT_TIMEOUT_SECONDS,
        **kwargs,
        "model": model,
        "max_retries": 0,
    }
    return ChatAnthropic(**settings)


def _require_key(
    variable: str, name: str, kwargs: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Say which key is missing before the SDK does; reading the variable is the SDK's own habit."""
    if any(kwargs.get(argument) for argument in arguments) or os.environ.get(variable):
        return
    raise ConfigError(f"{name} needs an API key: set {variable}, or pass api_key=...")
