"""Grammars from schemas: whatever a model with random weights writes under one is a valid call."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from agentkit.models.local import LocalChatModel
from agentkit.models.local.dialect import OfferedTool
from agentkit.models.local.grammar import CallGrammar, literal
from tests.gguf_factory import random_model

CLOSED = {
    "none": {"type": "object", "properties": {}, "additionalProperties": False},
    "required": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", 'q"uo\\te', "é\n", 3, None]}},
        "required": ["a", "b"],
    },
    "optional": {
        "type": "object",
        "properties": {
            "a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"const": "c"}, "d": {"enum": [1]}
        },
        "required": ["c"],
    },
    "nested": {
        "type": "object",
        "properties": {
            "where": {
                "type": "object",
                "properties": {"lat": {"type": "integer"}, "lon": {"type": "integer"}},
                "required": ["lat", "lon"],
            }
        },
        "required": ["where"],
    },
    "array": {
        "type": "object",
        "properties": {
            "two": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 3},
            "no": {"type": "array", "items": {"type": "boolean"}, "maxItems": 0},
        },
        "required": ["two", "no"],
    },
    "union": {
        "type": "object",
        "properties": {
            "either": {"anyOf": [{"type": "boolean"}, {"enum": ["auto"]}]},
            "maybe": {"type": ["boolean", "null"]},
        },
        "required": ["either", "maybe"],
    },
    "reference": {
        "type": "object",
        "$defs": {"unit": {"enum": ["C", "F"]}, "pair": {"type": "object", "properties": {
            "u": {"$ref": "#/$defs/unit"}}, "required": ["u"]}},
        "properties": {"p": {"$ref": "#/$defs/pair"}},
        "required": ["p"],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalChatModel:
    path = random_model(tmp_path_factory.mktemp("grammar") / "random.gguf", context=8192)
    return LocalChatModel(model_path=str(path), max_tokens=400, temperature=1.0, sequences=2)


def tool(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


@pytest.mark.parametrize("name", CLOSED)
def test_random_calls_fit_the_schema(model: LocalChatModel, name: str) -> None:
    bound = model.bind_tools([tool("use", CLOSED[name])], tool_choice="use")
    for seed in range(6):
        message = bound.invoke("go", seed=seed)
        if message.response_metadata["finish_reason"] == "length":
            continue
        assert message.invalid_tool_calls == []
        for call in message.tool_calls:
            assert call["name"] == "use"
            jsonschema.validate(call["args"], CLOSED[name])


def test_random_text_under_an_open_schema_is_json(model: LocalChatModel) -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    bound = model.bind_tools([tool("use", schema)], tool_choice="any")
    found = [bound.invoke("go", seed=seed) for seed in range(6)]
    ended = [m for m in found if m.response_metadata["finish_reason"] == "tool_calls"]
    assert ended
    for message in ended:
        assert message.invalid_tool_calls == []
        jsonschema.validate(message.tool_calls[0]["args"], schema)


def test_only_offered_names_can_be_called(model: LocalChatModel) -> None:
    names = ["alpha", "beta.two", "gamma-3", "delta_4"]
    bound = model.bind_tools([tool(name, CLOSED["none"]) for name in names], tool_choice="any")
    called = {
        call["name"] for seed in range(6) for call in bound.invoke("go", seed=seed).tool_calls
    }
    assert called <= set(names)
    assert len(called) > 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?=x)"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": "file"}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"minLength": 2}]}}},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 10**9}}},
        {"type": "object", "properties": {'we"ird\\ \u2028 näme\x00': {"type": "string"}}},
        {"type": "object", "properties": {str(n): {"type": "null"} for n in range(65)}},
        {"type": "object", "properties": {"a": {"enum": ["x" * 2_001]}}},
        {"type": "object", "properties": {"a": True, "b": {}}},
        {"type": "object", "properties": None},
        {"type": "array"},
        {},
    ],
)
def test_schemas_that_are_not_understood_are_taken_wider(
    model: LocalChatModel, schema: dict[str, Any]
) -> None:
    message = model.bind_tools([tool("use", schema)], tool_choice="any").invoke("go", max_tokens=40)
    assert message.usage_metadata is not None


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {
        "type": "object",
        "$defs": {"node": {"type": "object", "properties": {
            "left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}}},
        "properties": {"root": {"$ref": "#/$defs/node"}},
    }  # fmt: skip
    offered = OfferedTool(name="use", schema=tree, spec={})
    source = CallGrammar([offered], arguments_key="arguments").source("call")
    assert len(source) < 400_000


@pytest.mark.parametrize(
    ("text", "written"),
    [("a", '"a"'), ('"', r'"\""'), ("\\n", r'"\\n"'), ("\n", r'"\x0A"'), ("\u2028", r'"\u2028"')],
)
def test_literals_are_escaped(text: str, written: str) -> None:
    assert literal(text) == written
