"""Whole tasks through both real client libraries, against a server that keeps its own bill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Literal

import pytest
from langchain_core.language_models import BaseChatModel
from tenacity.wait import wait_none

from agentkit import Agent, Budget, TaskResult, TextDelta, chat_model, metering
from agentkit.budgets import Ledger
from agentkit.budgets.tokens import count_text
from tests.wire import (
    EVERY_KIND,
    UNBILLED_KINDS,
    Fault,
    Faults,
    Reply,
    ScriptedProvider,
    always_tool,
    answer,
    steps,
)

WireName = Literal["openai", "anthropic"]
WIRES: tuple[WireName, ...] = ("openai", "anthropic")
NAMES = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}


def search_orders(query: str) -> str:
    """Search the orders of a customer."""
    return f"orders for {query}: " + ", ".join(f"W{number}" for number in range(120))


def client(wire: WireName, provider: ScriptedProvider, **kwargs: object) -> BaseChatModel:
    """The real client library of `wire`, pointed at the scripted provider."""
    url = provider.openai_url if wire == "openai" else provider.anthropic_url
    name = f"{wire}:{NAMES[wire]}"
    return chat_model(name, base_url=url, api_key="test", timeout=20.0, **kwargs)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "_BACKOFF", wait_none())


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> WireName:
    name: WireName = request.param
    return name


def test_a_task_costs_what_the_server_bills(wire: WireName) -> None:
    script = steps([Reply(tool_calls=[("search_orders", {"query": "u42"})]), Reply(text="done")])
    with ScriptedProvider(script, count=count_text) as provider:
        agent = Agent([client(wire, provider)], [search_orders], budget=Budget(usd="0.10"))
        result = agent.run("find my order")
        assert (result.outcome, result.answer, result.steps) == ("answered", "done", 2)
        assert result.cost_usd == Decimal(provider.bill.cost_nusd).scaleb(-9) > 0
        assert result.unconfirmed_usd == 0


async def test_arun_costs_what_the_server_bills(wire: WireName) -> None:
    script = steps([Reply(tool_calls=[("search_orders", {"query": "u42"})]), Reply(text="done")])
    with ScriptedProvider(script, count=count_text) as provider:
        agent = Agent([client(wire, provider)], [search_orders], budget=Budget(usd="0.10"))
        results = await asyncio.gather(*(agent.arun(f"order {n}") for n in range(5)))
        assert {result.outcome for result in results} == {"answered"}
        total = sum((result.cost_usd for result in results), Decimal(0))
        assert total == Decimal(provider.bill.cost_nusd).scaleb(-9)


def test_a_streamed_task_is_settled_on_the_usage_chunk(wire: WireName) -> None:
    with ScriptedProvider(answer("a long answer " * 20), count=count_text) as provider:
        agent = Agent([client(wire, provider)], budget=Budget(usd="0.10"))
        events = list(agent.stream("tell me"))
        result = events[-1]
        assert isinstance(result, TaskResult)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == result.answer
        assert sum(isinstance(event, TextDelta) for event in events) > 3
        assert result.cost_usd == Decimal(provider.bill.cost_nusd).scaleb(-9)
        assert result.unconfirmed_usd == 0


@pytest.mark.parametrize(
    "budget", [Budget(tokens=20_000), Budget(usd="0.05")], ids=["tokens", "usd"]
)
@pytest.mark.parametrize("factor", ["1.0", "1.2"])
def test_a_runaway_never_bills_more_than_its_limit(
    wire: WireName, budget: Budget, factor: str
) -> None:
    """Also where the provider counts 20 % more tokens than o200k says."""
    script = always_tool("search_orders", {"query": "again"})
    with ScriptedProvider(script, count=count_text, token_factor=factor) as provider:
        agent = Agent(
            [client(wire, provider)], [search_orders], budget=budget, no_progress_after=None
        )
        result = agent.run("find my order")
        total = provider.bill.total()
        if budget.tokens is not None:
            assert total.usage.total_tokens <= budget.tokens
        if budget.usd is not None:
            assert total.cost_nusd <= int(budget.usd * 10**9)
        assert (result.outcome, result.answer) == ("landed", "I stop here.")
        assert result.calls > 3


@pytest.mark.usefixtures("no_waiting")
def test_two_hundred_faulty_tasks_are_never_under_recorded(wire: WireName) -> None:
    """Where usage arrived the sums are equal; where not the ledger holds the worst case."""
    script = steps([Reply(tool_calls=[("search_orders", {"query": "u42"})]), Reply(text="done")])
    kinds = EVERY_KIND - {"hang", "slow"}
    faults = Faults(rate=0.2, kinds=kinds, seed=7)
    ledger = Ledger()
    with ScriptedProvider(script, count=count_text, faults=faults) as provider:
        agent = Agent(
            [client(wire, provider)],
            [search_orders],
            budget=Budget(usd="2"),
            ledger=ledger,
        )
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda n: _task(agent, n), range(140)))
        results += asyncio.run(_async_tasks(agent, 60))
        provider.wait_idle()
        delivered = provider.bill.total(lambda record: record.delivered_usage)
        billed = provider.bill.total()
    records = [record for result in results for record in result.records]
    confirmed = sum(record.cost_nusd for record in records if record.confirmed)
    unconfirmed = sum(record.cost_nusd for record in records if not record.confirmed)
    account = ledger.account("acme")
    assert faults.counts.total() > 30
    assert confirmed == delivered.cost_nusd
    assert account.settled.nusd == confirmed + unconfirmed >= billed.cost_nusd
    assert account.unconfirmed_nusd == unconfirmed > 0
    assert account.held.nusd == 0


def _task(agent: Agent, number: int) -> TaskResult:
    if number % 2:
        return agent.run(f"order {number}", scope="acme/support")
    last = list(agent.stream(f"order {number}", scope="acme/support"))[-1]
    assert isinstance(last, TaskResult)
    return last


async def _async_tasks(agent: Agent, number: int) -> list[TaskResult]:
    places = asyncio.Semaphore(8)

    async def one(at: int) -> TaskResult:
        async with places:
            return await agent.arun(f"order {at}", scope="acme/support")

    results = await asyncio.gather(*(one(at) for at in range(number)))
    return list(results)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("kind", sorted(UNBILLED_KINDS - {"reset_unread"}))
def test_an_error_answer_costs_nothing_and_is_tried_again(
    wire: WireName, kind: Callable[[], Fault]
) -> None:
    faults = Faults(sequence=[Fault(kind=kind)])  # type: ignore[arg-type]  # from the set of kinds
    with ScriptedProvider(answer("here"), count=count_text, faults=faults) as provider:
        result = Agent([client(wire, provider)], budget=Budget(usd="0.1")).run("hello")
    assert [record.status for record in result.records] == ["rejected", "ok"]
    assert result.calls == 1
    assert result.unconfirmed_usd == 0


@pytest.mark.usefixtures("no_waiting")
def test_a_reset_after_billing_is_charged_at_its_worst_case(wire: WireName) -> None:
    faults = Faults(sequence=["reset_billed"])
    with ScriptedProvider(answer("here"), count=count_text, faults=faults) as provider:
        result = Agent([client(wire, provider)], budget=Budget(usd="0.1")).run("hello")
        assert result.cost_usd >= Decimal(provider.bill.cost_nusd).scaleb(-9)
    assert [record.confirmed for record in result.records] == [False, True]
    assert result.unconfirmed_usd > 0


@pytest.mark.usefixtures("no_waiting")
def test_the_sdk_sends_each_request_once(wire: WireName) -> None:
    """Also where the user's own object would have tried again on its own."""
    faults = Faults(rate=1.0, kinds=["server_error"])
    with ScriptedProvider(answer("here"), count=count_text, faults=faults) as provider:
        model = client(wire, provider).model_copy(update={"max_retries": 5})
        agent = Agent([model], budget=Budget(usd="0.1"))
        result = agent.run("hello")
        assert result.outcome == "failed"
        assert len(provider.requests) == len(result.records) == 4


def test_a_broken_call_is_corrected_by_the_model(wire: WireName) -> None:
    script = steps(
        [
            Reply(tool_calls=[("search_orders", {})], raw_arguments='{"query": "u4'),
            Reply(tool_calls=[("find_order", {"query": "u42"})]),
            Reply(tool_calls=[("search_orders", {"wrong": 1})]),
            Reply(text="done"),
        ]
    )
    with ScriptedProvider(script, count=count_text) as provider:
        result = Agent([client(wire, provider)], [search_orders]).run("find my order")
        assert (result.outcome, result.steps) == ("answered", 4), result.reason
        assert not provider.refusals


def play_music(artist: str = "", genre: str = "", track: str = "") -> str:
    """Play music by artist, genre or track."""
    return f"Playing {artist or genre or track}."


def test_the_pocket_model_answers_what_it_can_and_asks_for_the_rest(wire: WireName) -> None:
    """A request for its tool costs nothing; one that no tool fits goes to the frontier tier."""
    with ScriptedProvider(answer("I cannot help with taxes."), count=count_text) as provider:
        agent = Agent(
            ["local:pocket", client(wire, provider)], [play_music], budget=Budget(usd="0.05")
        )
        cheap = agent.run("play music by Nina Simone")
        assert (cheap.outcome, cheap.answer) == ("answered", "Playing Nina Simone.")
        assert (cheap.cost_usd, cheap.escalations, len(provider.requests)) == (0, 0, 0)
        dear = agent.run("how do I file my taxes?")
        assert (dear.outcome, dear.answer) == ("answered", "I cannot help with taxes.")
        assert (dear.escalations, len(provider.requests)) == (1, 1)
        assert dear.cost_usd == Decimal(provider.bill.cost_nusd).scaleb(-9)
