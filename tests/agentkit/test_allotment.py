"""An agent's system text and tools within what is allotted to them."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool

from agentkit import Agent, Budget
from agentkit.budgets.tokens import count_text
from agentkit.errors import ConfigError
from agentkit.memory import Allocation, Context
from agentkit.tools.provision.toolbox import Provisioning
from tests.scripted import ScriptedModel


def tools(count: int) -> list[StructuredTool]:
    """Tools that each take about 60 tokens to describe."""

    def made(number: int) -> StructuredTool:
        def act(order: str) -> str:
            return order

        return StructuredTool.from_function(
            act,
            name=f"order_action_{number}",
            description=f"Carry out the action number {number} on an order of the shop, by its id.",
        )

    return [made(number) for number in range(count)]


def answering() -> ScriptedModel:
    return ScriptedModel(script=lambda messages: AIMessage("done"))


def test_a_system_text_over_its_allotment_is_refused_when_the_agent_is_made() -> None:
    context = Context(allocation=Allocation(system=10))
    with pytest.raises(ConfigError, match=r"system texts take 4\d tokens, and 10 are allotted"):
        Agent([answering()], system="word " * 40, context=context)


@pytest.mark.parametrize("allotted", [900, 1_500])
def test_no_more_tools_are_offered_than_fit_their_allotment(allotted: int) -> None:
    model = answering()
    context = Context(allocation=Allocation(tools=allotted))
    agent = Agent([model], tools(60), context=context, budget=Budget(calls=3))
    assert agent.run("carry out action 7 on order W1").outcome == "answered"
    offered = model.kwargs_seen[0]["tools"]
    assert 2 < len(offered) < 60
    assert sum(count_text(json.dumps(schema)) for schema in offered) <= allotted * 1.2
    (record,) = agent.ledger.store.calls(agent.ledger.store.tasks()[0].task_id)
    assert 0 < record.components["tools"] <= allotted


def test_tools_that_cannot_be_left_out_end_the_task_before_anything_is_sent() -> None:
    model = answering()
    context = Context(allocation=Allocation(tools=150))
    core = [f"order_action_{number}" for number in range(9)]
    agent = Agent(
        [model], tools(20), context=context, budget=Budget(calls=3),
        provisioning=Provisioning(core=core),
    )  # fmt: skip
    result = agent.run("carry out action 7 on order W1")
    assert result.outcome == "failed"
    assert "and 150 are allotted; offer fewer tools" in (result.reason or "")
    assert model.seen == []
