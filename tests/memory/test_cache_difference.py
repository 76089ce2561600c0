"""What keeps two alike questions apart, and what does not."""

from __future__ import annotations

import math
import time

import pytest

from agentkit.memory.cache.admission import is_personal, refusal
from agentkit.memory.cache.difference import difference, penalty
from agentkit.memory.cache.reading import read


@pytest.mark.parametrize(
    ("kind", "cached", "asked"),
    [
        ("numbers", "What is the fee for 3 transfers?", "What is the fee for 5 transfers?"),
        ("numbers", "Who are the top ten authors?", "Who are the top twenty authors?"),
        ("numbers", "How do I fix an iPhone 5S?", "How do I fix an iPhone 6S?"),
        ("numbers", "What happened in 1,990?", "What happened in 1,991?"),
        ("dates", "Is the shop open on Monday?", "Is the shop open on Sunday?"),
        ("dates", "What is due this week in Jan?", "What is due this week in June?"),
        ("dates", "What is the weather today?", "What is the weather tomorrow?"),
        ("units", "How far is it in km from here?", "How far is it in miles from here?"),
        ("units", "What is it in dollars?", "What is it in euros?"),
        ("names", "What is the capital of France now?", "What is the capital of Spain now?"),
        ("names", "How do I use load_data()?", "How do I use save_data()?"),
        ("negation", "Can I pay with a card?", "Can I not pay with a card?"),
        ("negation", "How do I cook with salt?", "How do I cook without salt?"),
        ("negation", "Which cards work?", "Which cards don't work?"),
        ("negation", "Does it work abroad?", "Please tell me: does it not work abroad, thanks"),
        ("negation", "If it isn't lost, is it here?", "Tell me: if it isn't lost, isn't it here"),
        ("negated", "Why can't I pay with it?", "What stops it from being accepted?"),
        ("opposite", "How do I enable alerts on it?", "How do I disable alerts on it?"),
        ("opposite", "Should I buy the shares?", "Should I sell the shares?"),
        ("question", "Who built the bridge?", "When was the bridge built?"),
        ("question", "How many people live here?", "How do people live here?"),
        ("swapped", "How do I peel a mango?", "How do I peel a potato?"),
        ("added", "How do I change my country?", "How do I change my country on spotify?"),
        ("order", "How do I fly from rome to oslo?", "How do I fly from oslo to rome?"),
    ],
)
def test_one_thing_changed_is_found(kind: str, cached: str, asked: str) -> None:
    assert difference(read(cached), read(asked)) == kind
    assert difference(read(asked), read(cached)) == kind


@pytest.mark.parametrize(
    ("cached", "asked"),
    [
        ("What is your refund policy?", "what is your refund policy"),
        ("I want to reset a password", "How can I reset a password?"),
        ("Can I get a refund?", "Please help me get a refund"),
        ("How do I track an order that was shipped?", "Where is the tracking of a shipped order?"),
        ("Which ATMs accept this card?", "Is this card accepted at every ATM?"),
        ("The function returns two columns", "2 columns are returned by the function"),
    ],
)
def test_other_words_for_the_same_are_let_through_or_only_doubted(cached: str, asked: str) -> None:
    assert penalty(difference(read(cached), read(asked))) < math.inf


def test_what_is_certain_is_never_forgiven() -> None:
    for kind in ("numbers", "dates", "units", "names", "negation", "opposite"):
        assert penalty(kind) == math.inf  # type: ignore[arg-type]  # members of the Literal
        assert penalty(kind, 0.1) == math.inf  # type: ignore[arg-type]  # members of the Literal
    assert penalty(None) == 0.0


def test_doubts_weigh_less_where_more_may_be_wrong() -> None:
    assert penalty("swapped", 0.01) == penalty("added", 0.04) == 0.5
    assert penalty("negated", 0.04) == math.inf
    assert penalty("swapped", 0.05) < penalty("negated", 0.05) < 0.5


@pytest.mark.parametrize("text", ["", "?", "   ", "\ud800 broken", "数字が変わる", "a" * 1_000_000])
def test_odd_texts_are_read(text: str) -> None:
    started = time.process_time()
    assert difference(read(text), read(text)) is None
    assert time.process_time() - started < 1


def test_long_runs_of_marks_take_linear_time() -> None:
    started = time.process_time()
    for text in ("1." * 50_000, "a." * 50_000, "'" * 100_000, "9-" * 50_000, "a1" * 50_000):
        read(text)
        is_personal(text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "Where is my order?",
        "Mail me at jo.doe@example.com",
        "Call 030 1234 5678",
        "What is in order W12345?",
        "I'm locked out",
    ],
)
def test_what_speaks_of_a_person_is_personal(text: str) -> None:
    assert is_personal(text)


@pytest.mark.parametrize("text", ["What is the refund policy?", "How tall is K2?", "2 + 2?"])
def test_what_anybody_could_ask_is_not(text: str) -> None:
    assert not is_personal(text)


def test_what_must_not_be_kept_is_refused() -> None:
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    asked = HumanMessage("What is the refund policy?")
    call = AIMessage("", tool_calls=[{"name": "search", "args": {}, "id": "1"}])
    seen = ToolMessage("30 days", tool_call_id="1", name="search")
    assert refusal([asked], answer="30 days", user=None) is None
    assert refusal([asked], answer=" ", user=None) == "the answer is empty"
    assert refusal([asked, call, seen], answer="30 days", user=None) == "it rests on tools: search"
    assert refusal([asked, call, seen], answer="x", user=None, lasting_tools={"search"}) is None
    failed = ToolMessage("no", tool_call_id="1", name="search", status="error")
    assert refusal([asked, failed], answer="x", user=None, lasting_tools={"search"}) is not None
    mine = HumanMessage("Where is my order?")
    assert refusal([mine], answer="x", user=None) is not None
    assert refusal([mine], answer="x", user="u1") is None
