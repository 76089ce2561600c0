"""What a request may say that makes it cost more than can be counted in it, as dated data.

Collected November 2026 from OpenAI's, Anthropic's and Google's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.errors import ConfigError
from agentkit.models.beside import OUTPUT_LIMITS

_RUN_BY_PROVIDERS = (
    "web_search",
    "web_fetch",
    "code_execution",
    "code_interpreter",
    "file_search",
    "image_generation",
    "mcp",
    "google_search",
    "google_maps",
    "url_context",
)
"""Tools that run at the provider: billed by use, or with what they find as further input."""
_DEARER = {
    "service_tier": "priority",
    "speed": "fast",
    "inference_geo": "us",
}
_SEARCHES = ("web_search_options", "search_parameters", "plugins")
"""Arguments that let the provider search: OpenAI's, xAI's and OpenRouter's."""
_OTHER_MODELS = ("models", "fallbacks")
"""Arguments that let a gateway ask another model than the one that is named."""
_ANSWERS = ("n", "candidate_count", "best_of")
_KEPT_BY_PROVIDERS = (
    *("previous_response_id", "use_previous_response_id", "conversation", "prompt"),
    "cached_content",
)
"""Arguments that stand for input which the provider holds."""


def check_billing(arguments: Mapping[str, Any], *, model: str = "") -> None:
    """Refuse what makes a request to `model` cost more than its reservation bounds.

    Raises ConfigError.
    """
    _check_body(arguments.get("extra_body") or {})
    arguments = _flat(arguments)
    _check_model(arguments, model)
    for name in _ANSWERS:
        n = arguments.get(name)
        if isinstance(n, int) and n > 1:
            raise ConfigError(
                f"{name}={n} bills {n} answers of one request, which no reservation here bounds; "
                "ask once each"
            )
    for name, value in _DEARER.items():
        if arguments.get(name) == value:
            raise ConfigError(
                f'{name}="{value}" is billed above the prices that are known; leave it out'
            )
    _check_extras(arguments)
    for tool in arguments.get("tools") or ():
        if run_by_provider(tool):
            raise ConfigError(
                f"{_kind(tool)} runs at the provider, which bills what it does beside the request, "
                "and no reservation bounds that; give the agent a tool of its own for it"
            )
    if arguments.get("mcp_servers"):
        raise ConfigError(
            "mcp_servers are asked by the provider, which bills what they answer beside the "
            "request, and no reservation bounds that; give the agent an MCP server as a tool"
        )


def _check_body(body: Mapping[str, Any]) -> None:
    """What `extra_body` says is sent in place of what a call sets: its limit must not be there."""
    for name in OUTPUT_LIMITS:
        if body.get(name) is not None:
            raise ConfigError(
                f"{name} in extra_body would pass the limit that a reservation sets on the answer; "
                "give the model max_tokens instead"
            )


def _check_model(arguments: Mapping[str, Any], model: str) -> None:
    asked = arguments.get("model") or arguments.get("model_name")
    if model and asked and asked != model:
        raise ConfigError(
            f"model={asked!r} in the arguments asks another model than {model!r}, whose price is "
            "reserved; make a model of each"
        )
    for name in _OTHER_MODELS:
        if arguments.get(name):
            raise ConfigError(
                f"{name} lets the provider ask a model whose price is not reserved; make a model "
                "of each"
            )


def _check_extras(arguments: Mapping[str, Any]) -> None:
    for name in _SEARCHES:
        if arguments.get(name) is not None:
            raise ConfigError(
                f"{name} searches at the provider, which bills that beside the request, and no "
                "reservation bounds it; give the agent a tool of its own for it"
            )
    spoken = [each for each in arguments.get("modalities") or () if str(each).lower() != "text"]
    if spoken:
        raise ConfigError(f"answers in {spoken[0]} are billed at prices that are not known")
    if arguments.get("prediction"):
        raise ConfigError(
            "a prediction is billed where it is wrong, and no limit on the answer goes with it; "
            "leave it out"
        )
    if "compact" in str(arguments.get("context_management") or ""):
        raise ConfigError(
            "compaction at the provider is billed as a call of its own, which no reservation "
            "bounds; agentkit.memory.Context condenses within the budget"
        )


def run_by_provider(tool: object) -> bool:
    """Whether a tool's definition names one that the provider runs."""
    return isinstance(tool, Mapping) and _kind(cast("Mapping[str, Any]", tool)) != ""


def input_is_kept(arguments: Mapping[str, Any]) -> bool:
    """Whether a request goes on from input that the provider holds, and nobody can count."""
    told = _flat(arguments)
    return any(told.get(name) for name in _KEPT_BY_PROVIDERS)


def _flat(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    own: Mapping[str, Any] = arguments.get("model_kwargs") or {}
    body: Mapping[str, Any] = arguments.get("extra_body") or {}
    return {**arguments, **own, **body}


def _kind(tool: Mapping[str, Any]) -> str:
    """The name of a tool that runs at the provider; empty for another."""
    kind = tool.get("type")
    if kind in (None, "function", "custom"):  # Google's tools are named by their only key
        names: Sequence[str] = list(tool) if kind is None and len(tool) == 1 else ()
    else:
        names = (str(kind),)
    return next((name for name in names if name.startswith(_RUN_BY_PROVIDERS)), "")
