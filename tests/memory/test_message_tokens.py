"""Messages are counted once, and a growing transcript only where it grew."""

from __future__ import annotations

import gc

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.memory.tokens import MessageCounter
from agentkit.memory.transcript import Transcript


class WordCount:
    """One word = one token; remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, text: str) -> int:
        self.asked += 1
        return len(text.split())


def test_a_message_is_counted_once_while_it_stays_the_same() -> None:
    count = WordCount()
    counter = MessageCounter(count, message_overhead=4)
    message = HumanMessage("one two three")
    assert [counter.message(message), counter.message(message)] == [7, 7]
    assert count.asked == 1
    message.content = "one two three four"
    assert counter.message(message) == 8


def test_a_new_message_at_the_place_of_a_dead_one_is_counted() -> None:
    counter = MessageCounter(WordCount(), message_overhead=0)
    for words in range(200):
        message = HumanMessage("w " * words)
        assert counter.message(message) == words
        del message
        gc.collect(0)


def test_calls_results_names_and_blocks_count() -> None:
    counter = MessageCounter(WordCount(), message_overhead=0)
    call = {"name": "find", "args": {"city": "New York"}, "id": "c1"}
    assert counter.message(AIMessage("", tool_calls=[call])) > 12
    assert counter.message(ToolMessage("two words", tool_call_id="c1")) == 3
    assert counter.message(HumanMessage("hi", name="Ann")) == 3
    blocks = [{"type": "text", "text": "a b c"}, {"type": "image_url", "image_url": {"url": "u"}}]
    assert counter.message(HumanMessage(blocks)) >= 2000


def test_tools_count_as_their_json() -> None:
    counter = MessageCounter(WordCount(), tools_overhead=12)
    assert counter.tools([]) == 0
    assert counter.tools([{"name": "find", "description": "find a thing"}]) > 12


def test_a_growing_transcript_is_counted_where_it_grew() -> None:
    count = WordCount()
    running = Transcript(MessageCounter(count, message_overhead=0).message)
    messages: list[BaseMessage] = []
    for number in range(50):
        messages = [*messages, HumanMessage("w " * (number + 1))]
        running.update(messages)
        assert running.tokens() == sum(range(1, number + 2))
    assert count.asked == 50
    assert running.tokens(48) == 49 + 50


def test_another_transcript_is_counted_from_its_start() -> None:
    running = Transcript(MessageCounter(WordCount(), message_overhead=0).message)
    for messages, tokens in [
        ([HumanMessage("a b"), HumanMessage("c")], 3),
        ([HumanMessage("x"), HumanMessage("y z")], 3),
        ([HumanMessage("x")], 1),
        ([], 0),
    ]:
        running.update(messages)
        assert running.tokens() == tokens


def test_nothing_is_kept_of_messages_that_are_gone() -> None:
    """Found by the soak: their contents, which may be large, stayed in memory."""
    counter = MessageCounter(lambda text: len(text.split()))
    kept = HumanMessage("this one stays")
    counter.message(kept)
    for number in range(100):
        counter.message(HumanMessage(f"message {number} " + "word " * 100))
    gc.collect()
    assert len(counter._memo) == 1
    assert counter.message(kept) == 3 + 4
