"""What is sent fits the window and each part's allotment, or nothing is sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.memory import (
    Allocation,
    AllotmentExceeded,
    Condensed,
    Context,
    Frame,
    MessageCounter,
    Moment,
    WindowTooSmall,
    engine_for,
)
from tests.memory.transcripts import assert_taken, edited, transcript, words

COUNTER = MessageCounter(words, message_overhead=1, request_overhead=0)
LEAST_OBSERVATION = 48
share = st.none() | st.integers(1, 200)


def tokens_of(messages: list[BaseMessage], kind: type[BaseMessage]) -> list[int]:
    return [COUNTER.message(message) for message in messages if isinstance(message, kind)]


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.integers(1, 4), max_size=12),
    size=st.integers(0, 120),
    system=st.integers(0, 60),
    tools=st.integers(0, 150),
    edits=st.integers(0, 10),
    seed=st.integers(0, 10**6),
    limit=st.none() | st.integers(1, 900),
    allocation=st.builds(
        Allocation,
        system=share,
        tools=share,
        summary=st.integers(1, 90),
        recent=st.integers(1, 300),
        observation=share,
    ),
)
def test_every_part_is_within_its_allotment_or_nothing_is_sent(
    steps: list[int],
    size: int,
    system: int,
    tools: int,
    edits: int,
    seed: int,
    limit: int | None,
    allocation: Allocation,
) -> None:
    """Also after a rewriting, in both providers' formats."""
    engine = engine_for(
        "claude-sonnet-4-5", "anthropic", Context(allocation=allocation), counter=COUNTER
    )
    frame = Frame(
        system=SystemMessage("s " * system) if system else None,
        tools_tokens=tools,
        request_at=1,
        limit_tokens=limit,
    )
    messages = edited(transcript(steps, size), edits, seed)
    condensed = Condensed()
    rewrite = engine.rewriting(messages, condensed, frame, Moment(calls=len(steps), now=0.0))
    if rewrite is not None:
        condensed = engine.condensed(rewrite, condensed)
        assert COUNTER.text(condensed.summary) <= allocation.summary
    try:
        plan = engine.plan(messages, condensed, frame)
    except AllotmentExceeded as error:
        assert error.tokens > error.limit_tokens == getattr(allocation, error.part)  # noqa: PT017  either is right
        return
    except WindowTooSmall as error:
        assert limit is not None
        assert error.needed_tokens > limit  # noqa: PT017  either is right
        return
    assert_taken(plan.messages, plan.breakpoints)
    assert plan.input_tokens == COUNTER.request(plan.messages, ()) + tools
    assert limit is None or plan.input_tokens <= limit
    assert allocation.tools is None or tools <= allocation.tools
    if allocation.system is not None:
        assert sum(tokens_of(plan.messages, SystemMessage)) <= allocation.system
    if allocation.observation is not None:
        most = max(allocation.observation, LEAST_OBSERVATION)
        assert all(each <= most for each in tokens_of(plan.messages, ToolMessage))


@pytest.mark.parametrize(
    ("allocation", "told"),
    [
        (Allocation(system=4), "the system texts take 6 tokens, and 4 are allotted; shorten them"),
        (Allocation(tools=20), "the definitions of the tools take 30 tokens, and 20 are allotted"),
    ],
)
def test_a_part_that_cannot_be_cut_is_refused_with_what_to_do(
    allocation: Allocation, told: str
) -> None:
    engine = engine_for("gpt-5.1", "openai", Context(allocation=allocation), counter=COUNTER)
    frame = Frame(system=SystemMessage("one two three four five"), tools_tokens=30)
    with pytest.raises(AllotmentExceeded, match=told) as raised:
        engine.plan([HumanMessage("go")], frame=frame)
    assert f"raise Allocation({raised.value.part}=...)" in str(raised.value)
