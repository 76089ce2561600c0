"""Where requests are cached and for how long, what that costs, and when a miss is told."""

from __future__ import annotations

import time

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.budgets import PriceBook, Usage
from agentkit.memory import (
    Condensed,
    Context,
    Frame,
    LearnedCallsLeft,
    MessageCounter,
    Moment,
    Placement,
    as_many_again,
    cache_rules,
    engine_for,
    moving_breakpoints,
    never,
)
from agentkit.memory.breakpoints import LifetimeCase, lifetime
from agentkit.memory.prefix_price import prefix_price
from tests.memory.transcripts import transcript, words

COUNTER = MessageCounter(words, message_overhead=1, request_overhead=0)
CLAUDE = ("claude-sonnet-4-5", "anthropic")


@pytest.mark.parametrize(
    ("model", "provider", "how", "least"),
    [
        ("claude-sonnet-4-5", "anthropic", "breakpoints", 1024),
        ("claude-opus-4-5-20251101", "anthropic", "breakpoints", 4096),
        ("claude-haiku-4-5", "anthropic", "breakpoints", 4096),
        ("claude-opus-4-7", "anthropic", "breakpoints", 2048),
        ("claude-next", "anthropic", "breakpoints", 4096),
        ("gpt-5.1", "openai", "automatic", 1024),
        ("gpt-3.5-turbo", "openai", "none", 0),
        ("pocket", "local", "prefill", 0),
        ("gemini-2.5-pro", "google", "none", 0),
    ],
)
def test_each_model_has_its_rules(model: str, provider: str, how: str, least: int) -> None:
    rules = cache_rules(model, provider)
    assert (rules.how, rules.least_tokens) == (how, least)


def test_breakpoints_stand_behind_what_stays_and_move_with_the_end() -> None:
    messages: list[BaseMessage] = [SystemMessage("s"), *transcript([1, 1, 1])[1:]]
    case = Placement(
        messages=messages, fixed=2, reused=4, input_tokens=5000, rules=cache_rules(*CLAUDE)
    )
    assert [point.at for point in moving_breakpoints(case)] == [0, 1, 3, 7]
    short = Placement(
        messages=messages, fixed=2, reused=4, input_tokens=100, rules=cache_rules(*CLAUDE)
    )
    assert moving_breakpoints(short) == ()
    automatic = cache_rules("gpt-5.1", "openai")
    gpt = Placement(messages=messages, fixed=2, reused=4, input_tokens=5000, rules=automatic)
    assert moving_breakpoints(gpt) == ()


def test_no_breakpoint_stands_on_the_models_own_words() -> None:
    messages = [HumanMessage("go"), AIMessage("hm"), HumanMessage("go on")]
    case = Placement(
        messages=messages, fixed=1, reused=2, input_tokens=5000, rules=cache_rules(*CLAUDE)
    )
    assert [point.at for point in moving_breakpoints(case)] == [0, 2]


def test_an_hour_is_asked_for_where_pauses_make_five_minutes_dearer() -> None:
    case = LifetimeCase(
        pauses_over_5m=2, pauses=10, prefix_tokens=20_000, new_tokens=500,
        write_5m=3750.0, write_1h=6000.0, read=300.0,
    )  # fmt: skip
    assert lifetime(case) == "1h"
    none = LifetimeCase(
        pauses_over_5m=0, pauses=10, prefix_tokens=20_000, new_tokens=500,
        write_5m=3750.0, write_1h=6000.0, read=300.0,
    )  # fmt: skip
    assert lifetime(none) == "5m"


def test_a_local_models_price_is_prefill_and_reading_is_free() -> None:
    rules = cache_rules("pocket", "local")
    price = prefix_price(PriceBook().price("pocket", "local"), rules, input_tokens=100)
    assert price.call(1000, warm=900) == 100
    assert price.steady(100_000) == 0


def test_a_local_models_history_is_rewritten_only_where_it_does_not_fit() -> None:
    engine = engine_for("pocket", "local", counter=COUNTER)
    messages = transcript([1] * 200, 300)
    moment = Moment(calls=200, now=10.0)
    assert engine.rewriting(messages, Condensed(), Frame(request_at=1), moment) is None
    full = Frame(request_at=1, limit_tokens=30_000)
    rewrite = engine.rewriting(messages, Condensed(), full, moment)
    assert rewrite is not None
    assert rewrite.reason == "is nearly full"


@pytest.mark.parametrize(
    ("read", "pause", "change", "reason"),
    [
        (3000, 5.0, "", None),
        (0, 5.0, "", "not_kept"),
        (0, 400.0, "", "ttl_passed"),
        (0, 5.0, "tools", "prefix_changed"),
        (0, 5.0, "system", "prefix_changed"),
    ],
)
def test_a_miss_is_told_with_its_reason(
    read: int, pause: float, change: str, reason: str | None
) -> None:
    engine = engine_for(*CLAUDE, Context(rewrite=never), counter=COUNTER)
    system = SystemMessage("be brief")
    messages = transcript([1, 1, 1], 1000)[1:]
    first = engine.plan(messages, frame=Frame(system=system, tools_key="a"))
    engine.settled(first, Usage(input_tokens=3100, cache_write_5m_tokens=3100), at=0.0)
    more = [*messages, *transcript([1], 10)[2:]]
    frame = Frame(
        system=SystemMessage("be very brief") if change == "system" else system,
        tools_key="b" if change == "tools" else "a",
    )
    second = engine.plan(more, frame=frame)
    _, miss = engine.settled(second, Usage(input_tokens=3200, cache_read_tokens=read), at=pause)
    assert (miss.reason if miss else None) == reason


def test_a_prompt_too_short_to_cache_says_so() -> None:
    engine = engine_for(*CLAUDE, counter=COUNTER)
    messages = transcript([1])
    for number in range(2):
        plan = engine.plan(messages)
        assert plan.breakpoints == ()
        _, miss = engine.settled(plan, Usage(input_tokens=300), at=float(number))
    assert miss is not None
    assert miss.reason == "too_short"


def test_calls_that_are_left_are_as_many_again_or_learned_from_tasks() -> None:
    assert (as_many_again(0), as_many_again(7)) == (1, 7)
    learned = LearnedCallsLeft.of([10] * 10 + [30] * 10)
    assert learned(5) == 15
    assert learned(10) == 10
    assert learned(50) == 50


def test_a_step_is_planned_as_fast_at_the_end_as_at_the_start() -> None:
    """400 steps: at most 3 ms for the best of the last 40, whatever else the machine does."""
    engine = engine_for(*CLAUDE, Context(rewrite=never))
    messages: list[BaseMessage] = [HumanMessage("go")]
    times: list[float] = []
    for number in range(400):
        call = {"name": "t", "args": {"q": number}, "id": f"c{number}"}
        said = ToolMessage(f"observation {number} " + "word " * 100, tool_call_id=f"c{number}")
        messages = [*messages, AIMessage("", tool_calls=[call]), said]
        began = time.perf_counter()
        frame = Frame(limit_tokens=10**6)
        engine.rewriting(messages, Condensed(), frame, Moment(calls=number, now=0.0))
        plan = engine.plan(messages, Condensed(), frame)
        engine.marked(plan)
        engine.settled(plan, Usage(input_tokens=plan.input_tokens), at=0.0)
        times.append(time.perf_counter() - began)
    assert min(times[-40:]) < 0.003
