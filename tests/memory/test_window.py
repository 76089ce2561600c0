"""The window fits, keeps calls beside their results, and moves only when it must."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from agentkit.memory.window import units, valid_window, window_start


def words(message: BaseMessage) -> int:
    """One word = one token."""
    return len(message.text.split()) + 1


def step(number: int, results: int = 1, size: int = 10) -> list[BaseMessage]:
    """A call for `results` tools and what they said."""
    calls = [{"name": "t", "args": {}, "id": f"c{number}.{at}"} for at in range(results)]
    said = [ToolMessage("word " * size, tool_call_id=str(call["id"])) for call in calls]
    return [AIMessage("", tool_calls=calls), *said]


def transcript(steps: Sequence[int]) -> list[BaseMessage]:
    messages: list[BaseMessage] = [HumanMessage("do it")]
    for number, results in enumerate(steps):
        messages += step(number, results)
    return messages


def test_a_transcript_that_fits_is_left_alone() -> None:
    messages = transcript([1, 1])
    assert window_start(messages, count=words, limit_tokens=1000, head=1, start=1) == 1


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=30),
    st.integers(20, 400),
)
def test_the_window_fits_and_starts_at_a_unit(steps: list[int], limit: int) -> None:
    messages = transcript(steps)
    start = window_start(messages, count=words, limit_tokens=limit, head=1, start=1)
    kept = [messages[0], *messages[start:]]
    assert sum(map(words, kept)) <= max(limit, words(messages[0]))
    assert start in {1, len(messages), *(begin for begin, _ in units(messages, 1))}
    assert valid_window(kept) == kept


@given(st.lists(st.integers(1, 3), min_size=4, max_size=40), st.integers(60, 200))
def test_the_window_never_moves_back_and_rests_between_moves(steps: list[int], limit: int) -> None:
    """The sent prefix changes seldom: each move leaves room for several steps."""
    messages: list[BaseMessage] = [HumanMessage("do it")]
    start, moves = 1, 0
    for number, results in enumerate(steps):
        messages += step(number, results, size=3)
        moved = window_start(messages, count=words, limit_tokens=limit, head=1, start=start)
        assert moved >= start
        moves += moved != start
        start = moved
    assert moves <= 1 + len(steps) // 2


def test_units_keep_parallel_results_together() -> None:
    assert units(transcript([2, 1]), 1) == [(1, 4), (4, 6)]


@pytest.mark.parametrize("drop", range(1, 6))
def test_what_is_sent_is_valid_after_any_message_is_lost(drop: int) -> None:
    messages = transcript([2, 1])
    del messages[drop]
    assert_valid(valid_window(messages))


@given(st.lists(st.integers(0, 11), max_size=12), st.randoms(use_true_random=False))
def test_what_is_sent_is_valid_after_any_edit(dropped: list[int], random: object) -> None:
    messages: list[BaseMessage] = [SystemMessage("s"), *transcript([3, 1, 2]), AIMessage("end")]
    messages = [message for at, message in enumerate(messages) if at not in dropped]
    random.shuffle(messages)  # type: ignore[attr-defined]  # hypothesis' random
    assert_valid(valid_window(messages))


def assert_valid(messages: Sequence[BaseMessage]) -> None:
    """As the providers check it: each call answered at once, each result called for, no blanks."""
    open_calls: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in open_calls
            open_calls.discard(message.tool_call_id)
            continue
        assert not open_calls
        if isinstance(message, AIMessage):
            assert message.content or message.tool_calls
            open_calls = {str(call["id"]) for call in message.tool_calls}
    assert not open_calls
