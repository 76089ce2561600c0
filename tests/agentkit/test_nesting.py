"""Agents in the tools of agents, sync in async and async in sync, in plain code and on a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from agentkit import Agent, Budget, TaskResult, chat_model, current_task
from agentkit.budgets import Ledger
from agentkit.run import Progress
from tests.wire import Reply, ScriptedProvider, WireRequest


def _script(request: WireRequest) -> Reply:
    if any(message.role == "tool" for message in request.messages):
        return Reply(text="done")
    (tool,) = (tool.name for tool in request.tools)
    return Reply(tool_calls=[(tool, {"question": "the weather"})])


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(_script) as running:
        yield running


async def aweather(question: str) -> str:
    """Tell the weather."""
    await asyncio.sleep(0)
    return f"{question}: sunny"


def _agent(provider: ScriptedProvider, ledger: Ledger, tool: Callable[..., object]) -> Agent:
    model = chat_model("openai:gpt-5-mini", base_url=provider.openai_url, api_key="test")
    return Agent([model], [tool], budget=Budget(usd="0.1", seconds=30), ledger=ledger)


def _nested(provider: ScriptedProvider, ledger: Ledger, depth: int) -> Agent:
    """An agent whose async tool runs an agent with `run`, and so on, `depth` times."""
    if depth == 0:
        return _agent(provider, ledger, aweather)
    inner = _nested(provider, ledger, depth - 1)

    async def ask(question: str) -> str:
        """Ask another agent."""
        return inner.run(question).answer

    return _agent(provider, ledger, ask)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("on_loop", [False, True])
def test_a_sync_agent_in_an_async_tool_does_not_wait_for_itself(
    depth: int, on_loop: bool, provider: ScriptedProvider
) -> None:
    ledger = Ledger()
    agent = _nested(provider, ledger, depth)

    async def in_a_notebook() -> TaskResult:
        return agent.run("hello")

    began = time.monotonic()
    result = asyncio.run(in_a_notebook()) if on_loop else agent.run("hello")
    assert time.monotonic() - began < 15
    assert (result.outcome, result.answer) == ("answered", "done")
    assert [task.outcome for task in ledger.store.tasks()] == ["answered"] * (depth + 1)
    assert agent.run("hello").outcome == "answered"


def test_a_sub_agent_on_the_tools_loop_pays_from_its_parent(provider: ScriptedProvider) -> None:
    ledger = Ledger()
    inner = Agent(
        [chat_model("openai:gpt-5-mini", base_url=provider.openai_url, api_key="test")],
        [aweather],
        budget=Budget(usd="0.02"),
        ledger=ledger,
    )

    async def ask(question: str) -> str:
        """Ask another agent."""
        return inner.run(question, parent=current_task()).answer

    result = _agent(provider, ledger, ask).run("hello", scope="acme")
    assert result.outcome == "answered"
    assert ledger.account("acme").settled.nusd == provider.bill.cost_nusd > 0


@pytest.mark.parametrize("phase", ["thinking", "thought", "acting"])
def test_a_progress_callback_that_raises_costs_no_answer(
    phase: str, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def show(progress: Progress) -> None:
        told.append(progress.phase)
        if progress.phase == phase:
            raise ZeroDivisionError

    agent = _agent(provider, Ledger(), aweather)
    result = agent.run("hello", on_progress=show)
    assert (result.outcome, result.answer, len(provider.requests)) == ("answered", "done", 2)
    assert told.count(phase) == 1
    assert "on_progress raised" in caplog.text
