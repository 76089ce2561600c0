"""Summaries are calls on the task's own budget: affordable, replayed, never what fails a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentkit import Agent, Budget
from agentkit.budgets import CallRecord, Ledger
from agentkit.memory import Allocation, Context
from agentkit.nodes import condense
from tests.scripted import ScriptedModel, call

SUMMARY = "GOAL:\n- look at all\nFACTS:\n- thing-1 is fine\n"
SMALL = Context(limit_tokens=700, allocation=Allocation(recent=200, summary=120))


def look(n: int) -> str:
    """Look at a thing."""
    return f"thing-{n} is fine " + "and so on " * 30


def worker(steps: int, *, summary: str | BaseException = SUMMARY) -> ScriptedModel:
    """Looks at one thing after another; `summary` is what it says when told to stop."""
    done = [0]

    def script(messages: Sequence[BaseMessage]) -> AIMessage | BaseException:
        if any("Stop here" in message.text for message in (messages[0], messages[-1])):
            return summary if isinstance(summary, BaseException) else AIMessage(summary)
        if done[0] >= steps:
            return AIMessage("all fine")
        done[0] += 1
        return call("look", n=done[0])

    return ScriptedModel(script=script)


def agent_of(model: ScriptedModel, **kwargs: Any) -> Agent:
    settings: dict[str, Any] = {"budget": Budget(calls=60), "context": SMALL, **kwargs}
    return Agent([model], [look], no_progress_after=None, **settings)


def summaries_of(agent: Agent, task_id: str) -> list[CallRecord]:
    return [c for c in agent.ledger.store.calls(task_id) if c.purpose == "summary"]


def events_of(agent: Agent, task_id: str, kind: str) -> list[str]:
    return [e.text for e in agent.ledger.store.events(task_id) if e.kind == kind]


def test_a_summary_is_a_call_of_the_task_and_is_sent_from_then_on() -> None:
    model = worker(14)
    agent = agent_of(model)
    result = agent.run("look at all things")
    assert (result.outcome, result.steps) == ("answered", 15)
    written = summaries_of(agent, result.task_id)
    assert written
    assert len(written) == len(events_of(agent, result.task_id, "context_rewritten"))
    assert result.calls == 15 + len(written)
    last = model.seen[-1]
    assert last[0].text == "look at all things"
    assert "thing-1 is fine" in last[1].text
    assert isinstance(last[-1], ToolMessage)


async def test_a_summary_is_written_on_the_event_loop_too() -> None:
    agent = agent_of(worker(10))
    result = await agent.arun("look at all things")
    assert result.outcome == "answered"
    assert summaries_of(agent, result.task_id)


@pytest.mark.parametrize(
    ("summary", "told"),
    [("I would rather go on.", "wrote no summary"), (ValueError("broken"), "ValueError")],
)
def test_a_model_that_writes_none_is_replaced_by_extraction(
    summary: str | BaseException, told: str
) -> None:
    model = worker(10, summary=summary)
    agent = agent_of(model)
    result = agent.run("look at all things")
    assert result.outcome == "answered"
    assert told in events_of(agent, result.task_id, "summary_failed")[0]
    assert "an extract" in events_of(agent, result.task_id, "context_rewritten")[0]
    assert "look at all things" in model.seen[-1][1].text


def test_no_summary_is_written_where_it_would_end_the_task() -> None:
    """Ten steps and the landing reserve take 11 calls: none is left for a summary."""
    agent = agent_of(worker(9), budget=Budget(calls=11))
    result = agent.run("look at all things")
    assert result.outcome == "answered"
    assert events_of(agent, result.task_id, "context_rewritten")
    assert not summaries_of(agent, result.task_id)


def test_extraction_alone_makes_no_call() -> None:
    extraction = Context(limit_tokens=700, allocation=SMALL.allocation, summaries="extraction")
    agent = agent_of(worker(10), context=extraction)
    result = agent.run("look at all things")
    assert (result.outcome, result.calls) == ("answered", 11)
    assert events_of(agent, result.task_id, "context_rewritten")


def test_a_summary_that_was_paid_is_not_paid_again_when_the_task_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after the model wrote it, before any checkpoint held it."""
    places = {
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "checkpoint": f"sqlite:///{tmp_path / 'saved.db'}",
    }
    model = worker(8)
    first = agent_of(model, **places)
    with monkeypatch.context() as patch:

        def die(text: str) -> None:
            raise KeyboardInterrupt

        patch.setattr(condense.Summary, "read", die)
        with pytest.raises(KeyboardInterrupt):
            first.run("look at all things", thread_id="t")
    first.ledger.close()
    second = agent_of(model, **places)
    result = second.resume("t")
    assert result.outcome == "answered"
    assert len(events_of(second, result.task_id, "replayed")) == 1
    asked = [seen for seen in model.seen if "Stop here" in seen[-1].text]
    assert len(asked) == len(summaries_of(second, result.task_id))


def test_an_observation_larger_than_the_window_is_cut_and_told() -> None:
    def flood() -> str:
        """Say a lot."""
        return "word " * 3000

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage("done") if isinstance(messages[-1], ToolMessage) else call("flood")

    model = ScriptedModel(script=script)
    small = Context(limit_tokens=500)
    agent = Agent([model], [flood], context=small, budget=Budget(calls=9), pruning=None)
    result = agent.run("go")
    assert (result.outcome, result.answer) == ("answered", "done")
    assert "left out here to fit" in model.seen[-1][-1].text
    assert "parts of long messages: does not fit" in events_of(agent, result.task_id, "context")[0]


def test_a_ledger_remembers_summaries_by_their_purpose(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    agent = agent_of(worker(10), ledger=address)
    task_id = agent.run("look at all things").task_id
    agent.ledger.close()
    again = Ledger(address)
    assert any(record.purpose == "summary" for record in again.store.calls(task_id))
    again.close()
