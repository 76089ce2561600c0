"""Prefixes kept warm at a server that caches, and bills, by Anthropic's rules."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agentkit import Agent, Budget, chat_model
from agentkit.budgets import BudgetExceeded, Ledger
from agentkit.budgets.amount import Limits
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.tokens import count_text
from agentkit.errors import ConfigError
from agentkit.reports.cache_replay import warming
from agentkit.tools import ToolSpec
from agentkit.warming import PrefixKeeper
from tests.wire import Reply, ScriptedProvider

SYSTEM = "You check orders, one after another, and say what is wrong with each. " * 400


def stock(item: str) -> str:
    """How many of an item are there."""
    return f"12 {item}"


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[ScriptedProvider]:
    answers = ScriptedProvider(lambda _: Reply(text="fine"), count=count_text, clock=clock)
    with answers as running:
        yield running


@pytest.fixture
def agent(provider: ScriptedProvider, clock: Clock) -> Agent:
    model = chat_model(
        "anthropic:claude-haiku-4-5", base_url=provider.anthropic_url, api_key="test"
    )
    return Agent([model], [stock], system=SYSTEM, budget=Budget(usd=1), ledger=Ledger(clock=clock))


def cached(agent: Agent) -> tuple[int, int]:
    """Tokens that one task's call read from the cache, and wrote to it."""
    usage = agent.run("check W1").records[0].usage
    return usage.cache_read_tokens, usage.cache_write_5m_tokens + usage.cache_write_1h_tokens


def test_warmed_prefix_is_read_by_the_first_task(agent: Agent) -> None:
    warmed = agent.warm()
    assert warmed.written_tokens > 4_096
    assert warmed.read_tokens == 0
    read, _ = cached(agent)
    assert read == warmed.written_tokens


def test_hour_outlives_a_pause_that_five_minutes_do_not(agent: Agent, clock: Clock) -> None:
    agent.warm(ttl="5m")
    clock.now += 2_400
    seeded = agent.warm(ttl="1h")
    assert seeded.read_tokens == 0
    clock.now += 2_400
    assert cached(agent)[0] == seeded.written_tokens


async def test_it_works_on_the_event_loop(agent: Agent) -> None:
    first, second = await agent.awarm(), await agent.awarm()
    assert second.read_tokens == first.written_tokens > 0


def test_it_is_paid_by_its_scope_and_costs_what_was_billed(
    agent: Agent, provider: ScriptedProvider
) -> None:
    warmed = agent.warm(scope="acme/ops")
    assert warmed.cost_nusd == provider.bill.cost_nusd
    assert agent.ledger.account("acme").settled.nusd == warmed.cost_nusd
    record = agent.ledger.store.task(warmed.task_id)
    assert record is not None
    assert (record.outcome, record.tags["feature"]) == ("answered", "warming")


def test_limit_without_room_lets_nothing_out(agent: Agent, provider: ScriptedProvider) -> None:
    agent.ledger.set_limits("acme", Limits(calls=1))
    agent.warm(scope="acme")
    with pytest.raises(BudgetExceeded):
        agent.warm(scope="acme")
    assert len(provider.requests) == 1


def test_keeper_bridges_a_pause_and_shows_its_balance(agent: Agent, clock: Clock) -> None:
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=2)
    agent.run("check W1")
    clock.now += 200
    assert keeper.tick() is None
    clock.now += 80
    refreshed = keeper.tick()
    assert refreshed is not None
    assert refreshed.read_tokens > 0
    assert refreshed.written_tokens == 0
    clock.now += 200
    read, _ = cached(agent)
    assert read == refreshed.read_tokens
    balance = keeper.balance()
    assert (balance.refreshes, balance.bridged) == (1, 1)
    assert 0 < balance.spent_nusd < balance.saved_nusd


def test_keeper_gives_up_after_its_calls_in_a_row(agent: Agent, clock: Clock) -> None:
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=2)
    agent.run("check W1")
    told: list[bool] = []
    for _ in range(4):
        clock.now += 280
        told.append(keeper.tick() is not None)
    assert told == [True, True, False, False]
    assert keeper.balance().bridged == 0


def test_keepers_see_what_another_one_has_refreshed(agent: Agent, clock: Clock) -> None:
    """Two of one scope, as in two processes, make no more calls together than one would."""
    keepers = [PrefixKeeper(agent, most_usd="0.05", refreshes=2) for _ in range(2)]
    agent.run("check W1")
    told: list[list[bool]] = []
    for _ in range(3):
        clock.now += 280
        told.append([keeper.tick() is not None for keeper in keepers])
    assert told == [[True, False], [True, False], [False, False]]
    assert [keeper.balance().refreshes for keeper in keepers] == [2, 0]


def test_keeper_keeps_to_its_money(agent: Agent, clock: Clock, provider: ScriptedProvider) -> None:
    """It sends only what it could pay for if the provider had forgotten the prefix after all."""
    keeper = PrefixKeeper(agent, most_usd="0.005", refreshes=9)
    agent.run("check W1")
    clock.now += 280
    sent = len(provider.requests)
    assert keeper.tick() is None
    assert len(provider.requests) == sent


def test_limit_of_the_scope_is_told(agent: Agent, clock: Clock) -> None:
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=9, scope="acme")
    agent.run("check W1", scope="acme")
    agent.ledger.set_limits("acme", Limits(calls=1))
    clock.now += 280
    with pytest.raises(BudgetExceeded):
        keeper.tick()


def test_forgotten_prefix_is_not_written_anew(agent: Agent, clock: Clock) -> None:
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=2)
    agent.run("check W1")
    clock.now += 900
    assert keeper.tick() is None


def test_keeper_does_not_take_its_own_calls_for_traffic(
    provider: ScriptedProvider, clock: Clock
) -> None:
    """Where no breakpoint is set they send the very prefix of the tasks."""
    model = chat_model("openai:gpt-5-mini", base_url=provider.openai_url, api_key="test")
    ledger = Ledger(clock=clock)
    agent = Agent([model], [stock], system=SYSTEM, budget=Budget(usd=1), ledger=ledger)
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=2)
    agent.run("check W1")
    told: list[bool] = []
    for _ in range(4):
        clock.now += 280
        told.append(keeper.tick() is not None)
    assert told == [True, True, False, False]


def test_refreshes_are_no_traffic_to_advise(agent: Agent, clock: Clock) -> None:
    """Eight calls eight minutes apart have seven pauses, kept warm or not."""
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=1)
    for _ in range(8):
        agent.run("check W1")
        clock.now += 280
        keeper.tick()
        clock.now += 200
    found = warming(agent.ledger.store, agent.ledger.prices, JournalFilter())
    assert (found.gaps, found.kept) == (7, 7)


def test_keeper_refreshes_as_often_as_recorded_pauses_say(agent: Agent, clock: Clock) -> None:
    """Pauses of eight minutes need one refresh each; without any traffic none pays."""
    assert PrefixKeeper(agent, most_usd="0.05").refreshes == 0
    for _ in range(6):
        agent.run("check W1")
        clock.now += 480
    assert PrefixKeeper(agent, most_usd="0.05").refreshes == 1


def test_keeper_works_in_a_thread_and_ends_with_its_block(agent: Agent) -> None:
    with PrefixKeeper(agent, most_usd="0.05", refreshes=1) as keeper:
        agent.run("check W1")
    assert keeper.balance().refreshes == 0


def test_keeper_in_a_thread_says_why_it_stops(
    agent: Agent, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.warming._MARGIN_SECONDS", 0.03)
    keeper = PrefixKeeper(agent, most_usd="0.05", refreshes=9, scope="acme")
    agent.run("check W1", scope="acme")
    agent.ledger.set_limits("acme", Limits(calls=1))
    clock.now += 299.98
    with keeper, caplog.at_level("WARNING", "agentkit"):
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "a prefix is kept no longer: asked 1 call, 0 calls left" in caplog.text


def test_tools_alone_are_a_prefix_where_a_provider_caches_by_itself(
    provider: ScriptedProvider, clock: Clock
) -> None:
    model = chat_model("openai:gpt-5-mini", base_url=provider.openai_url, api_key="test")
    stock_of = ToolSpec.of(stock, description="How many of an item are there. " * 300)
    agent = Agent([model], [stock_of], budget=Budget(usd=1), ledger=Ledger(clock=clock))
    agent.warm()
    assert cached(agent)[0] > 1_024


def test_breakpoint_is_called_what_openai_calls_it(
    provider: ScriptedProvider, clock: Clock
) -> None:
    model = chat_model("openai:gpt-5.6", base_url=provider.openai_url, api_key="test")
    agent = Agent([model], system=SYSTEM, budget=Budget(usd=1), ledger=Ledger(clock=clock))
    agent.warm()
    asked = json.loads(provider.requests[0].body)["messages"][0]["content"]
    assert asked[-1]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert "cache_control" not in asked[-1]
    assert cached(agent)[0] > 1_024


def test_without_a_prefix_there_is_nothing_to_keep(agent: Agent) -> None:
    with pytest.raises(ConfigError, match="no system text and no tools"):
        Agent(["local:pocket"]).warm()
    with pytest.raises(ConfigError, match="no tier of the agent has a prompt cache"):
        Agent(["local:pocket"], [stock]).warm()
    with pytest.raises(ConfigError, match="give it one with system="):
        Agent([agent.tiers[0].model], [stock]).warm()
    with pytest.raises(ConfigError, match="tiers 0 to 0"):
        agent.warm(tier=3)
    with pytest.raises(ConfigError, match="refreshes=-1"):
        PrefixKeeper(agent, most_usd="1", refreshes=-1)
