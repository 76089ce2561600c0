"""A tool that changes something is not run twice, whenever the process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command, interrupt

from agentkit import Agent, Approve, Permissions
from agentkit.begun import BEGUN
from agentkit.tools import ToolSpec
from tests.scripted import ScriptedModel, call, in_turn

_ROOT = Path(__file__).resolve().parents[2]
_DIES = """
import os, sys
from tests.agentkit.test_begun import agent_of, Approve
folder, effect, kind, how = sys.argv[1:]

def work(order):
    with open(f"{folder}/done", "a") as done:
        done.write(f"{order} ")
    os._exit(9)

agent = agent_of(folder, work, effect, kind)
agent.run("go", thread_id="t")
assert how == "asked"
agent.resume("t", Approve())
"""


WANTS = call("refund", order="W1")


def agent_of(
    folder: str | Path, work: Any, effect: Any, kind: str = "granted", *, resumed: bool = False
) -> Agent:
    """An agent whose model wants one refund; where it is `resumed` it has said so before."""

    def refund(order: str) -> str:
        """Refund an order."""
        work(order)
        return "refunded"

    model = ScriptedModel(script=in_turn(*(() if resumed else (WANTS,)), "done"))
    asked = Permissions(ask=["refund"])
    permissions = Permissions(grant=["refund"]) if kind == "granted" else asked
    return Agent(
        [model],
        [ToolSpec.of(refund, side_effect=effect)],
        permissions=permissions,
        ledger=f"sqlite:///{folder}/ledger.db",
        checkpoint=f"sqlite:///{folder}/checkpoints.db",
    )


def killed(folder: Path, effect: str, kind: str, how: str) -> None:
    """A process that ends inside the tool, after its work."""
    command = [sys.executable, "-c", _DIES, str(folder), effect, kind, how]
    died = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=100)
    assert died.returncode == 9, died.stderr.decode()
    assert (folder / "done").read_text() == "W1 "


@pytest.mark.parametrize(
    ("effect", "kind", "how"),
    [("spend", "granted", "once"), ("write", "granted", "once"), ("spend", "ask", "asked")],
)
def test_a_changing_tool_that_the_process_died_in_is_not_run_again(
    tmp_path: Path, effect: str, kind: str, how: str
) -> None:
    """Nor is what a person approved: the model is told, and may ask anew."""
    killed(tmp_path, effect, kind, how)
    again: list[str] = []
    agent = agent_of(tmp_path, again.append, effect, kind, resumed=True)
    result = agent.resume("t")
    assert again == []
    assert (result.outcome, result.answer) == ("answered", "done")
    model = agent.tiers[0].model
    assert isinstance(model, ScriptedModel)
    told = model.seen[-1][-1]
    assert "may have been carried out" in told.text
    assert told.status == "error"  # type: ignore[attr-defined]


def test_a_reading_tool_is_run_again(tmp_path: Path) -> None:
    killed(tmp_path, "read", "granted", "once")
    again: list[str] = []
    agent = agent_of(tmp_path, again.append, "read", resumed=True)
    assert agent.resume("t").answer == "done"
    assert again == ["W1"]


async def test_on_an_event_loop_too(tmp_path: Path) -> None:
    killed(tmp_path, "spend", "granted", "once")
    again: list[str] = []
    result = await agent_of(tmp_path, again.append, "spend", resumed=True).aresume("t")
    assert (result.answer, again) == ("done", [])


def test_a_changing_tool_that_waits_for_a_person_goes_on(tmp_path: Path) -> None:
    """LangGraph runs a tool that interrupts from its start once more: that is no crash."""
    answers: list[object] = []
    agent = agent_of(tmp_path, lambda _: answers.append(interrupt("sure?")), "spend")
    assert agent.run("go", thread_id="t").outcome == "cancelled"
    agent.graph.invoke(Command(resume="yes"), {"configurable": {"thread_id": "t"}})
    assert answers == ["yes"]


def test_without_a_checkpoint_nothing_is_noted(tmp_path: Path) -> None:
    done: list[str] = []
    agent = agent_of(tmp_path, done.append, "spend")
    kept = agent.run("go", thread_id="t")
    plain = Agent(
        [ScriptedModel(script=in_turn(WANTS, "done"))],
        [agent.toolbox.catalogue.get("refund")],  # type: ignore[list-item]
        permissions=Permissions(grant=["refund"]),
    )
    bare = plain.run("go")
    assert done == ["W1", "W1"]
    kinds = [
        [event.kind for event in each.ledger.store.events(result.task_id)]
        for each, result in ((agent, kept), (plain, bare))
    ]
    assert [BEGUN in each for each in kinds] == [True, False]


def test_an_approval_of_a_resumed_task_still_runs_its_tool(tmp_path: Path) -> None:
    done: list[str] = []
    agent_of(tmp_path, done.append, "spend", "ask").run("go", thread_id="t")
    assert done == []
    agent = agent_of(tmp_path, done.append, "spend", "ask", resumed=True)
    result = agent.resume("t", Approve())
    assert (result.answer, done) == ("done", ["W1"])
