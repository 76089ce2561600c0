"""A task that goes in circles lands; one that gets anywhere goes on."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage

from agentkit import Agent, Budget
from agentkit.errors import ConfigError
from agentkit.progress import ProgressWatch
from agentkit.tools import Call, Observation
from tests.scripted import ScriptedModel, call, in_turn


def step(watch: ProgressWatch, argument: str, result: str = "same") -> str | None:
    calls: list[Call] = [{"name": "t", "args": {"q": argument}, "id": "x", "type": "tool_call"}]
    return watch.note(calls, [Observation(call_id="x", name="t", content=result, status="ok")])


@pytest.mark.parametrize("cycle", ["a", "ab", "abc", "abcd"])
def test_a_cycle_is_noticed_after_its_rounds(cycle: str) -> None:
    watch = ProgressWatch(rounds=3)
    told = [step(watch, letter) for letter in cycle * 4]
    first = next(at for at, reason in enumerate(told) if reason)
    assert first + 1 == 3 * len(cycle)
    assert "3 times" in (told[first] or "")


def test_a_new_argument_or_a_new_result_is_progress() -> None:
    watch = ProgressWatch(rounds=3)
    assert all(step(watch, str(number)) is None for number in range(50))
    watch = ProgressWatch(rounds=3)
    assert all(step(watch, "a", result=str(number)) is None for number in range(50))


def test_a_step_that_differs_now_and_then_is_progress() -> None:
    watch = ProgressWatch(rounds=4)
    assert all(step(watch, letter) is None for letter in "aaabaaabaaac")


def test_a_circling_task_lands_before_its_money_is_gone() -> None:
    def look(query: str) -> str:
        """Look something up."""
        return "nothing new"

    def script(messages: object) -> AIMessage:
        sent = list(messages)  # type: ignore[call-overload]  # a sequence of messages
        if "budget of this task" in sent[0].text:
            return AIMessage("what I know")
        return call("look", query="again")

    agent = Agent(
        [ScriptedModel(script=script)], [look], budget=Budget(calls=50), no_progress_after=4
    )
    result = agent.run("go")
    assert (result.outcome, result.answer, result.calls) == ("landed", "what I know", 5)
    assert "no progress" in (result.reason or "")


def test_the_watch_can_be_left_out_and_nonsense_is_refused() -> None:
    def look(query: str) -> str:
        """Look something up."""
        return "nothing new"

    answers = [call("look", query="x")] * 30
    agent = Agent([ScriptedModel(script=in_turn(*answers, "done"))], [look], no_progress_after=None)
    assert agent.run("go").answer == "done"
    with pytest.raises(ConfigError, match="no_progress_after"):
        Agent([ScriptedModel(script=in_turn("x"))], no_progress_after=1)
