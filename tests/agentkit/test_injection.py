"""Tools that take LangGraph's state, store or runtime run in an agent as in its ToolNode."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import InjectedToolArg, InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from agentkit import Agent
from agentkit.budgets import Ledger
from agentkit.errors import ConfigError
from tests.scripted import ScriptedModel, call, in_turn

State = dict[str, Any]


def _agent(used: Any, **settings: Any) -> Agent:
    model = ScriptedModel(script=in_turn(call(used.name, q="x"), "done"))
    return Agent([model], [used], ledger=Ledger(), **settings)


@tool
def first_words(q: str, state: Annotated[State, InjectedState]) -> str:
    """Say what was asked first."""
    return f"{q}: {state['messages'][0].text}"


@tool
def count_messages(q: str, messages: Annotated[list[Any], InjectedState("messages")]) -> str:
    """Count the messages."""
    return f"{q}: {len(messages)}"


@tool
def runtime_of(q: str, runtime: ToolRuntime) -> str:
    """Tell of the runtime."""
    return f"{q}: {runtime.tool_call_id}, {len(runtime.state['messages'])}"


@tool
def with_defaults(
    q: str,
    call_id: Annotated[str, InjectedToolCallId],
    user: Annotated[str, InjectedToolArg] = "nobody",
) -> str:
    """Tell who asks."""
    return f"{q}: {call_id} of {user}"


@pytest.mark.parametrize("saver", [None, InMemorySaver()])
@pytest.mark.parametrize(
    ("used", "said"),
    [
        (first_words, "x: the request"),
        (count_messages, "x: 2"),
        (runtime_of, "x: runtime_of-1, 2"),
        (with_defaults, "x: with_defaults-1 of nobody"),
    ],
)
def test_an_agents_tool_is_given_what_it_needs(used: Any, said: str, saver: Any) -> None:
    ran = [_agent(used, checkpoint=saver), _agent(used, checkpoint=saver)]
    results = [
        ran[0].run("the request", thread_id=None if saver is None else f"{used.name}-1"),
        asyncio.run(ran[1].arun("the request", thread_id=None if saver is None else used.name)),
    ]
    assert [result.outcome for result in results] == ["answered"] * 2
    for agent in ran:
        model: Any = agent.tiers[0].model
        assert model.seen[1][-1].text == said


def test_a_store_of_ones_own_graph_is_given() -> None:
    @tool
    def keep(q: str, store: Annotated[BaseStore, InjectedStore()], runtime: ToolRuntime) -> str:
        """Keep it."""
        store.put(("kept",), "q", {"q": q})
        return str(runtime.store is store)

    store = InMemoryStore()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("agent", _agent(keep).graph)
    builder.add_edge(START, "agent")
    state = builder.compile(store=store).invoke({"messages": [HumanMessage("hi")]})
    assert state["messages"][2].text == "True"
    kept = store.get(("kept",), "q")
    assert kept is not None
    assert kept.value == {"q": "x"}


def test_a_tool_that_nobody_can_give_its_argument_is_refused_at_once() -> None:
    @tool
    def for_user(q: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Look."""
        return q + user

    with pytest.raises(ConfigError, match="tool 'for_user' needs 'user', which is injected"):
        _agent(for_user)


def test_the_schemas_of_the_graph_can_be_had() -> None:
    graph = _agent(first_words).graph
    assert "messages" in graph.get_input_jsonschema()["properties"]
    assert "answer" in graph.get_output_jsonschema()["properties"]
