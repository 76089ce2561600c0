"""Arguments: repaired where only one thing can be meant, else refused with what to correct."""

from enum import Enum
from typing import Any, Literal

import pytest
from langchain_core.messages import ToolCall
from pydantic import BaseModel, field_validator

from agentkit.tools import ToolCatalogue, ToolSpec, run_calls
from agentkit.tools.arguments import ArgumentCheck, parse_arguments


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


class Point(BaseModel):
    x: int
    y: int = 0


def full(
    count: int,
    name: str = "",
    ratio: float = 0.5,
    deep: bool = False,
    tags: list[str] = [],  # noqa: B006  pydantic copies it
    numbers: list[int] = [],  # noqa: B006
    point: Point | None = None,
    unit: Unit = Unit.C,
    mode: Literal["Fast", "slow"] = "slow",
    either: int | str = 0,
) -> None:
    """Everything."""


CHECK = ToolSpec.of(full).arguments


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"count": "4"}, {"count": 4}),
        ({"count": " -4 "}, {"count": -4}),
        ({"ratio": "0.25"}, {"ratio": 0.25}),
        ({"deep": "true"}, {"deep": True}),
        ({"deep": "False"}, {"deep": False}),
        ({"name": 12345}, {"name": "12345"}),
        ({"tags": "red"}, {"tags": ["red"]}),
        ({"tags": '["a", "b"]'}, {"tags": ["a", "b"]}),
        ({"numbers": "7"}, {"numbers": [7]}),
        ({"numbers": ["1", 2]}, {"numbers": [1, 2]}),
        ({"point": '{"x": "1"}'}, {"point": {"x": 1}}),
        ({"point": {"x": "3"}}, {"point": {"x": 3}}),
        ({"unit": "Celsius"}, {"unit": "celsius"}),
        ({"mode": "fast"}, {"mode": "Fast"}),
        ({"either": "4"}, {"either": "4"}),
    ],
)
def test_what_can_only_mean_one_thing_is_repaired(
    sent: dict[str, Any], meant: dict[str, Any]
) -> None:
    checked = CHECK.check({"count": 1, **sent})
    assert checked.problems == ()
    assert checked.arguments == {"count": 1, **meant}


def test_null_for_an_optional_argument_is_left_out() -> None:
    assert CHECK.check({"count": 1, "name": None}).arguments == {"count": 1}


def test_null_where_it_is_allowed_stays() -> None:
    assert CHECK.check({"count": 1, "point": None}).arguments == {"count": 1, "point": None}


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({}, "missing: 'count'"),
        ({"count": None}, "'count' must be integer, not null"),
        ({"count": "four"}, "'count' must be integer, not \"four\""),
        ({"count": 1.5}, "'count' must be integer, not 1.5"),
        ({"count": True}, "'count' must be integer, not true"),
        ({"count": 1, "deep": "yes"}, "'deep' must be boolean, not \"yes\""),
        ({"count": 1, "mode": "warp"}, '\'mode\' must be one of "Fast", "slow"'),
        ({"count": 1, "point": {"y": 1}}, "'point'"),
        ({"count": 1, "cuont": 2}, "unknown argument 'cuont' (did you mean 'count'?)"),
    ],
)
def test_what_is_unclear_is_told(sent: dict[str, Any], problem: str) -> None:
    problems = CHECK.check(sent).problems
    assert len(problems) == 1
    assert problem in problems[0]


def test_the_arguments_given_are_not_changed() -> None:
    sent = {"count": "4", "numbers": ["1"]}
    CHECK.check(sent)
    assert sent == {"count": "4", "numbers": ["1"]}


def test_many_problems_stay_short() -> None:
    problems = CHECK.check({"count": 1, **{f"x{i}": "y" * 10_000 for i in range(500)}}).problems
    assert problems[-1] == "and 495 more"
    assert len("; ".join(problems)) < 2000


def test_a_reference_is_never_fetched() -> None:
    check = ArgumentCheck(
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}},
        closed=False,
    )
    assert "cannot be checked" in check.check({"a": 1}).problems[0]


def test_an_endless_schema_is_told() -> None:
    check = ArgumentCheck(
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, closed=False
    )
    assert "cannot be checked" in check.check({"a": 1}).problems[0]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ("", {}),
        (None, {}),
    ],
)
def test_arguments_are_read(sent: object, read: object) -> None:
    assert parse_arguments(sent) == read


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ('{"a": ', "not valid JSON: Expecting value at character 6 of 6"),
        ("[1]", "the arguments are an array; send one JSON object"),
        ([1], "the arguments are an array; send one JSON object"),
        ("[" * 200_000, "cannot be read (RecursionError)"),
    ],
)
def test_arguments_that_cannot_be_read_are_told(sent: object, message: str) -> None:
    read = parse_arguments(sent)
    assert isinstance(read, str)
    assert message in read


def test_a_validator_of_the_tools_own_model_is_told_without_the_value() -> None:
    class Order(BaseModel):
        number: str

        @field_validator("number")
        @classmethod
        def _starts_with_w(cls, value: str) -> str:
            if not value.startswith("W"):
                raise ValueError("must start with W")
            return value

    def find(number: str) -> str:
        """Find."""
        return number

    from langchain_core.tools import StructuredTool

    tools = ToolCatalogue(
        [StructuredTool.from_function(find, description="Find.", args_schema=Order)]
    )
    call = ToolCall(name="find", args={"number": "s3cret"}, id="1", type="tool_call")
    (found,) = run_calls([call], tools)
    assert found.status == "invalid"
    assert "'number' Value error, must start with W" in found.content
    assert "s3cret" not in found.content
