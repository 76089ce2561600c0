"""What a request tells the model beside its messages and tools: schemas, system texts and such.

Collected November 2026 from OpenAI's, Anthropic's and Google's documentation. Arguments that are
not known count as input: a reservation may be too large, but not too small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel

OUTPUT_LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens_to_sample",
    "num_predict",
)
"""The names under which providers and LangChain's classes know the limit on an answer's tokens."""
_NO_INPUT = frozenset(
    {
        *OUTPUT_LIMITS,
        *("model", "model_name", "stream", "stream_usage", "stream_options", "timeout"),
        *("temperature", "top_p", "top_k", "seed", "n", "candidate_count", "min_p"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty"),
        *("logprobs", "top_logprobs", "logit_bias", "stop", "stop_sequences", "strict"),
        *("user", "metadata", "store", "service_tier", "safety_identifier", "user_profile_id"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_control"),
        *("parallel_tool_calls", "max_tool_calls", "truncation", "background", "include"),
        *("thinking", "reasoning", "reasoning_effort", "effort", "verbosity", "include_thoughts"),
        *("thinking_budget", "thinking_level", "modalities", "extra_headers", "extra_query"),
        *("betas", "container", "context_management", "inference_geo", "speed", "mcp_servers"),
        *("ls_structured_output_format", "previous_response_id", "conversation", "prompt"),
        *("use_previous_response_id", "cached_content"),
        *("model_kwargs", "extra_body"),  # what they hold is looked at
    }
)
_HOLD_A_FORMAT = ("text", "output_config")
_FORMATS = ("output_format", "response_format")
_ANTHROPIC_FORMAT = "The answer is to be JSON by the schema that follows. " * 32
"""Stands for the system text that Anthropic adds to a request with a schema, whose size is not
published; its text for tools has up to 346 tokens."""


def text_beside(arguments: Mapping[str, Any], provider: str = "") -> str:
    """What `arguments` of a call, or a model's own, hold of a request's input, as JSON; else ""."""
    told = dict(_told(arguments))
    if not told:
        return ""
    text = json.dumps(told, ensure_ascii=False, default=_plain)
    if provider == "anthropic" and not told.keys().isdisjoint((*_FORMATS, "format")):
        text += _ANTHROPIC_FORMAT
    return text


def marks_within(value: object) -> Iterator[Mapping[str, Any]]:
    """Every `cache_control` mark in the arguments or contents of a request."""
    if isinstance(value, dict):
        for name, part in cast("dict[str, object]", value).items():
            if name == "cache_control" and isinstance(part, dict):
                yield cast("Mapping[str, Any]", part)
            elif not isinstance(part, str):
                yield from marks_within(part)
    elif isinstance(value, list | tuple):
        for part in cast("list[object]", value):
            if not isinstance(part, str):
                yield from marks_within(part)


def thinking_tokens(arguments: Mapping[str, Any]) -> int:
    """The tokens of an answer that are set apart for thinking; 0 where none are.

    Anthropic refuses a request whose limit on the answer is not above them.
    """
    thinking: Any = arguments.get("thinking")
    if not isinstance(thinking, Mapping):
        return 0
    told = cast("Mapping[str, Any]", thinking)
    budget = told.get("budget_tokens")
    return budget if told.get("type") == "enabled" and isinstance(budget, int) else 0


def output_limit(arguments: Mapping[str, Any]) -> int | None:
    """The smallest limit on the answer's tokens among `arguments`, by whatever name."""
    limits = [arguments.get(name) for name in OUTPUT_LIMITS]
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def _told(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    inner: Mapping[str, Any] = arguments.get("model_kwargs") or {}
    body: Mapping[str, Any] = arguments.get("extra_body") or {}
    within = {**inner, **body}
    for name, value in (*within.items(), *arguments.items()):
        if not value or name in _NO_INPUT or (name == "tools" and name not in within):
            continue
        if name == "tool_choice" and isinstance(value, str):
            continue
        if name not in _HOLD_A_FORMAT:
            yield name, value
        elif wanted := cast("Mapping[str, Any]", value).get("format"):
            yield "format", wanted


def _plain(value: object) -> object:
    """A schema that was given as a class, as it is sent."""
    if isinstance(value, type):
        kind = cast("type[Any]", value)
        if issubclass(kind, BaseModel):
            return kind.model_json_schema()
    return str(value)
