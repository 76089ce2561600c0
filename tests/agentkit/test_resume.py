"""A process that dies after the model answered does not pay again when its task is resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from langchain_core.messages import HumanMessage

from agentkit import Agent, Budget, metered
from agentkit.budgets import CallLost, Ledger
from agentkit.errors import ConfigError
from benchmarks.resume import trial
from tests.scripted import ScriptedModel, call, in_turn

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("contender", "durability", "die_at"),
    [("agent", "sync", 1), ("agent", "async", 2), ("metered_branches", "sync", 4)],
)
def test_nothing_is_paid_twice(contender: str, durability: str, die_at: int) -> None:
    assert trial(contender, durability, calls=4, die_at=die_at) == (0, True)


def test_a_bare_loop_pays_twice() -> None:
    """So the test above tests something."""
    assert trial("bare_loop", "sync", calls=3, die_at=2) == (1, True)


def test_a_metered_model_of_a_resumed_task_replays(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    first = ScriptedModel(script=in_turn("paid once"))
    task = Ledger(address).open_task(task_id="t", budget=Budget(calls=5), keep_responses=True)
    metered(first, task).invoke([HumanMessage("hello")])
    second = ScriptedModel(script=in_turn("paid twice"))
    again = Ledger(address).open_task(task_id="t", budget=Budget(calls=5), keep_responses=True)
    model = metered(second, again)
    assert model.invoke([HumanMessage("hello")]).text == "paid once"
    assert [chunk.text for chunk in model.stream([HumanMessage("hello")])] != ["paid once"]
    assert len(second.seen) == 1
    assert again.record.calls == 2


def test_an_open_call_of_a_dead_process_is_charged_at_its_worst_case(tmp_path: Path) -> None:
    from agentkit.budgets.call_plan import CallPlan

    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(address)
    task = ledger.open_task(task_id="t", scope="acme", budget=Budget(tokens=1000))
    plan = CallPlan(
        price=ledger.prices.price("pocket", "local"),
        counted_input_tokens=100,
        input_tokens=100,
        wanted_output_tokens=50,
    )
    task.hold_call(plan)
    ledger.close()
    later = Ledger(address)
    again = later.open_task(task_id="t", budget=Budget(tokens=1000))
    account = later.account("acme")
    assert (account.held.tokens, account.settled.tokens) == (0, 150)
    assert [(record.status, record.confirmed) for record in again.calls] == [("cut", False)]


_DIES_UNANSWERED = """
import os, sys
from agentkit import Agent, Budget
from tests.scripted import ScriptedModel
folder = sys.argv[1]
model = ScriptedModel(script=lambda _: os._exit(9))
Agent(
    [model], budget=Budget(calls=5), ledger=f"sqlite:///{folder}/ledger.db",
    checkpoint=f"sqlite:///{folder}/checkpoints.db",
).run("go", thread_id="t")
"""


def test_a_call_that_was_sent_and_never_answered_is_repeated_or_refused(tmp_path: Path) -> None:
    """The process dies inside of the call; it stays charged at its worst case either way."""
    died = subprocess.run(
        [sys.executable, "-c", _DIES_UNANSWERED, str(tmp_path)], cwd=_ROOT, capture_output=True
    )
    assert died.returncode == 9, died.stderr

    def agent(on_lost_call: Literal["repeat", "fail"]) -> Agent:
        return Agent(
            [model],
            budget=Budget(calls=5),
            ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
            checkpoint=f"sqlite:///{tmp_path / 'checkpoints.db'}",
            on_lost_call=on_lost_call,
        )

    model = ScriptedModel(script=in_turn("done"))
    for _ in range(2):
        with pytest.raises(CallLost, match="1 call sent and not answered") as caught:
            agent("fail").resume("t")
    assert caught.value.calls == 1
    assert model.seen == []
    result = agent("repeat").resume("t")
    assert (result.outcome, result.calls) == ("answered", 2)
    assert [record.confirmed for record in result.records] == [False, True]


def test_stored_answers_go_when_the_task_ends(tmp_path: Path) -> None:
    def look(query: str) -> str:
        """Look something up."""
        return query

    agent = Agent(
        [ScriptedModel(script=in_turn(call("look", query="x"), "done"))],
        [look],
        ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
        checkpoint=f"sqlite:///{tmp_path / 'checkpoints.db'}",
    )
    result = agent.run("go")
    assert result.outcome == "answered"
    assert agent.ledger.store.responses(result.task_id) == []


def test_exit_durability_is_refused_under_a_budget() -> None:
    model = ScriptedModel(script=in_turn("x"))
    with pytest.raises(ConfigError, match="exit"):
        Agent([model], budget=Budget(calls=3), durability="exit")
    assert Agent([model], durability="exit").run("go").outcome == "answered"
    forced = Agent([model], budget=Budget(calls=3), durability="exit", force_durability=True)
    assert forced.run("go").outcome == "answered"
