"""What a failure means for its money, by the providers' own error types."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest
from langchain_core.messages import AIMessage

from agentkit.budgets import Usage
from agentkit.models.provider import classify, describe, is_transient, retry_after_seconds
from agentkit.models.usage import usage_of

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1")


def status_error(sdk: object, status: int, **headers: str) -> Exception:
    response = httpx.Response(status, request=REQUEST, headers=headers)
    error: Exception = sdk.APIStatusError("secret text", response=response, body=None)  # type: ignore[attr-defined]  # both SDKs have it
    return error


def connection_error(sdk: object, cause: Exception) -> Exception:
    error: Exception = sdk.APIConnectionError(request=REQUEST)  # type: ignore[attr-defined]  # both SDKs have it
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("sdk", [openai, anthropic])
@pytest.mark.parametrize(
    ("status", "failure", "transient"),
    [
        (400, "rejected", False),
        (401, "rejected", False),
        (429, "rejected", True),
        (500, "rejected", True),
        (503, "rejected", True),
        (529, "rejected", True),
        (408, "uncertain", True),
        (502, "uncertain", True),
        (504, "uncertain", True),
    ],
)
def test_http_statuses(sdk: object, status: int, failure: str, transient: bool) -> None:
    error = status_error(sdk, status)
    assert (classify(error, "openai"), is_transient(error)) == (failure, transient)


@pytest.mark.parametrize("sdk", [openai, anthropic])
@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        (httpx.ConnectError("refused"), "unsent"),
        (httpx.ConnectTimeout("slow"), "unsent"),
        (httpx.ReadError("reset"), "uncertain"),
        (httpx.ReadTimeout("slow"), "uncertain"),
        (httpx.RemoteProtocolError("gone"), "uncertain"),
        (httpx.WriteError("half sent"), "uncertain"),
    ],
)
def test_connections(sdk: object, cause: Exception, failure: str) -> None:
    error = connection_error(sdk, cause)
    assert (classify(error, "openai"), is_transient(error)) == (failure, True)


def test_cancellations_and_strangers_are_uncertain() -> None:
    assert classify(KeyboardInterrupt(), "openai") == "uncertain"
    assert classify(ValueError("?"), "somebody") == "uncertain"
    assert classify(ValueError("?"), "local") == "rejected"
    assert not is_transient(ValueError("?"))


def test_retry_after_is_read_and_nonsense_is_not() -> None:
    assert retry_after_seconds(status_error(openai, 429, **{"retry-after": "7"})) == 7.0
    assert retry_after_seconds(status_error(openai, 429, **{"retry-after": "soon"})) is None
    assert retry_after_seconds(status_error(openai, 429)) is None
    assert retry_after_seconds(ValueError()) is None


def test_descriptions_quote_nothing() -> None:
    assert describe(status_error(openai, 429)) == "APIStatusError (HTTP 429)"
    assert "secret" not in describe(ValueError("secret"))


def reported(**details: object) -> AIMessage:
    inputs = {key: value for key, value in details.items() if value is not None}
    usage = {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050}
    return AIMessage(
        "x",
        usage_metadata={
            **usage,
            "input_token_details": inputs,
            "output_token_details": {"reasoning": 20},
        },
    )


def test_no_usage_is_none() -> None:
    assert usage_of(AIMessage("x")) is None


def test_told_lifetimes_of_cache_writes_are_kept_apart() -> None:
    message = reported(
        cache_read=100,
        cache_creation=0,
        ephemeral_5m_input_tokens=200,
        ephemeral_1h_input_tokens=300,
    )
    assert usage_of(message) == Usage(
        input_tokens=1000,
        cache_read_tokens=100,
        cache_write_5m_tokens=200,
        cache_write_1h_tokens=300,
        output_tokens=50,
        reasoning_tokens=20,
    )


def test_untold_lifetimes_are_taken_as_the_longest_that_was_asked_for() -> None:
    message = reported(cache_creation=200)
    asked_5m, asked_1h = usage_of(message), usage_of(message, cache_write="1h")
    assert asked_5m is not None
    assert asked_1h is not None
    assert asked_5m.cache_write_5m_tokens == asked_1h.cache_write_1h_tokens == 200


def test_prefixed_classes_of_service_tiers_count() -> None:
    usage = usage_of(reported(priority_cache_read=400))
    assert usage is not None
    assert usage.cache_read_tokens == 400
