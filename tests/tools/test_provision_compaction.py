"""Definitions in fewer tokens: what a correct call needs stays."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.provision import ToolCard, compact, compact_all
from agentkit.tools.provision.compaction import shared_prefix, wire_names

ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "orderArguments",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "order_id": {"type": "string", "title": "Order Id", "description": "The id of the order."},
        "day": {
            "type": "string",
            "description": "The day on which the customer wants the parcel, as 'YYYY-MM-DD'.",
        },
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "speed": {"$ref": "#/$defs/Speed"},
    },
    "required": ["order_id"],
    "$defs": {
        "Speed": {"enum": ["slow", "fast"], "title": "Speed", "type": "string"},
        "Unused": {"type": "integer"},
    },
}


def test_titles_defaults_and_repeated_words_go() -> None:
    properties = compact("ship_order", "Ships an order.", ORDER).schema["properties"]
    assert isinstance(properties, dict)
    assert properties["order_id"] == {"type": "string"}
    assert properties["note"] == {"type": "string"}


def test_the_form_of_a_value_stays() -> None:
    properties = compact("ship_order", "Ships an order.", ORDER).schema["properties"]
    assert isinstance(properties, dict)
    assert "YYYY-MM-DD" in properties["day"]["description"]


def test_used_definitions_stay_and_unused_go() -> None:
    schema = compact("ship_order", "Ships an order.", ORDER).schema
    assert schema["$defs"] == {"Speed": {"enum": ["slow", "fast"], "type": "string"}}


def test_an_argument_may_be_named_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "default": {}}}
    assert compact("t", "Does something", schema).schema["properties"] == schema["properties"]


@pytest.mark.parametrize(
    "call",
    [{"order_id": "7"}, {"order_id": "7", "speed": "fast"}, {"order_id": "7", "note": "hi"}],
)
def test_calls_that_fit_the_original_fit_the_compact_one(call: dict[str, str]) -> None:
    jsonschema.validate(call, ORDER)
    jsonschema.validate(call, compact("ship_order", "Ships an order.", ORDER).schema)


def test_what_was_required_stays_required() -> None:
    schema = compact("ship_order", "Ships an order.", ORDER).schema
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"speed": "fast"}, schema)


def test_equal_input_gives_equal_text_and_the_original_is_untouched() -> None:
    before = json.dumps(ORDER)
    first = compact("ship_order", "Ships an order.", json.loads(before))
    again = compact("ship_order", "Ships an order.", json.loads(before))
    assert json.dumps(first.openai_schema) == json.dumps(again.openai_schema)
    compact("ship_order", "Ships an order.", ORDER)
    assert json.dumps(ORDER) == before


def test_what_a_servers_tools_have_in_common_is_said_once() -> None:
    server = "This tool belongs to the file system of the server. Tool description: "
    cards = [
        ToolCard(name=name, description=server + text, schema={}, group="files")
        for name, text in (("cat", "Shows a file."), ("rm", "Deletes a file."))
    ]
    assert [tool.description for tool in compact_all(cards)] == ["Shows a file", "Deletes a file"]


def test_short_beginnings_in_common_stay() -> None:
    assert shared_prefix(["Get a file. Now.", "Get a file. Later."]) == ""


def test_names_that_no_provider_takes_are_changed_and_lead_back() -> None:
    cards = [ToolCard(name="math.add", description="Adds", schema={})]
    (tool,) = compact_all(cards)
    assert (tool.name, tool.original_name) == ("math_add", "math.add")


@given(st.lists(st.text(min_size=1, max_size=80), unique=True, max_size=8))
def test_no_two_names_share_a_wire_name(names: list[str]) -> None:
    wire = wire_names([*names, "a.b", "a_b", "a" * 70, "a" * 71])
    assert len(set(wire.values())) == len(wire)
    assert all(0 < len(name) <= 64 and name.replace("-", "_").isascii() for name in wire.values())


def test_a_deep_schema_ends() -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(200):
        schema = {"type": "object", "properties": {"inner": schema}}
    assert compact("deep", "Goes deep", schema).schema["type"] == "object"
