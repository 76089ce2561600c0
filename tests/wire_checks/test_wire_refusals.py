"""What the providers refuse, the scripted provider refuses in their words."""

from __future__ import annotations

import httpx
import pytest

from tests.wire import ScriptedProvider, echo

Body = dict[str, object]
FUNCTION: Body = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object"}},
}
TOOL: Body = {"name": "look", "input_schema": {"type": "object"}}
CALL: Body = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
USER: Body = {"role": "user", "content": "Hi"}
USE: Body = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}],
}
RESULT: Body = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}],
}
CACHED: Body = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
CACHED_1H: Body = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def post(provider: ScriptedProvider, path: str, body: Body | str, key: str = "k") -> httpx.Response:
    """A raw request, without a client's own checks."""
    anthropic = path.startswith("messages")
    headers = {"x-api-key": key} if anthropic else {"authorization": f"Bearer {key}".strip()}
    content = {"content": body} if isinstance(body, str) else {"json": body}
    headers["anthropic-version" if anthropic else "x-other"] = "2023-06-01"
    return httpx.post(f"{provider.openai_url}/{path}", headers=headers, **content)  # type: ignore[arg-type]


def chat(**fields: object) -> Body:
    """A chat completion, changed by `fields`; None leaves a field out."""
    body: Body = {"model": "gpt-5-mini", "messages": [USER], **fields}
    return {key: value for key, value in body.items() if value is not None}


def message(**fields: object) -> Body:
    """A message request, changed by `fields`; None leaves a field out."""
    body: Body = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [USER], **fields}
    return {key: value for key, value in body.items() if value is not None}


def refused(path: str, body: Body | str, status: int = 400, key: str = "k") -> str:
    """The error message; nothing is billed."""
    with ScriptedProvider(echo) as provider:
        response = post(provider, path, body, key)
        assert response.status_code == status, response.text
        assert provider.bill.records == ()
        assert provider.refusals == {status: 1}
        return str(response.json()["error"]["message"])


MARKED = {
    "role": "user",
    "content": [{"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}],
}
OPENAI = [
    (
        chat(messages=[USER, {"role": "tool", "tool_call_id": "c1", "content": "x"}]),
        "must be a resp",
    ),
    (
        chat(messages=[USER, {"role": "assistant", "tool_calls": [CALL]}, USER]),
        "must be followed by",
    ),
    (chat(messages=[USER, {"role": "assistant", "tool_calls": [CALL]}]), "must be followed by"),
    (chat(tools=[FUNCTION] * 129), "maximum length 128"),
    (chat(messages=[{"role": "owner", "content": "Hi"}]), "Invalid value: 'owner'"),
    (chat(messages=[{"role": "user", "content": None}]), "got null"),
    (chat(messages=[]), "empty array"),
    (chat(messages=None), "Missing required parameter: 'messages'"),
    (chat(max_tokens=5), "'max_tokens' is not supported"),
    (chat(max_completion_tokens=0), "below minimum"),
    (chat(temperature=0.2), "'temperature' does not support"),
    (chat(tool_choice="auto"), "only allowed when 'tools'"),
    (chat(stream_options={"include_usage": True}), "only allowed when 'stream'"),
    (chat(prompt_cache_options={}), "Unknown parameter: 'prompt_cache_options'"),
    (chat(messages=[MARKED]), "'prompt_cache_breakpoint' is not supported with this model"),
    (chat(model="gpt-5.6", prompt_cache_options={"mode": "no"}), "Invalid value: 'no'"),
    (chat(model="gpt-5.6", prompt_cache_options={"ttl": "24h"}), "Invalid value: '24h'"),
    (chat(messages=[{"role": "user", "content": "word " * 700_000}]), "maximum context length"),
    ("{", "could not parse"),
]
ANTHROPIC = [
    (message(max_tokens=None), "max_tokens: Field required"),
    (message(max_tokens=64_001), "max_tokens: 64001 > 64000"),
    (message(messages=[USER, USE, USER], tools=[TOOL]), "ids were found without `tool_result`"),
    (message(messages=[USER, USE], tools=[TOOL]), "ids were found without `tool_result`"),
    (message(messages=[USER, RESULT], tools=[TOOL]), "unexpected `tool_use_id`"),
    (message(messages=[USER, USE, RESULT]), "must define tools"),
    (message(messages=[{"role": "user", "content": ""}]), "non-empty content"),
    (
        message(messages=[{"role": "user", "content": [{"type": "text", "text": ""}]}]),
        "be non-empty",
    ),
    (message(messages=[{"role": "system", "content": "Hi"}]), 'Unexpected role "system"'),
    (message(messages=[{"role": "owner", "content": "Hi"}]), "should be 'user' or 'assistant'"),
    (message(messages=[{"role": "assistant", "content": "Hi"}]), "first message must use"),
    (message(messages=[]), "at least one message"),
    (
        message(system=[CACHED] * 5),
        "maximum of 4 blocks with cache_control may be provided. Found 5",
    ),
    (message(system=[CACHED, CACHED_1H]), "must not come after a ttl='5m'"),
    (message(tool_choice={"type": "none"}), "only be specified while providing tools"),
    (message(extra=1), "Extra inputs are not permitted"),
    (message(messages=[{"role": "user", "content": "word " * 200_000}]), "prompt is too long"),
    ("{", "could not parse"),
]


@pytest.mark.parametrize(("body", "words"), OPENAI, ids=[words for _, words in OPENAI])
def test_openai_refuses(body: Body | str, words: str) -> None:
    assert words in refused("chat/completions", body)


@pytest.mark.parametrize(("body", "words"), ANTHROPIC, ids=[words for _, words in ANTHROPIC])
def test_anthropic_refuses(body: Body | str, words: str) -> None:
    assert words in refused("messages", body)


def test_responses_refuse_an_output_without_its_call() -> None:
    output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    body: Body = {"model": "gpt-5-mini", "input": [output]}
    assert "No tool call found" in refused("responses", body)


def test_responses_refuse_a_call_without_its_output() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    body: Body = {"model": "gpt-5-mini", "input": [call]}
    assert "No tool output found" in refused("responses", body)


@pytest.mark.parametrize(("path", "body"), [("chat/completions", chat()), ("messages", message())])
def test_missing_key_is_401(path: str, body: Body) -> None:
    assert "key" in refused(path, body, status=401, key="")


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_unknown_model_is_404(path: str) -> None:
    body = {**(chat() if path != "messages" else message()), "model": "gpt-0"}
    assert "gpt-0" in refused(path, body, status=404)


def test_wrong_key_is_401_where_one_is_set() -> None:
    with ScriptedProvider(echo, api_key="right") as provider:
        assert post(provider, "messages", message(), key="wrong").status_code == 401
        assert post(provider, "messages", message(), key="right").status_code == 200


def test_consecutive_user_messages_merge_around_a_tool_result() -> None:
    with ScriptedProvider(echo) as provider:
        body = message(messages=[USER, USE, RESULT, USER], tools=[TOOL])
        assert post(provider, "messages", body).status_code == 200


def test_counting_agrees_with_billing_and_is_free() -> None:
    with ScriptedProvider(echo) as provider:
        body = message(tools=[TOOL], system="Be kind.")
        del body["max_tokens"]
        counted = post(provider, "messages/count_tokens", body).json()["input_tokens"]
        assert provider.bill.records == ()
        post(provider, "messages", {**body, "max_tokens": 9})
        assert provider.bill.records[0].usage.input_tokens == counted


def test_models_are_listed_by_protocol() -> None:
    with ScriptedProvider(echo) as provider:
        url = f"{provider.openai_url}/models"
        listed = httpx.get(url, headers={"authorization": "Bearer k"}).json()["data"]
        snapshots = ["gpt-5-mini-2025-08-07", "gpt-5.1-2025-11-13", "gpt-5.6-2026-07-09"]
        assert [each["id"] for each in listed] == snapshots


def test_keys_are_not_kept() -> None:
    with ScriptedProvider(echo) as provider:
        post(provider, "messages", message(), key="very-secret")
        assert "very-secret" not in str(provider.requests)
