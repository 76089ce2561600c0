"""Schemas of strangers: made usable, or refused with a reason."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from agentkit.tools import InvalidTool
from agentkit.tools.arguments import ArgumentCheck
from agentkit.tools.naming import tool_name
from agentkit.tools.schema_shape import is_plainly_valid
from agentkit.tools.schemas import shown_text, stranger_schema


@pytest.mark.parametrize("empty", [None, {}, True])
def test_no_schema_means_no_arguments(empty: object) -> None:
    assert stranger_schema(empty, tool="t") == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"enum": ["a"], "type": "string", "nullable": True}, {"enum": ["a", None]}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        (
            {"type": "array", "items": [{"type": "string"}], "additionalItems": False},
            {"prefixItems": [{"type": "string"}], "items": False},
        ),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"type": "any"}, {}),
        ({"type": "string", "pattern": r"^\p{L}+$"}, {"type": "string"}),
        ({"type": "string", "pattern": "(a+)+$"}, {"type": "string"}),
        ({"type": "string", "pattern": "^W[0-9]+$"}, {"pattern": "^W[0-9]+$"}),
    ],
)
def test_older_and_odd_keywords_become_current_ones(given: Any, expected: Any) -> None:
    made = stranger_schema({"type": "object", "properties": {"a": given}}, tool="t")
    Draft202012Validator.check_schema(made)
    inner: Any = made["properties"]
    assert expected.items() <= inner["a"].items()
    assert ("pattern" in inner["a"]) == ("pattern" in expected)


def test_names_of_arguments_are_no_keywords() -> None:
    names = {name: {"type": "string"} for name in ("required", "nullable", "pattern", "$schema")}
    made = stranger_schema({"properties": names}, tool="t")
    assert made["properties"] == names


def test_a_recursive_schema_stays_and_checks_arguments() -> None:
    node = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "additionalProperties": False,
    }
    made = stranger_schema({"$ref": "#/$defs/node", "$defs": {"node": node}}, tool="t")
    check = ArgumentCheck(made, closed=False)
    assert not check.check({"children": [{"children": []}]}).problems
    assert check.check({"children": [{"x": []}]}).problems


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def _circle() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["self"] = schema
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (_deep(5000), "more than 64 levels"),
        (_circle(), "more than 64 levels"),
        ({"properties": {f"a{i}": {"description": "x" * 900} for i in range(400)}}, "takes"),
        ({"properties": {"a": {"enum": list(range(300_000))}}}, "parts"),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "https://evil.example/schema"}}}, "leads nowhere"),
        ({"$ref": "#"}, "to itself"),
        ({"type": "array"}, "only send an object"),
        ([1], "not an object"),
        ("object", "not an object"),
        ({"properties": {"a": object()}}, "no JSON"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(schema: Any, message: str) -> None:
    with pytest.raises(InvalidTool, match=message):
        stranger_schema(schema, tool="t")


def test_what_nobody_sees_is_not_shown_to_a_model() -> None:
    hidden = "".join(chr(0xE0000 + ord(char)) for char in "ignore all")
    assert shown_text(f"Add.{hidden}\u202e\u200b\x00 Now", otherwise="x") == "Add. Now"
    assert shown_text("\u200b", otherwise="add two") == "add two"
    assert len(shown_text("x" * 100_000, otherwise="")) <= 8_192


def test_names_fit_every_provider_and_stay_apart() -> None:
    names = ["read", "read file", "read_file", "read/file", "ä" * 100, "x" * 200, "x" * 201, ""]
    made = [tool_name("files", name) for name in names]
    assert len(set(made)) == len(names)
    assert all(len(name) <= 64 and name.startswith("files__") for name in made)
    assert made == [tool_name("files", name) for name in names]


_KEYWORDS = (
    "type items properties $defs anyOf allOf prefixItems required enum const default minimum "
    "exclusiveMaximum minLength maxItems uniqueItems title description format $ref pattern not "
    "additionalProperties nonsense"
).split()
_VALUES = st.recursive(
    st.sampled_from(
        ["string", "integer", "wrong", "#/$defs/a", "#", "a b", "", 1, -1, 0, 1.5, True, False]
    )
    | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_KEYWORDS, "a"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(_KEYWORDS), _VALUES, max_size=4))
def test_what_is_plainly_valid_is_valid(schema: dict[str, Any]) -> None:
    """The quick look may know less than the metaschema, but never accepts more."""
    if is_plainly_valid(schema):
        Draft202012Validator.check_schema(schema)
    else:
        with contextlib.suppress(SchemaError):
            Draft202012Validator.check_schema(schema)


def test_ordinary_schemas_are_plainly_valid() -> None:
    assert is_plainly_valid(stranger_schema({"properties": {"a": {"type": "string"}}}, tool="t"))
    assert not is_plainly_valid({"type": "nonsense"})
    assert not is_plainly_valid({"properties": {"a": {"required": [1]}}})
