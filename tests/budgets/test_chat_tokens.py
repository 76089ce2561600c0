"""Requests are counted by OpenAI's published rule, and from above where it is silent."""

from __future__ import annotations

import time

from agentkit.budgets import chat_tokens
from agentkit.budgets.chat_tokens import count_chat
from agentkit.budgets.tokens import count_text

MODEL = "gpt-5-mini"


def test_an_empty_request_is_the_reply_alone() -> None:
    assert count_chat([], model=MODEL) == 3


def test_a_message_costs_three_and_its_role_and_content() -> None:
    message = {"role": "user", "content": "hello world"}
    assert count_chat([message], model=MODEL) == 3 + 3 + count_text("user") + 2


def test_a_name_costs_one_and_itself() -> None:
    bare = {"role": "user", "content": "hi"}
    named = bare | {"name": "ada"}
    assert count_chat([named], model=MODEL) == count_chat([bare], model=MODEL) + 1 + count_text(
        "ada"
    )


def test_a_published_example_counts_as_published() -> None:
    """The cookbook's example request; its count for gpt-4 and gpt-3.5-turbo is 129 tokens."""
    system = (
        "You are a helpful, pattern-following assistant that translates corporate jargon into "
        "plain English."
    )
    user, assistant = (
        {"role": "system", "name": "example_user"},
        {
            "role": "system",
            "name": "example_assistant",
        },
    )
    messages = [
        {"role": "system", "content": system},
        user | {"content": "New synergies will help drive top-line growth."},
        assistant | {"content": "Things working well together will increase revenue."},
        user
        | {
            "content": "Let's circle back when we have more bandwidth to touch base on "
            "opportunities for increased leverage."
        },
        assistant | {"content": "Let's talk later when we're less busy about how to do better."},
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the client "
            "deliverable.",
        },
    ]
    assert count_chat(messages, model="gpt-4") == 129


def test_tools_follow_the_published_rule() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city."},
            "unit": {"type": "string", "description": "Unit", "enum": ["celsius", "kelvin"]},
        },
        "required": ["city"],
    }
    function = {"name": "weather", "description": "Today's weather.", "parameters": schema}
    lines = ["weather:Today's weather", "city:string:The city", "unit:string:Unit"]
    words = sum(map(count_text, [*lines, "celsius", "kelvin"]))
    wrapping = 7 + 3 + 3 + 3 - 3 + 3 + 3 + 12
    tool = {"type": "function", "function": function}
    assert count_chat([], [tool], model="gpt-4o") == 3 + wrapping + words


def test_a_nested_schema_counts_all_of_its_words() -> None:
    inner = {"type": "object", "properties": {"street": {"type": "string"}}}
    schema = {"type": "object", "properties": {"address": inner}}
    tool = {"type": "function", "function": {"name": "move", "parameters": schema}}
    flat = {"type": "object", "properties": {"address": {"type": "object"}}}
    flat_tool = {"type": "function", "function": {"name": "move", "parameters": flat}}
    assert count_chat([], [tool], model=MODEL) > count_chat([], [flat_tool], model=MODEL) + 3


def test_images_count_at_their_dearest() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
    message = {"role": "user", "content": [part]}
    assert count_chat([message], model=MODEL) == 6 + count_text("user") + chat_tokens.IMAGE_TOKENS
    assert count_chat([message], model="gpt-4o-mini") > 48_000


def test_calls_and_unknown_shapes_are_counted_as_their_json() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "refusal": {"x": 1}}
    assert count_chat([message], model=MODEL) > 6 + 12 + count_text('{"a": 1}')


def test_a_growing_transcript_is_not_recounted() -> None:
    """As measured for the rule: 60 turns counted at every step were 2.46 s without a memo."""
    text = "what the tool answered, at some length and with 17 figures in it " * 40
    transcript = [{"role": "user", "content": f"{turn} {text}"} for turn in range(60)]
    count_chat(transcript, model=MODEL)
    began = time.perf_counter()
    for steps in range(1, 61):
        count_chat(transcript[:steps], model=MODEL)
    assert time.perf_counter() - began < 0.5
