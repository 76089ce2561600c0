"""`metered` models that find their task where they are called, and sub-agents."""

from __future__ import annotations

import asyncio
import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.graph import END, START, StateGraph

from agentkit import Agent, Budget, carry, current_task, metered, spending
from agentkit.budgets import BudgetExceeded, Ledger, TaskMissing
from tests.scripted import ScriptedModel, call, in_turn


class _State(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


def _graph(model: Any) -> Any:
    """Two parallel branches of a user's own graph, each asking the model once."""
    graph: Any = StateGraph(_State)

    def ask(_: Any) -> _State:
        return {"said": [model.invoke("hi").text]}

    async def aask(_: Any) -> _State:
        return {"said": [(await model.ainvoke("hi")).text]}

    for name in ("a", "b"):
        graph.add_node(name, RunnableLambda(ask, afunc=aask))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


def test_model_without_a_task_refuses_and_sends_nothing() -> None:
    inner = ScriptedModel(script=in_turn("hi"))
    model = metered(inner)
    for refused in (
        lambda: model.invoke("hi"),
        lambda: list(model.stream("hi")),
        lambda: asyncio.run(model.ainvoke("hi")),
    ):
        with pytest.raises(TaskMissing):
            refused()
    assert inner.seen == []


def test_model_without_a_task_may_be_allowed() -> None:
    model = metered(ScriptedModel(script=in_turn("hi")), without_task="allow")
    assert model.invoke("hi").text == "hi"
    assert "".join(chunk.text for chunk in model.stream("hi")).strip() == "hi"
    task = Ledger().open_task()
    with spending(task):
        model.invoke("hi")
    assert task.record.calls == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_langgraphs_workers_find_the_task(is_async: bool) -> None:
    graph = _graph(metered(ScriptedModel(script=in_turn("hi"))))
    task = Ledger().open_task()
    with spending(task):
        said = asyncio.run(graph.ainvoke({})) if is_async else graph.invoke({})
    assert said["said"] == ["hi", "hi"]
    assert task.record.calls == 2


def test_langchains_own_workers_find_the_task() -> None:
    model = metered(ScriptedModel(script=in_turn("hi")))
    task = Ledger().open_task()
    with spending(task):
        RunnableParallel(a=model, b=model).invoke("hi")
        model.batch(["1", "2", "3"])
    assert task.record.calls == 5


def test_a_pool_of_the_standard_library_finds_it_by_carry() -> None:
    model = metered(ScriptedModel(script=in_turn("hi")))
    task = Ledger().open_task()
    with spending(task), ThreadPoolExecutor(4) as pool:
        with pytest.raises(TaskMissing):
            pool.submit(model.invoke, "hi").result()
        list(pool.map(carry(model.invoke), ["hi"] * 6))
    assert task.record.calls == 6


@pytest.mark.parametrize("is_async", [False, True])
def test_tools_find_their_task_and_parallel_tasks_stay_apart(is_async: bool) -> None:
    inner = metered(ScriptedModel(script=in_turn("hi")))

    def research(question: str) -> str:
        """Ask another model."""
        return inner.invoke(question).text

    def agent() -> Agent:
        model = ScriptedModel(script=in_turn(call("research", question="q"), "done"))
        return Agent([model], [research], budget=Budget(calls=9), ledger=ledger)

    ledger = Ledger()
    agents = [agent() for _ in range(4)]
    if is_async:

        async def all_of_them() -> list[Any]:
            return list(await asyncio.gather(*(each.arun("go") for each in agents)))

        results = asyncio.run(all_of_them())
    else:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda each: each.run("go"), agents))
    assert [result.calls for result in results] == [3] * 4


def test_sub_agent_takes_from_its_parent_and_gives_back() -> None:
    ledger = Ledger()
    seen: list[Any] = []
    sub = Agent(
        [ScriptedModel(script=in_turn("found it"))],
        budget=Budget(calls=3, tokens=3_000),
        ledger=ledger,
    )

    def research(question: str) -> str:
        """Ask a sub-agent."""
        parent = current_task()
        result = sub.run(question, parent=parent)
        seen.append((result, parent.room().calls))
        return result.answer

    model = ScriptedModel(script=in_turn(call("research", question="q"), "done"))
    agent = Agent([model], [research], budget=Budget(calls=8, tokens=10_000), ledger=ledger)
    result = agent.run("go", scope="acme")
    (part, left) = seen[0]
    assert (result.answer, part.answer) == ("done", "found it")
    assert ledger.store.task(part.task_id).parent_id == result.task_id  # type: ignore[union-attr]
    assert left == 8 - 1 - 1 - 1  # a step, the landing reserve, and the call of the sub-agent
    account = ledger.account("acme")
    assert account.settled.calls == 3
    assert not any(account.held)


def test_sub_agent_that_cannot_be_paid_is_refused_before_it_sends() -> None:
    ledger = Ledger()
    inner = ScriptedModel(script=in_turn("found it"))
    sub = Agent([inner], budget=Budget(calls=30), ledger=ledger)
    task = ledger.open_task(budget=Budget(calls=8))
    with pytest.raises(BudgetExceeded):
        sub.run("q", parent=task)
    assert inner.seen == []
    assert task.room().calls == 8
