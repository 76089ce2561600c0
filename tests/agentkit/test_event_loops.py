"""One agent is asked from several event loops: each keeps connections of its own, and closes them.

Against the real client libraries and a server that keeps its own bill.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Literal

import pytest
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from pydantic import SecretStr

from agentkit import Agent, Budget, TaskResult, chat_model, metered
from agentkit.budgets import Ledger
from agentkit.models import loop_clients
from tests.wire import Faults, ScriptedProvider, answer

Wire = Literal["openai", "anthropic"]
NAMES = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}


class OwnChat(ChatOpenAI):
    """A class that somebody made from LangChain's."""


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    name: Wire = request.param
    return name


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(answer("here")) as running:
        yield running


def _model(wire: Wire, provider: ScriptedProvider, **arguments: Any) -> Any:
    url = provider.openai_url if wire == "openai" else provider.anthropic_url
    return chat_model(NAMES[wire], base_url=url, api_key="test", **arguments)


def _all_paid_once(provider: ScriptedProvider, results: list[TaskResult]) -> None:
    assert {(result.outcome, result.answer) for result in results} == {("answered", "here")}
    assert sum(result.unconfirmed_usd for result in results) == 0
    assert len(provider.requests) == len(results)
    total = sum((result.cost_usd for result in results), Decimal(0))
    assert total == Decimal(provider.bill.cost_nusd).scaleb(-9) > 0


def test_a_second_loop_does_not_use_the_connections_of_the_first(
    wire: Wire, provider: ScriptedProvider
) -> None:
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"))
    _all_paid_once(provider, [asyncio.run(agent.arun("hello")) for _ in range(4)])


def test_so_do_streams_and_metered_models(wire: Wire, provider: ScriptedProvider) -> None:
    ledger = Ledger()
    for number in range(3):
        task = ledger.open_task(scope="acme", budget=Budget(usd="0.1"), task_id=f"t{number}")
        model = metered(_model(wire, provider), task)

        async def words(model: Any = model) -> str:
            return "".join([str(each.content) async for each in model.astream("hello")])

        said = asyncio.run(words())
        assert "here" in said
        task.close("answered")
    assert ledger.account("acme").settled.nusd == provider.bill.cost_nusd
    assert ledger.account("acme").unconfirmed_nusd == 0


def test_loops_in_several_threads(wire: Wire, provider: ScriptedProvider) -> None:
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"))

    async def several() -> list[TaskResult]:
        return [await agent.arun("hello") for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asyncio.run(several()), range(8)))
    _all_paid_once(provider, [result for each in found for result in each])


def test_a_loop_closes_its_connections_when_it_ends(wire: Wire, provider: ScriptedProvider) -> None:
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"))
    known = set(loop_clients.open_loops)

    async def one() -> None:
        await agent.arun("hello")
        assert len(set(loop_clients.open_loops) - known) == 1

    asyncio.run(one())
    assert set(loop_clients.open_loops) == known
    gc.collect()  # a transport that is still open would warn, and a warning is an error here


def test_a_loop_that_was_only_closed_is_forgotten_by_the_next(
    wire: Wire, provider: ScriptedProvider
) -> None:
    agent = Agent([_model(wire, provider)], budget=Budget(usd="0.1"))
    loop = asyncio.new_event_loop()
    first = loop.run_until_complete(agent.arun("hello"))
    for client in loop_clients.open_loops[loop].clients.values():
        loop.run_until_complete(client.aclose())
    loop.close()  # without loop.shutdown_asyncgens()
    second = asyncio.run(agent.arun("hello"))
    _all_paid_once(provider, [first, second])
    assert loop not in loop_clients.open_loops


async def test_agents_of_one_loop_share_its_connections(
    wire: Wire, provider: ScriptedProvider
) -> None:
    agents = [Agent([_model(wire, provider)], budget=Budget(usd="0.1")) for _ in range(3)]
    _all_paid_once(provider, [await agent.arun("hello") for agent in agents])
    assert provider.connections_made == 1


async def test_a_client_of_the_users_own_stays(provider: ScriptedProvider) -> None:
    async with DefaultAsyncHttpxClient() as own:
        model = _model("openai", provider, http_async_client=own)
        used: Any = loop_clients.with_loop_clients(model)
        assert used.root_async_client is model.root_async_client
        agent = Agent([model], budget=Budget(usd="0.1"))
        _all_paid_once(provider, [await agent.arun("hello")])


def test_so_does_one_for_plain_code(provider: ScriptedProvider) -> None:
    with DefaultHttpxClient() as own:
        model = _model("openai", provider, http_client=own)
        used: Any = loop_clients.with_loop_clients(model)
        assert used.root_client is model.root_client
        _all_paid_once(provider, [Agent([model], budget=Budget(usd="0.1")).run("hello")])


def test_a_class_made_from_langchains_is_treated_alike() -> None:
    faults = Faults(rate=1.0, kinds=["server_error"])
    with ScriptedProvider(answer("here"), faults=faults) as provider:
        key = SecretStr("test")
        model = OwnChat(model="gpt-5-mini", base_url=provider.openai_url, api_key=key)
        agent = Agent([model], budget=Budget(usd="0.1"))
        result = asyncio.run(agent.arun("hello"))
        assert len(provider.requests) == len(result.records) > 0
    with ScriptedProvider(answer("here")) as provider:
        model = OwnChat(model="gpt-5-mini", base_url=provider.openai_url, api_key=key)
        agent = Agent([model], budget=Budget(usd="0.1"))
        _all_paid_once(provider, [asyncio.run(agent.arun("hello")) for _ in range(3)])
