"""Images and files in a request are reserved for at the most that their provider counts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from openai import BadRequestError

from agentkit import Budget, chat_model, metered
from agentkit.budgets import BudgetExceeded, Ledger
from agentkit.budgets.margin import TokenMargins
from agentkit.budgets.task import Task
from agentkit.budgets.tokens import count_text
from agentkit.errors import ConfigError
from agentkit.memory.tokens import Media, media_of
from agentkit.models.billing import check_billing
from agentkit.models.media import image_tokens
from agentkit.models.tier import tier_of
from tests.scripted import ScriptedModel, in_turn
from tests.wire import ScriptedProvider, answer

PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/picture.png"}}
PDF = {
    "type": "document",
    "source": {
        "type": "base64",
        "media_type": "application/pdf",
        "data": base64.b64encode(b"%PDF-1.7 hundreds of pages").decode(),
    },
}


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(answer("a picture"), count=count_text, token_factor=1) as running:
        yield running


def _claude(provider: ScriptedProvider) -> Any:
    name = "anthropic:claude-haiku-4-5"
    return chat_model(name, base_url=provider.anthropic_url, api_key="test", max_tokens=100)


def _spent(task: Task) -> int:
    return sum(call.cost_nusd for call in task.calls)


def _stranger() -> ScriptedModel:
    return ScriptedModel(script=in_turn("hello"))


def _task(usd: str = "1") -> Task:
    return Ledger().open_task(budget=Budget(usd=usd))


@pytest.mark.parametrize(
    ("provider", "model", "documented", "low"),
    [
        ("openai", "gpt-4o", 85 + 8 * 170, 85),
        ("openai", "gpt-4o-mini-2024-07-18", 2_833 + 8 * 5_667, 2_833),
        ("openai", "gpt-4.1-2025-04-14", 85 + 8 * 170, 85),
        ("openai", "gpt-5-2025-08-07", 70 + 8 * 140, 70),
        ("openai", "gpt-5-mini", 1_536 * 1.62, 256 * 1.62),
        ("azure", "gpt-5-nano", 1_536 * 2.46, 256 * 2.46),
        ("openai", "o4-mini", 1_536 * 1.72, 256 * 1.72),
        ("openai", "gpt-5.6", 10_000, 256),
        ("anthropic", "claude-haiku-4-5-20251001", 1_568, 1_568),
        ("anthropic", "claude-opus-4-20250514", 1_568, 1_568),
        ("anthropic", "claude-opus-4-7", 4_784, 4_784),
        ("anthropic", "claude-sonnet-5", 4_784, 4_784),
        ("somebody", "model", 10_000, 256),
    ],
)
def test_an_image_is_bounded_by_what_is_documented(
    provider: str, model: str, documented: float, low: float
) -> None:
    bound = image_tokens(provider, model)
    assert documented <= bound.of(PICTURE) <= 2.5 * documented
    small = {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}
    assert low <= bound.of(small) <= bound.most
    assert bound.of({"type": "input_image", "image_url": "u", "detail": "low"}) == bound.low


def test_blocks_within_blocks_are_seen() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [PICTURE, {"type": "file"}]}
    assert media_of([HumanMessage("text"), HumanMessage([result])]) == Media(True, True)
    plain = {"type": "document", "source": {"type": "text", "data": "some words"}}
    typed = {"type": "text-plain", "text": "some words"}
    assert media_of([HumanMessage([plain, typed, "words"])]) == Media(False, False)
    counter = tier_of(_stranger(), 0).counter
    assert counter.message(HumanMessage([result])) > 24_600
    assert counter.message(HumanMessage([plain])) < 100


def test_an_image_is_reserved_for_and_teaches_nothing_about_text(
    provider: ScriptedProvider,
) -> None:
    url = provider.openai_url
    model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", max_tokens=100)
    task = _task()
    for _ in range(4):
        metered(model, task).invoke(
            [HumanMessage([{"type": "text", "text": "what is it?"}, PICTURE])]
        )
    calls = task.calls
    assert all(1_600 <= call.usage.input_tokens <= call.estimated_input_tokens for call in calls)
    assert _spent(task) == provider.bill.cost_nusd
    margins = task.ledger.margins
    kept = {"model": calls[0].model, "provider": "openai"}
    assert margins.factor(**kept) == TokenMargins().factor(**kept)
    for _ in range(3):
        metered(model, task).invoke("some words " * 50)
    assert margins.factor(**kept) < TokenMargins().factor(**kept)


def test_a_file_is_reserved_for_at_the_whole_window(provider: ScriptedProvider) -> None:
    request = [HumanMessage([{"type": "text", "text": "sum it up"}, PDF])]
    with pytest.raises(BudgetExceeded):  # 200,000 tokens at $1 a million
        metered(_claude(provider), _task("0.19")).invoke(request)
    assert not provider.requests
    task = _task("0.25")
    metered(_claude(provider), task).invoke(request)
    (call,) = task.calls
    assert call.estimated_input_tokens == 200_000
    assert _spent(task) == provider.bill.cost_nusd < 10_000_000


def test_so_is_input_that_the_provider_keeps(provider: ScriptedProvider) -> None:
    url = provider.openai_url
    model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", use_responses_api=True)
    task = _task()
    with suppress(BadRequestError):  # it knows no such response; what matters is what was reserved
        metered(model, task).invoke("go on", previous_response_id="resp_1")
    (call,) = task.calls
    assert call.estimated_input_tokens == tier_of(model, 0).context_tokens
    assert call.estimated_input_tokens > 100_000


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 1},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "a", "server_url": "https://example.org"},
        {"google_search": {}},
    ],
)
def test_tools_that_run_at_the_provider_are_refused(
    tool: dict[str, Any], provider: ScriptedProvider
) -> None:
    with pytest.raises(ConfigError, match="runs at the provider, which bills"):
        metered(_claude(provider), _task()).invoke("hi", tools=[tool])
    model = chat_model("openai:gpt-5-mini", api_key="test", model_kwargs={"tools": [tool]})
    with pytest.raises(ConfigError, match="runs at the provider, which bills"):
        metered(model, _task())
    assert not provider.requests


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "web_search", "parameters": {}}},
        {"type": "custom", "name": "mcp"},
        {"name": "web_search", "input_schema": {"type": "object"}},
        {"type": "bash_20250124", "name": "bash"},
    ],
)
def test_tools_of_ones_own_are_not_whatever_their_names(tool: dict[str, Any]) -> None:
    check_billing({"tools": [tool]})


@pytest.mark.parametrize(
    "arguments",
    [{"speed": "fast"}, {"extra_body": {"service_tier": "priority"}}, {"mcp_servers": [{}]}],
)
def test_dearer_requests_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bill"):
        check_billing(arguments)


def test_a_file_is_refused_where_the_window_is_not_known() -> None:
    task = Ledger().open_task(budget=Budget(tokens=1_000_000))
    model = metered(_stranger(), task)
    with pytest.raises(ConfigError, match="give the model a profile with max_input_tokens"):
        model.invoke([HumanMessage([PDF])])
