"""Transcripts for tests, edited at random, and the providers' own rules to check requests by."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, cast

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI

from agentkit.memory.breakpoints import Breakpoint, marked
from tests.wire.chat_completions import ChatCompletions
from tests.wire.messages_body import read_request
from tests.wire.model import DEFAULT_MODELS, find_model

TOOL = {
    "type": "function",
    "function": {"name": "t", "description": "", "parameters": {"type": "object"}},
}
_CLAUDE = ChatAnthropic(model="claude-sonnet-4-5", api_key="test", max_tokens=100)  # type: ignore[call-arg]  # aliases
_GPT = ChatOpenAI(model="gpt-5.1", api_key="test")  # type: ignore[arg-type]  # a plain string will do


def words(text: str) -> int:
    """One word = one token."""
    return len(text.split())


def step(number: int, results: int = 1, size: int = 10) -> list[BaseMessage]:
    """A call for `results` tools and what they said."""
    calls = [{"name": "t", "args": {"n": at}, "id": f"c{number}_{at}"} for at in range(results)]
    said = [
        ToolMessage(f"result {number} " + "word " * size, tool_call_id=str(call["id"]))
        for call in calls
    ]
    return [AIMessage("", tool_calls=calls), *said]


def transcript(steps: Sequence[int], size: int = 10) -> list[BaseMessage]:
    """A request and a step for each entry, which is its number of parallel calls."""
    messages: list[BaseMessage] = [SystemMessage("be brief"), HumanMessage("do it")]
    for number, results in enumerate(steps):
        messages += step(number, results, size)
    return messages


def edited(messages: Sequence[BaseMessage], edits: int, seed: int) -> list[BaseMessage]:
    """`messages` after `edits` random ones: dropped, doubled, moved, merged, emptied, broken."""
    chance = random.Random(seed)
    result = list(messages)
    for _ in range(edits):
        if len(result) < 2:
            result += step(chance.randrange(10**6), chance.randint(1, 3))
        _edit(result, chance)
    return result


def _edit(messages: list[BaseMessage], chance: random.Random) -> None:
    at = chance.randrange(len(messages))
    other = chance.randrange(len(messages))
    message = messages[at]
    match chance.randrange(11):
        case 0:
            del messages[at]
        case 1:
            messages.insert(other, message)
        case 2:
            messages.insert(other, messages.pop(at))
        case 3:
            messages[at] = message.model_copy(update={"content": chance.choice(["", " \n", []])})
        case 4:
            messages[at:at] = step(chance.randrange(10**6), chance.randint(1, 4))
        case 5:  # two steps at once, their results interleaved
            one, two = step(chance.randrange(10**6), 2), step(chance.randrange(10**6), 2)
            messages[at:at] = [one[0], two[0], one[1], two[1], two[2], one[2]]
        case 6:
            blocks = [{"type": "text", "text": chance.choice(["", "block"])}]
            messages[at] = message.model_copy(update={"content": blocks})
        case 7 if isinstance(message, AIMessage):
            broken = {"name": "t", "args": "{", "id": f"b{other}", "error": None}
            messages[at] = message.model_copy(update={"invalid_tool_calls": [broken]})
            messages.insert(at + 1, ToolMessage("not JSON", tool_call_id=f"b{other}"))
        case 8 if isinstance(message, AIMessage):  # merged with another answer
            second = messages[other]
            if isinstance(second, AIMessage):
                calls = [*message.tool_calls, *second.tool_calls]
                messages[at] = message.model_copy(update={"tool_calls": calls})
        case 9 if isinstance(message, AIMessage):  # as Anthropic's class gives calls
            uses = [
                {"type": "tool_use", "id": call["id"], "name": "t", "input": {}}
                for call in message.tool_calls
            ]
            messages[at] = message.model_copy(update={"content": uses})
        case _:
            messages.insert(at, chance.choice([HumanMessage("more"), SystemMessage("note")]))


def assert_taken(messages: Sequence[BaseMessage], breakpoints: Sequence[Breakpoint] = ()) -> None:
    """Both providers take `messages`: neither their clients nor their own rules refuse."""
    claude = find_model(DEFAULT_MODELS, "anthropic", "claude-sonnet-4-5")
    gpt = find_model(DEFAULT_MODELS, "openai", "gpt-5.1")
    assert claude is not None
    assert gpt is not None
    for each in (messages, marked(messages, breakpoints)):
        payload = _CLAUDE.bind_tools([TOOL])._get_request_payload(list(each), tools=_claude_tools())  # type: ignore[attr-defined]  # the binding passes it on
        body = {key: value for key, value in payload.items() if value is not None}
        read_request(cast("Any", body), claude, "/v1/messages")
    payload = _GPT._get_request_payload(list(messages), tools=[TOOL])
    ChatCompletions().read(payload, gpt)


def _claude_tools() -> list[dict[str, Any]]:
    return [{"name": "t", "description": "", "input_schema": {"type": "object"}}]
