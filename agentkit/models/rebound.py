"""What LangChain made of one model, made of another: the same arguments and parsers around it."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableParallel, RunnableSequence

from agentkit.errors import ConfigError

_Made = Runnable[Any, Any]


def rebound(made: _Made, inner: BaseChatModel, outer: BaseChatModel) -> _Made | None:
    """`made` with `outer` in the place of `inner`; None where `inner` is not found in it."""
    if made is inner:
        return outer
    if isinstance(made, RunnableBinding):
        bound = rebound(made.bound, inner, outer)
        if bound is None:
            return None
        again = bound.bind(**made.kwargs)
        return again.with_config(made.config) if made.config else again
    if isinstance(made, RunnableSequence):
        first = rebound(made.first, inner, outer)
        return None if first is None else RunnableSequence(first, *made.middle, made.last)
    if isinstance(made, RunnableParallel):
        steps = {name: rebound(step, inner, outer) or step for name, step in made.steps__.items()}
        is_found = any(step is not made.steps__[name] for name, step in steps.items())
        return RunnableParallel(steps) if is_found else None
    return None


def require_chat_model(model: object) -> None:
    """Raises ConfigError for what LangChain makes of a chat model, and says what to do instead."""
    if isinstance(model, BaseChatModel):
        return
    kind = type(model).__name__
    if isinstance(model, RunnableBinding):
        advice = (
            "give its arguments to the model itself, as ChatOpenAI(temperature=0), or bind them to "
            "what metered(...) returns"
        )
    elif isinstance(model, Runnable):
        advice = (
            "give the chat model within it, and make the rest of what metered(...) returns, as "
            "metered(a).with_fallbacks([metered(b)])"
        )
    else:
        advice = "give a string like 'openai:gpt-5-mini', or any LangChain chat model"
    raise ConfigError(f"a {kind} is not a chat model: {advice}")
