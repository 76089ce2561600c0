"""A tool's own limits on calls and bytes of a task, each of which lands it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from agentkit import Agent, Budget
from agentkit.tools import ToolSpec
from agentkit.tools.errors import InvalidTool
from tests.scripted import ScriptedModel, call

ran: list[str] = []


def look(query: str) -> str:
    """Look something up."""
    ran.append(query)
    return f"{query}: " + "x" * 100


def other(query: str) -> str:
    """Look elsewhere."""
    return query


def _script(messages: Any) -> AIMessage:
    if "budget of this task" in messages[0].text:
        return AIMessage("what I know")
    number = sum(isinstance(each, AIMessage) for each in messages)
    return call("look", query=str(number))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


def _agent(spec: ToolSpec, script: Any = _script, **options: Any) -> Agent:
    return Agent([ScriptedModel(script=script)], [spec, other], budget=Budget(calls=50), **options)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_called_too_often_lands_the_task(is_async: bool) -> None:
    agent = _agent(ToolSpec.of(look, max_calls=3))
    result = asyncio.run(agent.arun("go")) if is_async else agent.run("go")
    assert (result.outcome, result.answer) == ("landed", "what I know")
    assert result.reason == "tool 'look' was called 3 times, its limit for a task"
    assert ran == ["0", "1", "2"]
    assert result.calls == 5


def test_a_tool_that_says_too_much_lands_the_task() -> None:
    result = _agent(ToolSpec.of(look, max_bytes=350)).run("go")
    assert result.outcome == "landed"
    assert result.reason == "tool 'look' gave 412 bytes, over its limit of 350 for a task"
    assert len(ran) == 4


def test_calls_of_one_step_beyond_the_limit_are_answered_and_not_run() -> None:
    def script(messages: Any) -> AIMessage:
        if "budget of this task" in messages[0].text:
            return AIMessage("what I know")
        calls = [{"name": "look", "args": {"query": str(n)}, "id": f"c{n}"} for n in range(4)]
        calls.insert(1, {"name": "other", "args": {"query": "there"}, "id": "o"})
        return AIMessage("", tool_calls=calls)

    agent = _agent(ToolSpec.of(look, max_calls=2), script)
    state = agent.graph.invoke({"messages": [("user", "go")]})  # type: ignore[typeddict-item]  # LangGraph's own short form
    answers = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    assert [m.tool_call_id for m in answers] == ["c0", "o", "c1", "c2", "c3"]
    assert [m.status for m in answers] == ["success"] * 3 + ["error"] * 2
    assert answers[3].text == "not run: look may be called 2 times in a task"
    assert sorted(ran) == ["0", "1"]
    assert state["outcome"] == "landed"


def test_a_resumed_task_goes_on_counting_and_a_new_one_begins_anew(tmp_path: Path) -> None:
    files = {
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "checkpoint": f"sqlite:///{tmp_path / 'checkpoints.db'}",
    }

    def stuck(messages: Any) -> AIMessage:
        if sum(isinstance(each, AIMessage) for each in messages) == 2:
            raise KeyboardInterrupt
        return _script(messages)

    spec = ToolSpec.of(look, max_calls=3)
    with pytest.raises(KeyboardInterrupt):
        _agent(spec, stuck, **files).run("go", thread_id="t")
    assert _agent(spec, **files).resume("t").outcome == "landed"
    assert ran == ["0", "1", "2"]
    result = _agent(spec, **files).run("again", thread_id="t")
    assert result.outcome == "landed"
    assert len(ran) == 6


def test_within_its_limits_nothing_changes() -> None:
    def script(messages: Any) -> AIMessage:
        done = sum(isinstance(each, AIMessage) for each in messages) == 3
        return AIMessage("done") if done else _script(messages)

    result = _agent(ToolSpec.of(look, max_calls=3, max_bytes=1_000), script).run("go")
    assert (result.outcome, result.answer) == ("answered", "done")


@pytest.mark.parametrize("limits", [{"max_calls": 0}, {"max_bytes": -1}])
def test_nonsense_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidTool, match="give a number above 0"):
        ToolSpec.of(look, **limits)  # type: ignore[arg-type]  # one of the two
