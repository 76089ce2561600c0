"""The demo itself: each request as a task of its own, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.agent import Agent
from agentkit.budgets.amount import Limits
from agentkit.budgets.budget import Budget
from agentkit.budgets.errors import BudgetError
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.money import nusd_from_usd
from agentkit.demo.everyday import NOTHING, everyday_tools
from agentkit.demo.requests import REQUESTS, DemoRequest
from agentkit.demo.world import World
from agentkit.result import TaskResult
from agentkit.tools.permissions import Permissions

LOCAL_MODEL = "local:pocket"
SCOPE = "demo"
MOST_USD = "0.25"
"""Limit of the whole demo, where a frontier tier is there."""
MOST_USD_A_REQUEST = "0.02"
_SYSTEM = "You are an everyday assistant. Use a tool where one fits; answer in a sentence or two."


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One request and its end. `result` is None where the task was refused before it began.

    `found` tells whether the tool had what was asked for, None where no tool ran. `doubts` are the
    reasons for which a tier gave way, or would have given way to one above it.
    """

    request: DemoRequest
    seconds: float
    result: TaskResult | None = None
    refusal: str = ""
    tool: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    found: bool | None = None

    @property
    def outcome(self) -> str:
        """The task's outcome, or `refused`."""
        return self.result.outcome if self.result else "refused"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the local tier was not good enough."""
        records = self.result.records if self.result else ()
        return tuple(record.reason for record in records if record.reason)

    @property
    def escalated(self) -> bool:
        """True where a dearer tier was asked."""
        records = self.result.records if self.result else ()
        return any(record.tier > 0 for record in records)

    @property
    def as_intended(self) -> bool:
        """True where the fitting tool was called, or none where none fits."""
        return self.tool == self.request.tool

    @property
    def local_seconds(self) -> float:
        """Time spent in the local model."""
        records = self.result.records if self.result else ()
        return sum(record.latency_seconds for record in records if record.provider == "local")


def perform(
    ledger: Ledger, frontier: Sequence[str], requests: Sequence[DemoRequest] = REQUESTS
) -> Iterator[Shown]:
    """Carry out each request on the local model, and on the `frontier` tiers above it if any.

    With a frontier tier all of it together spends at most `MOST_USD`.
    """
    if frontier:
        ledger.set_limits(SCOPE, Limits(nusd=nusd_from_usd(MOST_USD)))
    world = World()
    for request in requests:
        yield _perform(ledger, [LOCAL_MODEL, *frontier], request, world)


def _perform(ledger: Ledger, models: Sequence[str], request: DemoRequest, world: World) -> Shown:
    paid = Budget(usd=MOST_USD_A_REQUEST) if len(models) > 1 else None

    def check(result: TaskResult) -> bool:
        return request.evidence in result.answer

    agent = Agent(
        models=models,
        tools=everyday_tools(world, direct=request.direct),
        permissions=Permissions(grant=["side_effect:write"]),
        budget=request.budget or paid,
        ledger=ledger,
        system=_SYSTEM,
        name="everyday assistant",
        check=check if request.evidence else None,
        checkpoint=InMemorySaver(),
    )
    started = time.perf_counter()
    try:
        result = agent.run(request.text, scope=SCOPE, tags={"from": "demo"})
    except BudgetError as refusal:  # a limit below the landing reserve: nothing was sent
        seconds = time.perf_counter() - started
        return Shown(request=request, seconds=seconds, refusal=str(refusal))
    seconds = time.perf_counter() - started
    tool, arguments, found = _tool_used(agent, result)
    return Shown(
        request=request,
        seconds=seconds,
        result=result,
        tool=tool,
        arguments=arguments,
        found=found,
    )


def _tool_used(
    agent: Agent, result: TaskResult
) -> tuple[str | None, Mapping[str, object], bool | None]:
    """The first call in the transcript, its arguments, and whether the tool found something."""
    config = {"configurable": {"thread_id": result.thread_id}}
    messages = agent.graph.get_state(config).values.get("messages", [])  # type: ignore[arg-type]  # a RunnableConfig is a dict
    calls = [call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    if not calls:
        return None, {}, None
    said = next((m.text for m in messages if isinstance(m, ToolMessage)), "")
    return calls[0]["name"], calls[0]["args"], bool(said) and not said.startswith(NOTHING)
