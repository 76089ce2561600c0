"""Rewriting history pays where tasks are long, and never costs more than it may."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.budgets import PriceBook
from agentkit.memory import (
    Allocation,
    Condensed,
    Context,
    Frame,
    MessageCounter,
    Moment,
    Savings,
    cache_rules,
    engine_for,
)
from agentkit.memory.prefix_price import prefix_price
from tests.memory.cache_world import CacheWorld
from tests.memory.transcripts import words

COUNTER = MessageCounter(words, message_overhead=0, request_overhead=0)
MODELS = [
    ("claude-sonnet-4-5", "anthropic"),
    ("claude-haiku-4-5", "anthropic"),
    ("gpt-5.1", "openai"),
]
BOOK = PriceBook()


def world_of(model: str, provider: str) -> CacheWorld:
    rules = cache_rules(model, provider)
    return CacheWorld(
        price=BOOK.price(model, provider),
        count=COUNTER.message,
        least_tokens=rules.least_tokens,
        writes=provider == "anthropic",
    )


def run(
    model: tuple[str, str], sizes: list[int], pauses: list[float], policy: Context
) -> list[tuple[int, int, int]]:
    """(bill, bill of replaying everything, times rewritten) after each step of a task."""
    ours, naive = world_of(*model), world_of(*model)
    engine = engine_for(*model, policy, counter=COUNTER, price=ours.price)
    messages: list[BaseMessage] = [HumanMessage("request " + "word " * 300)]
    condensed, savings, now = Condensed(), Savings(), 0.0
    paid = replay = times = 0
    bills: list[tuple[int, int, int]] = []

    def summary_nusd(sent: int, warm: int, most: int) -> float:
        price = prefix_price(ours.price, engine.rules, input_tokens=sent)
        return price.call(sent, warm=warm) + price.output * most

    for step, size in enumerate(sizes):
        now += pauses[step]
        plan = engine.plan(messages, condensed, now=now)
        moment = Moment(calls=step, now=now, savings=savings, summary_nusd=summary_nusd)
        rewrite = engine.rewriting(messages, condensed, Frame(), moment)
        if rewrite is not None:
            usage = replace(ours.send(plan.messages, now), output_tokens=rewrite.summary_tokens)
            cost = ours.cost(usage)
            paid, times = paid + cost, times + 1
            savings = savings.after(replay_nusd=0, paid_nusd=cost)
            condensed = engine.condensed(rewrite, condensed)
            plan = engine.plan(messages, condensed, now=now)
        usage = ours.send(plan.messages, now, plan.ttl)
        saved, _ = engine.settled(plan, usage, at=now)
        savings = savings.after(replay_nusd=saved.replay_nusd, paid_nusd=saved.paid_nusd)
        paid += ours.cost(usage)
        replay += naive.cost(naive.send(messages, now))
        bills.append((paid, replay, times))
        call = {"name": "t", "args": {"n": step}, "id": f"c{step}"}
        messages += [
            AIMessage("thinking of it", tool_calls=[call]),
            ToolMessage(f"W{step} " + "word " * size, tool_call_id=f"c{step}"),
        ]
    return bills


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.integers(1, 60),
    st.sampled_from([20, 300, 3000]),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.integers(0, 10**6),
    st.sampled_from([200, 2000]),
)
def test_the_bill_never_passes_the_replays_by_more_than_the_risk(
    model: tuple[str, str],
    risk: float,
    steps: int,
    size: int,
    pausing: float,
    seed: int,
    recent: int,
) -> None:
    """Wherever the task ends: with pauses over the cache's life, short prompts, any sizes."""
    chance = random.Random(seed)
    sizes = [chance.randint(0, 2 * size) for _ in range(steps)]
    pauses = [400.0 if chance.random() < pausing else 5.0 for _ in range(steps)]
    policy = Context(risk=risk, allocation=Allocation(recent=recent))
    for paid, replay, _ in run(model, sizes, pauses, policy):
        assert paid <= replay * (1 + risk) * 1.0001 + 1000


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_long_tasks_cost_less(model: tuple[str, str]) -> None:
    paid, replay, times = run(model, [600] * 150, [5.0] * 150, Context())[-1]
    assert times >= 1
    assert paid < 0.85 * replay
