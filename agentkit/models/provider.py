"""Facts about providers that a paid call depends on, as dated data.

Collected November 2026 from the providers' documentation and client libraries.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Failure = Literal["unsent", "rejected", "uncertain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRules:
    """How one provider takes a limit on output, and how its inputs are counted.

    `output_limit` is the call argument that LangChain's class for the provider understands.
    """

    output_limit: str = "max_tokens"
    message_overhead_tokens: int = 4
    request_overhead_tokens: int = 3
    tools_overhead_tokens: int = 12
    timeout_argument: str | None = None


_DEFAULT = ProviderRules()
_RULES = {
    "openai": ProviderRules(timeout_argument="timeout"),
    "azure": ProviderRules(timeout_argument="timeout"),
    "anthropic": ProviderRules(tools_overhead_tokens=400, timeout_argument="timeout"),
    "google_genai": ProviderRules(output_limit="max_output_tokens"),
    "google_vertexai": ProviderRules(output_limit="max_output_tokens"),
    "ollama": ProviderRules(output_limit="num_predict"),
}

_ALIASES = {"amazon_bedrock": "aws", "google_genai": "google", "google_vertexai": "google"}

_GATEWAY_LOST = frozenset({408, 499, 502, 504, 522, 524})
"""Answers by a gateway that gave up waiting: the model behind it may have finished and billed."""

_UNKNOWN_ARGUMENT = re.compile(
    r"(Async)?(Completions|Responses|Messages)\.(create|parse|stream)\(\) got an unexpected keyword"
)
"""What Python says where a method of OpenAI's or Anthropic's SDK was not even entered."""
_NEVER_CONNECTED = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
_RETRY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 522, 524, 529})
_CONNECTION_ERRORS = frozenset({"APIConnectionError", "APITimeoutError", "TimeoutError"})


def rules_for(provider: str) -> ProviderRules:
    """The rules for `provider`, as LangChain names it; sensible ones for a stranger."""
    return _RULES.get(provider, _DEFAULT)


def pricing_name(provider: str) -> str:
    """The name under which the price table knows LangChain's `provider`."""
    return _ALIASES.get(provider, provider)


def classify(error: BaseException, provider: str) -> Failure:
    """What a failed call means for its money.

    `unsent`: no request was made, or no connection. `rejected`: the provider answered with an
    error, which it does not bill. `uncertain`: anything else; the request may have been billed.
    """
    if not isinstance(error, Exception):
        return "uncertain"
    status = _status(error)
    if status is not None and status >= 400:
        return "uncertain" if status in _GATEWAY_LOST else "rejected"
    if _was_not_built(error) or any(
        type(cause).__name__ in _NEVER_CONNECTED and type(cause).__module__.startswith("http")
        for cause in _causes(error)
    ):
        return "unsent"
    return "rejected" if provider in ("local", "llama.cpp") else "uncertain"


def is_transient(error: BaseException) -> bool:
    """True where the same request may well succeed a little later."""
    status = _status(error)
    if status is not None:
        return status in _RETRY_STATUSES
    causes = list(_causes(error))
    return any(
        type(cause).__name__ in _CONNECTION_ERRORS or type(cause).__module__.startswith("httpx")
        for cause in causes
    )


def retry_after_seconds(error: BaseException) -> float | None:
    """Seconds that the provider asked to wait, from its `retry-after` header."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        return None if headers is None else max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError, TypeError):
        return None


def describe(error: BaseException) -> str:
    """An error for records and logs: its type and status, never the contents that it quotes."""
    status = _status(error)
    return type(error).__name__ if status is None else f"{type(error).__name__} (HTTP {status})"


def _was_not_built(error: BaseException) -> bool:
    """Whether an SDK turned its arguments down before it had made a request of them."""
    if isinstance(error, TypeError) and _UNKNOWN_ARGUMENT.match(str(error)):
        return True
    return any(
        frame.f_code.co_name == "_build_request"
        and frame.f_globals.get("__name__") in ("openai._base_client", "anthropic._base_client")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
