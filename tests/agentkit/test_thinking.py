"""Thoughts that Anthropic signed go back with the calls that they led to, or nobody thinks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from anthropic import BadRequestError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agentkit import Agent, Budget, chat_model
from agentkit.budgets import Ledger
from agentkit.memory import Allocation, Context
from agentkit.memory.allocation import shortened
from agentkit.memory.repair import in_words, thoughts_of
from agentkit.models.tier import tier_of
from tests.wire import Reply, Script, ScriptedProvider, WireRequest

THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1_024}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
CALL = {"name": "look", "args": {"q": "x"}, "id": "call_1"}


def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


def _claude(provider: ScriptedProvider, **settings: Any) -> Any:
    name = "anthropic:claude-haiku-4-5"
    return chat_model(name, base_url=provider.anthropic_url, api_key="test", **settings)


def _rounds(most: int = 6) -> Script:
    """As many calls, each with many words, whatever of them is shown again."""
    numbers = itertools.count()

    def script(request: WireRequest) -> Reply:
        if not request.may_call or "# Goal" in request.last_text or next(numbers) >= most:
            return Reply(text="done", reasoning_tokens=100)
        told = f"{request.last_text[:20]} " + "word " * 60
        return Reply(text=told, tool_calls=[("look", {"q": told})], reasoning_tokens=100)

    return script


@pytest.mark.parametrize("version", [{}, {"output_version": "v1"}])
def test_an_agent_that_thinks_has_its_history_condensed(version: dict[str, Any]) -> None:
    with ScriptedProvider(_rounds()) as provider:
        agent = Agent(
            [_claude(provider, **THINKING, **version)],
            [look],
            budget=Budget(usd="1"),
            ledger=Ledger(),
            context=Context(limit_tokens=900, allocation=Allocation(recent=300, summary=150)),
        )
        result = agent.run("look everything up")
        assert result.outcome in ("answered", "landed")
        assert any(call.purpose == "summary" for call in result.records)
        assert sum(call.cost_nusd for call in result.records) == provider.bill.cost_nusd
        assert not provider.refusals


def test_a_tier_that_thinks_takes_over_from_one_that_does_not() -> None:
    def script(request: WireRequest) -> Reply:
        if request.protocol == "openai" and request.tool_turns:
            return Reply(empty=True)
        if request.tool_turns < 2:
            return Reply(tool_calls=[("look", {"q": str(request.tool_turns)})], reasoning_tokens=50)
        return Reply(text="done", reasoning_tokens=50)

    with ScriptedProvider(script) as provider:
        cheap = chat_model("openai:gpt-5-mini", base_url=provider.openai_url, api_key="test")
        agent = Agent([cheap, _claude(provider, **THINKING)], [look], ledger=Ledger())
        result = agent.run("look it up")
        assert (result.outcome, result.answer) == ("answered", "done")
        assert [call.tier for call in result.records] == [0, 0, 1, 1]
        assert not provider.refusals
        assert agent.tiers[1].model.thinking == THINKING["thinking"]  # type: ignore[attr-defined]


def test_the_provider_would_refuse_it() -> None:
    with ScriptedProvider(_rounds()) as provider:
        model = _claude(provider, **THINKING, max_tokens=2_000).bind_tools([look])
        messages = [
            HumanMessage("hi"),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("x", tool_call_id="call_1"),
        ]
        with pytest.raises(BadRequestError, match="Expected `thinking`"):
            model.invoke(messages)


def test_it_thinks_again_once_the_turn_is_over() -> None:
    tier = tier_of(chat_model("anthropic:claude-haiku-4-5", api_key="test", **THINKING), 0)
    asked, calling = HumanMessage("hi"), AIMessage("", tool_calls=[CALL])
    observed = ToolMessage("x", tool_call_id="call_1")
    assert tier.model_for([asked, calling, observed]) is not tier.model
    assert tier.model_for([asked, calling, observed, HumanMessage("(a note)")]) is not tier.model
    assert tier.model_for([asked, calling, observed, AIMessage("done"), asked]) is tier.model
    thoughtful = AIMessage([THOUGHT], tool_calls=[CALL])
    assert tier.model_for([asked, thoughtful, observed]) is tier.model


def test_a_message_cut_short_keeps_what_was_signed() -> None:
    count = lambda message: len(str(message.content).split())  # noqa: E731
    words = {"type": "text", "text": "word " * 500}
    cut = shortened(AIMessage([THOUGHT, words], tool_calls=[CALL]), most_tokens=60, count=count)
    assert thoughts_of(cut) == [THOUGHT]
    assert count(cut) <= 60
    told = {"output_version": "v1"}
    plain = shortened(AIMessage([words], response_metadata=told), most_tokens=60, count=count)
    assert isinstance(plain.content, str)
    assert "output_version" not in plain.response_metadata
    signed = {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}}
    v1 = in_words(AIMessage([signed], tool_calls=[CALL], response_metadata=told), "short")
    assert v1.content == [signed, {"type": "text", "text": "short"}]
    assert v1.response_metadata == told
