"""What is sent is valid for both providers, whatever happened to the transcript before."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.memory import (
    Allocation,
    Condensed,
    Context,
    Frame,
    MessageCounter,
    WindowTooSmall,
    engine_for,
)
from agentkit.memory.transcript import Transcript, as_request
from tests.memory.transcripts import assert_taken, edited, transcript, words

COUNTER = MessageCounter(words, message_overhead=1, request_overhead=0)


def turns_of(messages: Sequence[BaseMessage]) -> Transcript:
    turns = Transcript(COUNTER.message)
    turns.update(messages)
    return turns


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 12), st.integers(0, 10**6))
def test_a_few_edits_leave_a_valid_request(steps: list[int], edits: int, seed: int) -> None:
    turns = turns_of(edited(transcript(steps), edits, seed))
    assert_taken(as_request(turns.system, turns.messages()))


@pytest.mark.parametrize("seed", range(6))
def test_five_hundred_edits_leave_a_valid_request_that_fits(seed: int) -> None:
    messages = edited(transcript([1, 3, 2] * 10), 500, seed)
    engine = engine_for("claude-sonnet-4-5", "anthropic", counter=COUNTER)
    for start in random.Random(seed).sample(range(len(messages)), 8):
        for limit in (None, 400, 150):
            frame = Frame(limit_tokens=limit, request_at=1)
            try:
                plan = engine.plan(messages, Condensed(start=start, summary="summary"), frame)
            except WindowTooSmall:
                assert limit is not None
                continue
            assert_taken(plan.messages, plan.breakpoints)
            assert limit is None or plan.input_tokens <= limit
            assert plan.input_tokens == COUNTER.request(plan.messages, ())
            assert sum(plan.components.values()) == plan.input_tokens


def test_the_checks_refuse_what_is_not_repaired() -> None:
    """So the tests above test something."""
    refused = 0
    for seed in range(8):
        with contextlib.suppress(Exception):
            assert_taken(edited(transcript([1, 3, 2]), 20, seed))
            continue
        refused += 1
    assert refused >= 6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=8), st.integers(0, 10**6), st.data())
def test_a_transcript_that_grows_is_as_one_taken_in_at_once(
    steps: list[int], seed: int, data: st.DataObject
) -> None:
    messages = edited(transcript(steps), 10, seed)
    growing = Transcript(COUNTER.message)
    for end in sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=6))):
        growing.update(messages[:end])
        assert growing.tokens() == COUNTER.messages(growing.messages())
    growing.update(messages)
    whole = turns_of(messages)
    assert growing.messages() == whole.messages()
    assert growing.parts() == whole.parts()


def test_a_result_moves_up_to_its_call_and_parallel_calls_keep_their_order() -> None:
    calls = [{"name": "t", "args": {}, "id": name} for name in ("a", "b")]
    one, two = AIMessage("", tool_calls=calls[:1]), AIMessage("", tool_calls=calls[1:])
    both = AIMessage("", tool_calls=[{**call, "id": f"{call['id']}2"} for call in calls])
    said = {name: ToolMessage(name, tool_call_id=name) for name in ("a", "b", "a2", "b2")}
    messages = [HumanMessage("go"), one, two, said["b"], HumanMessage("hm"), said["a"]]
    turns = turns_of([*messages, both, said["b2"], said["a2"]])
    assert turns.messages() == [
        messages[0], one, said["a"], two, said["b"], messages[4], both, said["a2"], said["b2"],
    ]  # fmt: skip
    assert [turn.first for turn in turns.turns] == [0, 1, 2, 4, 6]


def test_a_call_id_used_twice_is_named_apart_with_its_result() -> None:
    call = AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "x"}])
    said = [ToolMessage("one", tool_call_id="x"), ToolMessage("two", tool_call_id="x")]
    sent = turns_of([HumanMessage("go"), call, said[0], call, said[1]]).messages()
    assert [m.tool_call_id for m in sent if isinstance(m, ToolMessage)] == ["x", "x_2"]
    assert [m.text for m in sent if isinstance(m, ToolMessage)] == ["one", "two"]
    assert_taken(sent)


def test_an_observation_over_its_allocation_is_cut_once_and_stays_the_same() -> None:
    policy = Context(allocation=Allocation(observation=60))
    engine = engine_for("gpt-5.1", "openai", policy, counter=COUNTER)
    messages = transcript([1], size=500)
    first = engine.plan(messages).messages
    second = engine.plan([*messages, AIMessage("hm")]).messages
    assert COUNTER.message(first[-1]) <= 60
    assert all(a is b for a, b in zip(first, second, strict=False))


def test_nothing_fits_says_how_much_would() -> None:
    engine = engine_for("gpt-5.1", "openai", counter=COUNTER)
    with pytest.raises(WindowTooSmall, match="takes at least 310 tokens, and 300 are allowed"):
        engine.plan([HumanMessage("do it")], frame=Frame(tools_tokens=307, limit_tokens=300))
