"""What a request may say that makes it cost more than can be counted in it, as dated data.

Collected November 2026 from OpenAI's, Anthropic's and Google's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.errors import ConfigError

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
_KEPT_BY_PROVIDERS = ("previous_response_id", "conversation", "prompt")
"""Arguments that stand for input which the provider holds."""


def check_billing(arguments: Mapping[str, Any]) -> None:
    """Refuse what makes a request cost more than its reservation bounds. Raises ConfigError."""
    arguments = _flat(arguments)
    n = arguments.get("n")
    if isinstance(n, int) and n > 1:
        raise ConfigError(
            f"n={n} bills {n} answers of one request, which no reservation here bounds; "
            "ask once each"
        )
    for name, value in _DEARER.items():
        if arguments.get(name) == value:
            raise ConfigError(
                f'{name}="{value}" is billed above the prices that are known; leave it out'
            )
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
