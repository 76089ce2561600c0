"""How a model is told of tools that come during a run: a fact of its API and its client class.

LangChain's profile of a model says whether tools can be added in the middle of a conversation (for
OpenAI where the class calls the Responses API). Older models of Anthropic's load a deferred
definition by a reference in a tool's result. Collected November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentkit.tools.provision.native import Way

_REFERENCES = (
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
)
"""Models whose tool search loads by reference (Anthropic's documentation; none of Haiku 4.5)."""


def way_of(model: BaseChatModel, name: str) -> Way:
    """The way of `model`; "described", which every model takes, where nothing better is known."""
    family = type(model).__module__.partition(".")[0]
    profile: Mapping[str, Any] = getattr(model, "profile", None) or {}
    adds = bool(profile.get("mid_conversation_tools"))
    if family == "langchain_openai":
        return "additional_tools" if adds else "described"
    if family != "langchain_anthropic" or model._llm_type != "anthropic-chat":  # pyright: ignore[reportPrivateUsage]  # LangChain's own way to tell the direct API from clouds
        return "described"
    if adds:
        return "tool_addition"
    return "tool_reference" if name.startswith(_REFERENCES) else "described"
