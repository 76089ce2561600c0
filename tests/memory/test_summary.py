"""A summary keeps what later turns use, is never longer than what it replaces, orphans nothing."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.memory import (
    Allocation,
    Condensed,
    Context,
    ContextHook,
    Frame,
    MessageCounter,
    Moment,
    Summary,
    engine_for,
)
from agentkit.memory.identifiers import identifiers
from agentkit.memory.summary import checked, extracted, used_later
from tests.memory.transcripts import assert_taken, transcript, words

COUNTER = MessageCounter(words, message_overhead=1, request_overhead=0)
WRITTEN = """Here it is.
**GOAL:** refund the order
DECISIONS:
- looked up W123
FACTS:
- W123 was sent on 2026-03-01
  to ann@example.com
FAILED:
- refunding W124 needs approval
"""


def test_a_models_lists_are_read_back_and_survive_another_round() -> None:
    summary = Summary.read(WRITTEN)
    assert summary is not None
    assert summary.goal == ("refund the order",)
    assert summary.facts == ("W123 was sent on 2026-03-01", "to ann@example.com")
    assert Summary.read(summary.text) == summary


def test_an_answer_without_lists_is_no_summary() -> None:
    assert Summary.read("I would rather look up another order.") is None


def test_identifiers_that_later_turns_used_are_appended_where_the_summary_lost_them() -> None:
    dropped = [ToolMessage("W123 costs 40 USD, see /srv/a/b.txt", tool_call_id="1")]
    call = {"name": "open", "args": {"path": "/srv/a/b.txt"}, "id": "2"}
    needed = used_later(dropped, [AIMessage("", tool_calls=[call])])
    assert needed == ["/srv/a/b.txt"]
    text = checked(Summary(goal=("refund",)), needed, count=words, limit_tokens=50)
    assert "/srv/a/b.txt" in text
    assert "refund" in text


def test_what_does_not_fit_gives_way_oldest_first_and_identifiers_last() -> None:
    facts = tuple(f"fact number {number} is here" for number in range(100))
    text = checked(Summary(facts=facts), ["K-77"], count=words, limit_tokens=40)
    assert words(text) <= 40
    assert "fact number 99" in text
    assert "fact number 1 " not in text
    assert "K-77" in text
    assert checked(Summary(facts=facts), ["K-77"], count=words, limit_tokens=2) == ""


def test_extraction_keeps_calls_identifiers_and_failures() -> None:
    messages = transcript([2])[1:]
    messages += [ToolMessage("no such order W9", tool_call_id="x", status="error", name="get")]
    summary = extracted(messages, goal="check W1")
    assert summary.goal == ("check W1",)
    assert summary.decisions == ('t({"n": 0})', 't({"n": 1})')
    assert summary.failed == ("get: no such order W9",)
    again = extracted([HumanMessage("and W77")], previous=summary)
    assert "the user said: and W77" in again.facts
    assert again.failed == summary.failed


def test_identifiers_are_found_in_linear_time() -> None:
    text = 'order #W12, 40kg on 2026-03-01 at https://a.example/x?y=1 or "two words" in main.py_x'
    found = identifiers(text)
    assert found == [
        "#W12",
        "40kg",
        "2026-03-01",
        "https://a.example/x?y",
        "main.py_x",
        "two words",
    ]
    assert identifiers("a" * 10**6) == []
    assert len(identifiers("9-" * 10**6)) < 2000


def ahead_of_results() -> list[BaseMessage]:
    """Two messages that call tools ahead of their results, one of them two tools at once."""
    calls = [{"name": "t", "args": {"n": at}, "id": f"p{at}"} for at in range(3)]
    said = [ToolMessage(f"R-{at} " + "word " * 60, tool_call_id=f"p{at}") for at in range(3)]
    return [AIMessage("", tool_calls=calls[:1]), AIMessage("", tool_calls=calls[1:]), *said[::-1]]


@pytest.mark.parametrize("recent", [1, 20, 70, 140, 200, 400])
@pytest.mark.parametrize("summaries", ["cheapest", "extraction", "off"])
def test_no_cut_parts_a_call_from_its_results(recent: int, summaries: str) -> None:
    """Wherever the cut falls: before, inside and behind interleaved and parallel calls."""
    policy = Context(allocation=Allocation(recent=recent), summaries=summaries)  # type: ignore[arg-type]  # parametrized
    messages = [*transcript([1, 2], 60), *ahead_of_results(), *transcript([3, 1], 60)[2:]]
    for end in range(3, len(messages) + 1):
        engine = engine_for("claude-sonnet-4-5", "anthropic", policy, counter=COUNTER)
        frame = Frame(limit_tokens=250, request_at=1)
        whole = messages[:end]
        condensed = Condensed()
        rewrite = engine.rewriting(whole, condensed, frame, Moment(calls=3, now=0.0))
        if rewrite is not None:
            condensed = engine.condensed(rewrite, condensed)
            assert words(condensed.summary) <= rewrite.summary_tokens < rewrite.dropped_tokens
        plan = engine.plan(whole, condensed, frame)
        assert_taken(plan.messages, plan.breakpoints)
        results = {m.tool_call_id for m in plan.messages if isinstance(m, ToolMessage)}
        calls = {c["id"] for m in plan.messages if isinstance(m, AIMessage) for c in m.tool_calls}
        assert results == calls
        assert plan.input_tokens <= 250


def test_a_hook_asks_for_a_summary_and_keeps_threads_apart() -> None:
    asked: list[list[BaseMessage]] = []

    def write(messages: list[BaseMessage], most_tokens: int) -> str:
        asked.append(messages)
        return WRITTEN

    policy = Context(limit_tokens=2000, allocation=Allocation(recent=300))
    hook = ContextHook("openai:gpt-5.1", policy, write=write)
    messages: list[BaseMessage] = transcript([1] * 30, 60)
    for end in range(2, len(messages), 2):
        sent = hook.messages(messages[:end], thread="a")
        assert_taken(sent)
    assert len(asked) >= 1
    assert "Stop here" in asked[0][-1].text
    assert any("refund the order" in message.text for message in sent)
    other = hook({"messages": messages[:4]}, {"configurable": {"thread_id": "b"}})
    assert [m.text for m in other["llm_input_messages"]][1] == "do it"
