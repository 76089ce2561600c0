"""The catalogue: what may be a tool, what a model is told of it."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.tools import InjectedToolArg, StructuredTool, tool
from pydantic import BaseModel

from agentkit.tools import DuplicateTool, InvalidTool, ToolCatalogue, ToolError, ToolSpec


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: the first
        b: the second
    """
    return a + b


async def look(city: str) -> str:
    """Look at the weather."""
    return city


@tool
def ready(x: int) -> int:
    """A LangChain tool."""
    return x


def test_order_is_the_order_given() -> None:
    assert ToolCatalogue([ready, look, add]).names == ("ready", "look", "add")


def test_functions_and_langchain_tools_stand_side_by_side() -> None:
    catalogue = ToolCatalogue([add, look, ready])
    assert len(catalogue) == 3
    assert [spec.name for spec in catalogue] == ["add", "look", "ready"]
    assert "look" in catalogue
    assert catalogue.get("nobody") is None


def test_a_catalogue_takes_another() -> None:
    first = ToolCatalogue([add])
    assert [*ToolCatalogue(first)] == [*first]


def test_descriptions_of_arguments_come_from_the_docstring() -> None:
    spec = ToolSpec.of(add)
    assert spec.description == "Add two numbers."
    assert spec.schema["properties"]["a"]["description"] == "the first"  # type: ignore[index]
    assert spec.schema["required"] == ["a"]


def test_a_docstring_that_is_out_of_date_does_not_matter() -> None:
    def stale(a: int) -> None:
        """Do it.

        Args:
            gone: no longer there
        """

    assert ToolSpec.of(stale).description.startswith("Do it.")


def test_openai_schemas_are_made_once() -> None:
    catalogue = ToolCatalogue([add])
    (schema,) = catalogue.openai_schemas()
    assert schema["type"] == "function"
    assert schema["function"]["name"] == "add"  # type: ignore[index]
    assert catalogue.openai_schemas()[0] is schema


def test_a_spec_says_what_a_function_cannot() -> None:
    spec = ToolSpec.of(
        add,
        name="sum",
        description="Sum.",
        side_effect="spend",
        timeout_seconds=2.5,
        max_result_bytes=100,
        return_direct=True,
    )
    assert (spec.name, spec.tool.name, spec.description) == ("sum", "sum", "Sum.")
    assert (spec.side_effect, spec.timeout_seconds, spec.max_result_bytes) == ("spend", 2.5, 100)
    assert spec.openai_schema["function"]["name"] == "sum"  # type: ignore[index]
    assert ToolSpec.of(spec).return_direct


def test_a_tool_renamed_leaves_the_first_alone() -> None:
    assert ToolSpec.of(ready, name="other").name == "other"
    assert ready.name == "ready"


def test_a_partial_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidTool, match="wrap it in a function"):
        ToolSpec.of(functools.partial(add, b=2), name="add_two", description="Add two.")


def test_methods_are_tools() -> None:
    class Shop:
        def price(self, item: str) -> str:
            """The price of an item."""
            return item

    assert list(ToolSpec.of(Shop().price).schema["properties"]) == ["item"]  # type: ignore[call-overload]


def test_injected_arguments_stay_out_of_the_schema() -> None:
    def mine(item: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Mine."""
        return item + user

    spec = ToolSpec.of(mine)
    assert list(spec.schema["properties"]) == ["item"]  # type: ignore[call-overload]
    assert "user" not in str(spec.openai_schema)
    assert spec.injected.names == {"user"}


def test_injected_arguments_of_a_tool_with_its_own_schema_are_known() -> None:
    def mine(item: str, user: Annotated[str, InjectedToolArg]) -> str:
        return item + user

    schema = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
    spec = ToolSpec.of(
        StructuredTool.from_function(mine, name="mine", description="Mine.", args_schema=schema)
    )
    assert spec.injected.names == {"user"}


def test_duplicate_names_are_refused_naming_both() -> None:
    with pytest.raises(DuplicateTool, match=r"add.*test_catalogue\.look") as caught:
        ToolCatalogue([add, ToolSpec.of(look, name="add")])
    assert caught.value.first.endswith(".add")
    assert isinstance(caught.value, ToolError)


def _undocumented(a: int) -> int:
    return a


def _unknown_type(a: "NoSuchType") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Unknown."""


class _Model(BaseModel):
    a: int


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_undocumented, r"'_undocumented' has no description.*docstring"),
        (lambda a: a, r"'<lambda>'.*is no name for a tool.*name="),
        (_unknown_type, r"no schema can be made.*NoSuchType"),
        (_Model, "'_Model' has no description.*docstring"),
        (dict, "is not a tool: give a function"),
        ("add", "is not a tool: give a function"),
        (functools.partial(add, b=2), "is no name for a tool"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InvalidTool, match=message):
        ToolCatalogue([source])


@pytest.mark.parametrize("name", ["", "a b", "naïve", "x" * 65, "a\n"])
def test_names_that_providers_refuse_are_refused(name: str) -> None:
    with pytest.raises(InvalidTool, match="is no name for a tool"):
        ToolSpec.of(add, name=name)


def test_an_empty_description_is_refused() -> None:
    silent = StructuredTool.from_function(add, name="silent", description="")
    with pytest.raises(InvalidTool, match="empty description"):
        ToolCatalogue([silent])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"type": "nonsense"}}}, "is invalid at"),
        ({"type": "array", "items": {}}, "only send an object"),
    ],
)
def test_an_invalid_schema_is_refused(schema: dict[str, Any], message: str) -> None:
    def call(**arguments: object) -> None: ...

    remote = StructuredTool.from_function(
        call, name="remote", description="Remote.", args_schema=schema
    )
    with pytest.raises(InvalidTool, match=message):
        ToolCatalogue([remote])


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_makes_no_sense_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidTool, match="timeout_seconds is"):
        ToolSpec.of(add, timeout_seconds=seconds)


def test_an_object_whose_call_is_async_is_awaited() -> None:
    class Caller:
        """Call."""

        async def __call__(self, a: int) -> int:
            return a

    caller: Callable[..., object] = Caller()
    made = ToolSpec.of(caller, name="caller", description="Call.").tool
    assert isinstance(made, StructuredTool)
    assert made.coroutine is not None
