"""Any LangChain model on the same cache."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import Generation

from agentkit import Agent
from agentkit.memory.cache import CacheError, ResponseCache
from agentkit.memory.cache.langchain import LangChainCache
from tests.scripted import ScriptedModel, call, in_turn


def model(cache: LangChainCache, *answers: AIMessage | str) -> ScriptedModel:
    return ScriptedModel(script=in_turn(*answers), cache=cache)


def test_the_same_request_is_answered_once() -> None:
    asking = model(LangChainCache(ResponseCache(), tenant="acme"), "one", "two")
    assert asking.invoke("What is the policy?").text == "one"
    again = asking.invoke("What is the policy?")
    assert again.text == "one"
    assert asking.invoke([HumanMessage("What else?")]).text == "two"


def test_a_task_pays_nothing_for_a_cached_answer() -> None:
    asking = Agent([model(LangChainCache(ResponseCache(), tenant="acme"), "one", "two")])
    first, second = (asking.run("What is the policy?") for _ in range(2))
    assert first.answer == second.answer == "one"
    assert first.usage.total_tokens > 0
    assert second.usage.total_tokens == 0 and second.unconfirmed_usd == 0
    assert asking.ledger.account("default").held.tokens == 0
    assert asking.ledger.account("default").settled.tokens == first.usage.total_tokens


async def test_it_works_on_the_event_loop() -> None:
    asking = model(LangChainCache(ResponseCache(), tenant="acme"), "one", "two")
    assert (await asking.ainvoke("What is the policy?")).text == "one"
    assert (await asking.ainvoke("What is the policy?")).text == "one"


def test_tenants_and_users_are_kept_apart() -> None:
    shared = ResponseCache()
    for number, keys in enumerate(({"tenant": "a"}, {"tenant": "b"}, {"tenant": "a", "user": "u"})):
        asking = model(LangChainCache(shared, **keys), f"answer {number}")
        assert asking.invoke("What is the policy?").text == f"answer {number}"


@pytest.mark.parametrize(
    "bad",
    [
        call("refund", order="1"),
        AIMessage("half", response_metadata={"finish_reason": "length"}),
        AIMessage("half", response_metadata={"stop_reason": "max_tokens"}),
    ],
)
def test_tool_calls_and_cut_answers_are_not_kept(bad: AIMessage) -> None:
    asking = model(LangChainCache(ResponseCache(), tenant="acme"), bad, "whole")
    asking.invoke("What is the policy?")
    assert asking.invoke("What is the policy?").text == "whole"


def test_personal_requests_need_a_user() -> None:
    asking = model(LangChainCache(ResponseCache(), tenant="acme"), "one", "two")
    asking.invoke("Where is my order?")
    assert asking.invoke("Where is my order?").text == "two"
    known = model(LangChainCache(ResponseCache(), tenant="acme", user="u"), "one", "two")
    known.invoke("Where is my order?")
    assert known.invoke("Where is my order?").text == "one"


@pytest.mark.parametrize(
    "planted", ["", "[]", "{}", "[1]", "[" * 100_000, '[{"message": {"type": "human"}}]']
)
def test_a_damaged_entry_is_a_miss(planted: str) -> None:
    cache = ResponseCache()
    asking = model(LangChainCache(cache, tenant="acme"), "one", "two")
    asking.invoke("What is the policy?")
    kept = cache.store.find()[0]
    cache.store.put(replace(kept, answer=planted))
    assert asking.invoke("What is the policy?").text == "two"


def test_clearing_forgets_the_tenant() -> None:
    cache = LangChainCache(ResponseCache(), tenant="acme")
    asking = model(cache, "one", "two")
    asking.invoke("What is the policy?")
    cache.clear()
    assert asking.invoke("What is the policy?").text == "two"


def test_a_store_that_fails_costs_the_saving_and_not_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise CacheError("the disk is full")

    cache = ResponseCache()
    kept = LangChainCache(cache, tenant="acme")
    monkeypatch.setattr(cache.store, "exact", fail)
    monkeypatch.setattr(cache.store, "put", fail)
    kept.update("what is the policy", "model", [Generation(text="30 days")])
    assert kept.lookup("what is the policy", "model") is None
    assert caplog.text.count("the disk is full") == 2
