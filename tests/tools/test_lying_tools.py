"""Tools that are not what they declare: the run goes on, and every failure is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from agentkit import Agent
from agentkit.tools import (
    ExecutionLimits,
    Observation,
    ToolCatalogue,
    ToolSpec,
    arun_calls,
    run_calls,
)
from agentkit.tools.mcp import McpServers
from tests.scripted import ScriptedModel, call, in_turn
from tests.tools.test_mcp import _stdio

Lie = tuple[str, Callable[..., object], str]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


def _takes_another(town: str) -> str:
    return town


def _wants_more(city: str, key: str) -> str:
    return city + key


def _wants_a_list(city: Any, days: Any = 1) -> str:
    return ", ".join(each.upper() for each in city["names"])


def _counts_on_text(city: str, days: Any = 1) -> str:
    return city + days


def _gives_bytes(city: str, days: int = 1) -> Any:
    return b"\x00\xff" * 5


def _gives_nothing(city: str, days: int = 1) -> Any:
    return None


def _gives_an_object(city: str, days: int = 1) -> Any:
    return {"city": city, "days": object()}


def _gives_no_pair(city: str, days: int = 1) -> Any:
    return "no artifact"


LIES: list[Lie] = [
    ("takes another argument", _takes_another, "error"),
    ("wants an argument more", _wants_more, "error"),
    ("wants a list where text is declared", _wants_a_list, "error"),
    ("counts on text where a number is declared", _counts_on_text, "error"),
    ("gives bytes", _gives_bytes, "ok"),
    ("gives nothing", _gives_nothing, "ok"),
    ("gives what is no JSON", _gives_an_object, "ok"),
    ("gives no pair where one is declared", _gives_no_pair, "error"),
]


def lying(number: int) -> ToolSpec:
    """One of the lies, under the schema of a weather report."""
    says, function, _ = LIES[number % len(LIES)]
    pair = "content_and_artifact" if function is _gives_no_pair else "content"
    return ToolSpec.of(
        StructuredTool(
            name=f"lie_{number}",
            description=f"A tool that {says}.",
            args_schema=CITY,
            func=function,
            response_format=pair,
        )
    )


def _arun(*args: Any) -> list[Observation]:
    return asyncio.run(arun_calls(*args))


@pytest.mark.parametrize("run", [run_calls, _arun], ids=["sync", "async"])
def test_two_hundred_lying_tools_do_not_stop_a_step(run: Callable[..., Any]) -> None:
    """What breaks says so; what gives something else is told as text, within its bound."""
    catalogue = ToolCatalogue([lying(number) for number in range(200)])
    calls = [call(f"lie_{n}", city="Oslo", days=2).tool_calls[0] for n in range(200)]
    found = run(calls, catalogue, ExecutionLimits(max_result_bytes=2_000))
    for number, observation in enumerate(found):
        says, _, expected = LIES[number % len(LIES)]
        assert observation.status == expected, (says, observation.content)
        assert 0 < len(observation.content.encode()) <= 4_096
        if expected == "error":
            assert "Error" in observation.content, (says, observation.content)


def test_the_model_is_told_and_the_story_says_so() -> None:
    """An agent goes on past each of them, and its journal tells which tools failed."""
    wants = [call(f"lie_{number}", city="Oslo", days=2) for number in range(len(LIES))]
    model = ScriptedModel(script=in_turn(*wants, "done"))
    tools = [lying(number) for number in range(len(LIES))]
    agent = Agent([model], tools, no_progress_after=None)
    result = agent.run("what is the weather?")
    assert (result.outcome, result.answer) == ("answered", "done")
    told = [m.status for m in model.seen[-1] if isinstance(m, ToolMessage)]
    expected = ["error" if status == "error" else "success" for _, _, status in LIES]
    assert told == expected
    story = agent.ledger.store.events(result.task_id)
    failed = [event.data["tool"] for event in story if event.kind == "observation"]
    assert failed == [f"lie_{n}" for n, (_, _, status) in enumerate(LIES) if status == "error"]


def test_a_server_whose_results_are_not_what_it_declares_is_told() -> None:
    """Its tool declares a number in its result, and gives a text."""
    with McpServers({"s": _stdio("--lying", "3", side_effect="read")}) as servers:
        catalogue = ToolCatalogue(servers)
        calls = [call(f"s__lie_{n}").tool_calls[0] for n in range(3)]
        found = run_calls(calls, catalogue, ExecutionLimits(timeout_seconds=20))
        assert [each.status for each in found] == ["error", "error", "error"]
        assert all("Invalid structured content" in each.content for each in found)
        honest = call("s__add", a=1, b=2).tool_calls[0]
        assert run_calls([honest], catalogue)[0].content == "3"
