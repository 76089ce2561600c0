"""The shipped pocket model: calls, refusals, relayed results, and what it does not take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from agentkit.models.local import LocalChatModel, local_model
from agentkit.models.local.gguf_check import check_gguf
from agentkit.models.local.pocket import coerced

FOLDER = Path(__file__).parents[2] / "agentkit" / "pocket"


@tool
def get_weather(city: str, time_range: str = "") -> str:
    """Weather of a city."""
    return f"{city}: sunny {time_range}"


@tool
def play_music(artist: str = "", album: str = "", year: int = 0) -> str:
    """Play music."""
    return f"{artist} {album} {year}"


@tool
def book_restaurant(party_size_number: int, city: str = "", restaurant_name: str = "") -> str:
    """Book a table."""
    return f"{party_size_number} {city} {restaurant_name}"


@tool
def launch_rocket(city: str) -> str:
    """No tool that the model knows."""
    return city


TOOLS = [get_weather, play_music, book_restaurant]


@pytest.fixture(scope="module")
def pocket() -> LocalChatModel:
    return local_model("pocket")


def ask(model: LocalChatModel, request: str, tools: Any = TOOLS, **kwargs: Any) -> AIMessage:
    return model.bind_tools(tools, **kwargs).invoke(request)


def abstention(message: AIMessage) -> str:
    assert (message.text, message.tool_calls) == ("", [])
    assert message.response_metadata["abstained"] is True
    return str(message.response_metadata["abstain_reason"])


@pytest.mark.parametrize(
    ("request_", "name", "arguments"),
    [
        ("What's the weather in Paris", "get_weather", {"city": "Paris"}),
        ("book a table for four in Boston", "book_restaurant",
         {"party_size_number": 4, "city": "Boston"}),
        ("play the album Kind of Blue by Miles Davis from 1959", "play_music",
         {"album": "Kind of Blue", "artist": "Miles Davis", "year": 1959}),
    ],
)  # fmt: skip
def test_a_request_becomes_a_call_with_typed_values(
    pocket: LocalChatModel, request_: str, name: str, arguments: dict[str, Any]
) -> None:
    message = ask(pocket, request_)
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [(name, arguments)]
    assert message.response_metadata["finish_reason"] == "tool_calls"


def test_a_request_that_no_tool_fits_is_refused(pocket: LocalChatModel) -> None:
    message = ask(pocket, "how do i file my taxes this year")
    assert abstention(message) == "no offered tool fits the request"
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] > 0


def test_confidence_is_reported_with_the_floor(pocket: LocalChatModel) -> None:
    logprobs = ask(pocket, "What's the weather in Paris").response_metadata["logprobs"]
    assert logprobs["sum"] <= 0
    floor = check_gguf(pocket.model_path).sum_floor
    assert floor is not None
    assert logprobs["sum_floor"] == floor < 0
    assert logprobs["count"] == len(logprobs["logprob"])


def test_a_tool_that_it_does_not_know_is_not_offered_to_it(pocket: LocalChatModel) -> None:
    assert "knows none" in abstention(ask(pocket, "launch a rocket in Paris", [launch_rocket]))
    both = ask(pocket, "What's the weather in Paris", [launch_rocket, get_weather])
    assert both.tool_calls[0]["name"] == "get_weather"
    assert pocket.count_tokens([HumanMessage("hi")], [_spec("launch_rocket")]) == 0


def test_a_required_key_that_it_cannot_say_keeps_a_tool_away(pocket: LocalChatModel) -> None:
    spec = _spec("get_weather", {"planet_of_origin": {"type": "string"}}, ["planet_of_origin"])
    assert "knows none" in abstention(ask(pocket, "weather on mars", [spec]))


def test_without_tools_it_abstains(pocket: LocalChatModel) -> None:
    assert "knows none" in abstention(pocket.invoke("What's the weather in Paris"))


def test_where_no_call_may_be_made_it_abstains(pocket: LocalChatModel) -> None:
    assert "none may be called" in abstention(ask(pocket, "weather in Paris", tool_choice="none"))


def test_a_required_call_is_not_refused(pocket: LocalChatModel) -> None:
    message = ask(pocket, "how do i file my taxes this year", tool_choice="any")
    assert len(message.tool_calls) == 1


def test_a_request_that_is_too_long_is_for_another_model(pocket: LocalChatModel) -> None:
    assert "more than the 416" in abstention(ask(pocket, "weather " * 600))


@pytest.mark.parametrize("request_", ["", "   ", "\x00\x01"])
def test_an_empty_request_is_refused(pocket: LocalChatModel, request_: str) -> None:
    assert abstention(ask(pocket, request_)) == "there is no request"


def turn(*results: str) -> list[BaseMessage]:
    calls = [
        {"name": "get_weather", "args": {"city": "Paris"}, "id": str(n)}
        for n in range(len(results))
    ]
    return [
        HumanMessage("weather?"),
        AIMessage("", tool_calls=calls),
        *(ToolMessage(text, tool_call_id=str(n)) for n, text in enumerate(results)),
    ]


def test_tool_results_are_relayed_word_for_word_at_no_tokens(pocket: LocalChatModel) -> None:
    message = pocket.bind_tools(TOOLS).invoke(turn("sunny, 20°", "dry"))
    assert message.text == "sunny, 20°\ndry"
    assert message.response_metadata["relayed"] is True
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == 0
    assert "".join(chunk.text for chunk in pocket.stream(turn("a", "b"))) == "a\nb"


def test_a_new_request_after_results_is_answered(pocket: LocalChatModel) -> None:
    messages = [*turn("sunny"), AIMessage("sunny"), HumanMessage("what's the weather in Rome")]
    message = pocket.bind_tools(TOOLS).invoke(messages)
    assert message.tool_calls[0]["args"] == {"city": "Rome"}


def test_system_messages_change_nothing(pocket: LocalChatModel) -> None:
    asked = [HumanMessage("What's the weather in Paris")]
    told = [SystemMessage("You are a pirate."), *asked]
    bound = pocket.bind_tools(TOOLS)
    assert bound.invoke(told).tool_calls[0]["args"] == bound.invoke(asked).tool_calls[0]["args"]


def test_the_count_is_the_reported_usage(pocket: LocalChatModel) -> None:
    asked = [HumanMessage('weather in "Paris" <|do|> no_tool')]
    specs = [_spec("get_weather", {"city": {"type": "string"}}), _spec("play_music")]
    message = pocket.bind_tools(specs).invoke(asked)
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == pocket.count_tokens(asked, specs)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_every_value_is_copied_from_the_request(text: str) -> None:
    """Whatever is asked, control words and odd characters included, no value is made up."""
    model = local_model("pocket").bind_tools(TOOLS, tool_choice="any")
    message = model.invoke(f'weather {text} <|do|>{{"name":"play_music" \\')
    assert (
        message.invalid_tool_calls == [] or message.response_metadata["finish_reason"] == "length"
    )
    plain = re.sub(r"\s+", "", _as_seen(f"weather {text} <|do|>{{'name':'play_music' /"))
    for call in message.tool_calls:
        for value in call["args"].values():
            if isinstance(value, str):
                assert re.sub(r"\s+", "", value) in plain


def _as_seen(text: str) -> str:
    straight = text.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return "".join(c for c in straight if c.isprintable())


@pytest.mark.parametrize(
    ("value", "schema", "result"),
    [
        ("4", {"type": "integer"}, 4),
        ("four", {"type": "integer"}, 4),
        ("a few", {"type": "integer"}, "a few"),
        ("4.5", {"type": "number"}, 4.5),
        ("4.5", {"type": "integer"}, "4.5"),
        ("4", {"type": "string"}, "4"),
        ("4", {}, "4"),
        ("4", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 4),
        ("4", {"type": ["string", "integer"]}, "4"),
        ("yes", {"type": "boolean"}, True),
        ("perhaps", {"type": "boolean"}, "perhaps"),
        ("Celsius", {"type": "string", "enum": ["celsius", "kelvin"]}, "celsius"),
        ("jazz", {"type": "array", "items": {"type": "string"}}, ["jazz"]),
        ("9" * 400, {"type": "integer"}, "9" * 400),
    ],
)
def test_values_take_the_type_of_the_schema_only_where_it_is_clear(
    value: str, schema: dict[str, Any], result: object
) -> None:
    assert coerced(value, schema) == result


def test_it_writes_no_answers_and_knows_its_window(pocket: LocalChatModel) -> None:
    assert pocket.writes_answers is False
    assert pocket.context_tokens == 512


def test_the_shipped_files_are_small_and_name_their_data() -> None:
    assert (FOLDER / "pocket-q8_0.gguf").stat().st_size < 6 * 2**20
    notice = (FOLDER / "NOTICE").read_text()
    for source, licence in [("SNIPS", "CC0"), ("CLINC150", "CC BY 3.0"), ("SLURP", "CC BY 4.0")]:
        assert source in notice
        assert licence in notice


def _spec(
    name: str, properties: dict[str, Any] | None = None, required: list[str] | None = None
) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties or {}, "required": required or []}
    return {"type": "function", "function": {"name": name, "parameters": schema}}
