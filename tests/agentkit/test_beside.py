"""What a request says beside its messages and tools is reserved for, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, Field

from agentkit import Agent, Budget, chat_model, metered
from agentkit.budgets import BudgetExceeded, Ledger
from agentkit.budgets.margin import TokenMargins
from agentkit.budgets.task import Task
from agentkit.errors import ConfigError
from agentkit.models.beside import text_beside
from agentkit.models.billing import check_billing
from agentkit.models.tier import cache_write_asked, tier_of
from tests.wire import Reply, ScriptedProvider, WireRequest

LONG = "a schema or a system text tells much. " * 400
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": LONG}}}
NAMED = {"name": "place", "schema": SCHEMA}
ANTHROPIC_FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}
OPENAI_FORMAT = {"type": "json_schema", "json_schema": NAMED}
RESPONSES_FORMAT = {"format": {"type": "json_schema", **NAMED}}
RESPONSES = {"use_responses_api": True}


class Place(BaseModel):
    """A place."""

    city: str = Field(description=LONG)


def _answer(request: WireRequest) -> Reply:
    reasoning = 1_500 if "think" in request.last_text else 0
    return Reply(text='{"city": "Lisbon"}', reasoning_tokens=reasoning)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(_answer, token_factor=1) as running:
        yield running


def _openai(provider: ScriptedProvider, **settings: Any) -> Any:
    name = "openai:gpt-5-mini"
    return chat_model(name, base_url=provider.openai_url, api_key="test", **settings)


def _claude(provider: ScriptedProvider, **settings: Any) -> Any:
    name = "anthropic:claude-haiku-4-5"
    return chat_model(name, base_url=provider.anthropic_url, api_key="test", **settings)


def _task(usd: str = "1") -> Task:
    return Ledger().open_task(budget=Budget(usd=usd))


def _body(provider: ScriptedProvider) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(provider.requests[-1].body)
    return body


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, {"response_format": OPENAI_FORMAT}),
        ({}, {"response_format": Place}),
        ({"model_kwargs": {"response_format": OPENAI_FORMAT}}, {}),
        ({"extra_body": {"response_format": OPENAI_FORMAT}}, {}),
        (RESPONSES, {"instructions": LONG}),
        (RESPONSES, {"text": RESPONSES_FORMAT}),
    ],
)
def test_what_openai_is_told_beside_the_messages_is_reserved_for(
    settings: dict[str, Any], arguments: dict[str, Any], provider: ScriptedProvider
) -> None:
    task = _task()
    metered(_openai(provider, **settings), task).invoke("json, please", **arguments)
    _check_bound(task, provider)


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, {"system": LONG}),
        ({"model_kwargs": {"system": LONG}}, {}),
        ({}, {"output_config": ANTHROPIC_FORMAT}),
        ({"output_config": ANTHROPIC_FORMAT}, {}),
    ],
)
def test_what_anthropic_is_told_beside_the_messages_is_reserved_for(
    settings: dict[str, Any], arguments: dict[str, Any], provider: ScriptedProvider
) -> None:
    task = _task()
    metered(_claude(provider, **settings), task).invoke("json, please", **arguments)
    _check_bound(task, provider)


def _check_bound(task: Task, provider: ScriptedProvider) -> None:
    (call,) = task.calls
    bound = TokenMargins().bound(
        call.estimated_input_tokens, model=call.model, provider=call.provider
    )
    assert 2_000 < call.usage.input_tokens <= bound < 2 * call.usage.input_tokens
    assert call.cost_nusd == provider.bill.cost_nusd


def test_it_teaches_nothing_about_text(provider: ScriptedProvider) -> None:
    task = _task()
    model = metered(_claude(provider), task)
    for _ in range(4):
        model.invoke("json, please", output_config=ANTHROPIC_FORMAT)
    call = task.calls[0]
    kept = {"model": call.model, "provider": call.provider}
    assert task.ledger.margins.factor(**kept) == TokenMargins().factor(**kept)


def test_settings_that_no_model_reads_are_not_counted() -> None:
    assert text_beside({"temperature": 0, "metadata": {"task": "t"}, "tool_choice": "auto"}) == ""
    assert text_beside({"tools": [{"name": "look"}], "output_config": {"effort": "low"}}) == ""
    assert "look" in text_beside({"model_kwargs": {"tools": [{"name": "look"}]}})
    assert "guided" in text_beside({"extra_body": {"guided_json": "guided"}})


def test_an_agents_context_and_landing_know_of_it(provider: ScriptedProvider) -> None:
    model = _openai(provider, model_kwargs={"response_format": OPENAI_FORMAT})
    agent = Agent([model], budget=Budget(usd="1"), ledger=Ledger())
    result = agent.run("json, please")
    assert result.outcome == "answered"
    (call,) = result.records
    assert 1.25 * call.estimated_input_tokens > call.usage.input_tokens > 2_000


# the limit on the answer


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("settings", [{}, RESPONSES])
def test_the_users_limit_is_known_by_any_of_its_names(
    name: str, settings: dict[str, Any], provider: ScriptedProvider
) -> None:
    task = _task()
    metered(_openai(provider, **settings), task).bind(**{name: 70}).invoke("hi")
    body = _body(provider)
    assert [body[each] for each in body if each.startswith("max_")] == [70]
    assert task.calls[0].max_output_tokens == 70


def test_so_is_one_in_a_models_settings(provider: ScriptedProvider) -> None:
    task = _task()
    settings: dict[str, Any] = {**RESPONSES, "model_kwargs": {"max_output_tokens": 70}}
    metered(_openai(provider, **settings), task).invoke("hi")
    assert task.calls[0].max_output_tokens == _body(provider)["max_output_tokens"] == 70


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_one_that_would_be_sent_in_place_of_ours_is_refused(
    name: str, provider: ScriptedProvider
) -> None:
    model = _openai(provider, extra_body={name: 100_000})
    with pytest.raises(ConfigError, match=f"{name} in extra_body would pass the limit"):
        metered(model, _task())
    with pytest.raises(ConfigError, match="give the model max_tokens instead"):
        metered(_openai(provider), _task()).invoke("hi", extra_body={name: 100_000})
    assert not provider.requests


# thinking


@pytest.mark.parametrize("in_call", [False, True])
def test_thinking_that_is_set_apart_comes_on_top_of_the_usual_limit(
    in_call: bool, provider: ScriptedProvider
) -> None:
    thinking: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 6_000}}
    task = _task()
    model = metered(_claude(provider, **({} if in_call else thinking)), task)
    model.invoke("think", **(thinking if in_call else {}))
    assert _body(provider)["max_tokens"] == task.calls[0].max_output_tokens == 10_096
    assert task.calls[0].usage.reasoning_tokens == 1_500
    assert task.record.cost_nusd == provider.bill.cost_nusd


def test_a_budget_that_does_not_hold_the_thinking_refuses_before_anything_is_sent(
    provider: ScriptedProvider,
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 6_000}
    model = metered(_claude(provider, thinking=thinking, max_tokens=8_000), _task("0.03"))
    with pytest.raises(BudgetExceeded):  # 6,000 tokens at $5 a million are $0.03
        model.invoke("think")
    assert not provider.requests
    metered(_claude(provider, thinking=thinking, max_tokens=8_000), _task("0.031")).invoke("think")
    assert 6_064 <= _body(provider)["max_tokens"] < 6_300


def _look(q: str) -> str:
    """Look something up."""
    return q


def test_an_agent_that_thinks_can_land() -> None:
    def script(request: WireRequest) -> Reply:
        if request.may_call:
            return Reply(tool_calls=[("_look", {"q": str(len(request.messages))})])
        return Reply(text="landed", reasoning_tokens=1_000)

    with ScriptedProvider(script) as provider:
        model = _claude(provider, thinking={"type": "enabled", "budget_tokens": 1_024})
        agent = Agent([model], [_look], budget=Budget(calls=4), ledger=Ledger())
        result = agent.run("look it up")
        assert (result.outcome, result.answer) == ("landed", "landed")
        assert sum(call.cost_nusd for call in result.records) == provider.bill.cost_nusd
        assert not provider.refusals


# streams of the Responses API


async def test_the_responses_api_streams(provider: ScriptedProvider) -> None:
    task = _task()
    model = metered(_openai(provider, **RESPONSES), task)
    assert "".join(chunk.text for chunk in model.stream("hi")) == '{"city": "Lisbon"}'
    assert "Lisbon" in "".join([chunk.text async for chunk in model.astream("hi")])
    assert [call.status for call in task.calls] == ["ok", "ok"]
    assert task.record.cost_nusd == provider.bill.cost_nusd
    agent = Agent([_openai(provider, **RESPONSES)], ledger=Ledger())
    *_, result = agent.stream("hi")
    assert result.outcome == "answered"  # type: ignore[union-attr]  # the last event is the result


def test_an_object_that_does_not_ask_for_the_usage_of_its_streams_does(
    provider: ScriptedProvider,
) -> None:
    task = _task()
    model = _claude(provider, stream_usage=False)
    list(metered(model, task).stream("hi"))
    assert task.record.cost_nusd == provider.bill.cost_nusd
    assert not model.stream_usage


# what is billed beside, or otherwise


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "gpt-5.6"},
        {"extra_body": {"model": "gpt-5.6"}},
        {"model_kwargs": {"model": "gpt-5.6"}},
        {"extra_body": {"models": ["gpt-5.6"]}},
        {"web_search_options": {}},
        {"extra_body": {"search_parameters": {"mode": "on"}}},
        {"modalities": ["text", "audio"]},
        {"prediction": {"type": "content", "content": "words"}},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"context_management": [{"type": "compaction", "compact_threshold": 1_000}]},
        {"extra_body": {"best_of": 3}},
        {"candidate_count": 2},
    ],
)
def test_what_costs_more_than_is_reserved_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"bill|price"):
        check_billing(arguments, model="gpt-5-mini")
    check_billing({"model": "gpt-5-mini", "modalities": ["text"]}, model="gpt-5-mini")
    check_billing({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}})


def test_another_model_in_a_binding_is_refused(provider: ScriptedProvider) -> None:
    with pytest.raises(ConfigError, match=r"asks another model than 'gpt-5-mini'"):
        metered(_openai(provider), _task()).bind(model="gpt-5.1").invoke("hi")
    assert not provider.requests


def test_marks_are_found_wherever_they_are() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    block = {"type": "text", "text": "long", "cache_control": mark}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    document = {"type": "text-plain", "text": "long", "extras": {"cache_control": mark}}
    assert cache_write_asked([HumanMessage([result])], {}) == "1h"
    assert cache_write_asked([HumanMessage([document])], {}) == "1h"
    assert cache_write_asked([HumanMessage("hi")], {"system": [block]}) == "1h"
    assert cache_write_asked([HumanMessage("hi")], {"tools": [{"name": "look"}]}) == "none"


def test_a_mark_in_a_models_settings_is_reserved_for(provider: ScriptedProvider) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    words = "some words " * 9_000
    task = _task()
    metered(_claude(provider, model_kwargs={"cache_control": mark}), task).invoke(words)
    (call,) = task.calls
    assert call.usage.cache_write_1h_tokens > 20_000
    assert call.cost_nusd == provider.bill.cost_nusd
    with pytest.raises(BudgetExceeded):  # 18,000 tokens and more, at $2 a million
        model = _claude(provider, model_kwargs={"cache_control": mark}, max_tokens=100)
        metered(model, _task("0.036")).invoke(words)


@pytest.mark.parametrize(
    "settings",
    [{"use_previous_response_id": True}, {"extra_body": {"previous_response_id": "resp_1"}}],
)
def test_input_that_a_models_settings_let_the_provider_keep_is_bounded_by_the_window(
    settings: dict[str, Any], provider: ScriptedProvider
) -> None:
    model = metered(_openai(provider, use_responses_api=True, **settings), _task("0.01"))
    with pytest.raises(BudgetExceeded):  # 272,000 tokens and more, at $0.25 a million
        model.invoke("go on")
    assert not provider.requests


def test_a_providers_tool_counts_with_the_text_that_it_brings() -> None:
    counter = tier_of(chat_model("anthropic:claude-haiku-4-5", api_key="test"), 0).counter
    bash = {"type": "bash_20250124", "name": "bash"}
    own = {"name": "look", "input_schema": {"type": "object"}}
    assert counter.tools([own, bash]) > counter.tools([own]) + 1_300
    assert counter.tools([own]) < 500


def test_a_metered_model_is_not_metered_again(provider: ScriptedProvider) -> None:
    model = metered(_openai(provider), _task())
    for again in (lambda: metered(model, _task()), lambda: Agent([model])):
        with pytest.raises(ConfigError, match="metered already"):
            again()
