"""Agent tasks of 3 to 8 steps: live, as waves, and as waves whose batches would come too late."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from agentkit import Agent, Budget
from agentkit.batch import BatchPolicy, Waves
from agentkit.budgets import Ledger
from agentkit.fanout import Mapped
from benchmarks._batch_client import QUICK, model_of
from tests.wire import BatchRules, Reply, ScriptedProvider, WireRequest

_LEAST_STEPS, _STEP_KINDS = 3, 6
_TOGETHER_LIVE = 16
_SLOW = BatchRules(least_seconds=3_600, most_seconds=3_600)


@dataclass(frozen=True, kw_only=True, slots=True)
class WavesRun:
    """`late` counts tasks that ended after their deadline, `batched` the share of calls that went
    by batch, `cost_share` what they cost of the live runs."""

    wire: str
    setting: str
    tasks: int
    equal_answers: int
    cost_share: float
    batches: int
    batched: float
    wait_seconds: float
    longest_seconds: float
    late: int
    ledger_nusd: int
    billed_nusd: int


def look_up(number: int) -> str:
    """Look a number up."""
    return f"value {number}"


def several_steps(request: WireRequest) -> Reply:
    """`task 3: 4 steps` calls a tool three times, and then answers."""
    asked = next(message.text for message in request.messages if message.role == "user")
    if request.tool_turns < steps_of(asked) - 1:
        return Reply(tool_calls=[("look_up", {"number": request.tool_turns})])
    return Reply(text=f"{asked} done after {request.messages[-1].text}")


def steps_of(request: str) -> int:
    """How many calls of a model a task takes."""
    return int(request.split()[-2])


def requests_of(tasks: int) -> list[str]:
    """Tasks of 3 to 8 steps."""
    return [
        f"task {number}: {_LEAST_STEPS + number % _STEP_KINDS} steps" for number in range(tasks)
    ]


def waves_runs(wire: str, tasks: int, *, wait_seconds: float = 600.0) -> list[WavesRun]:
    """Waves against live runs, and waves for which every batch would be late."""
    requests = requests_of(tasks)
    with ScriptedProvider(several_steps, keep_requests=1) as provider:
        expected = asyncio.run(_live(agent_of(provider.anthropic_url, Ledger(), wire), requests))
        live_nusd = provider.bill.cost_nusd
    answers = [mapped.result.answer for mapped in expected if mapped.result is not None]
    whole = replace(QUICK, most_requests=1_000, most_age_seconds=60.0)
    late = replace(whole, usual_seconds=1.0, live_seconds=100.0)
    settings: list[tuple[str, BatchRules, BatchPolicy, float]] = [
        ("waves", BatchRules(least_seconds=0.1, most_seconds=1.0), whole, wait_seconds),
        ("every batch would be late", _SLOW, late, 110.0),
    ]
    runs: list[WavesRun] = []
    for setting, rules, policy, wait in settings:
        with ScriptedProvider(several_steps, keep_requests=1, batches=rules) as provider:
            ledger = Ledger()
            waves = Waves(agent_of(provider.anthropic_url, ledger, wire), wait=wait, policy=policy)
            started = time.time()
            results = waves.run(requests)
            ends = [
                task.ended_at - task.started_at
                for task in ledger.store.tasks(limit=tasks)
                if task.ended_at is not None
            ]
            records = provider.bill.records
            runs.append(
                WavesRun(
                    wire=wire,
                    setting=setting,
                    tasks=tasks,
                    equal_answers=sum(
                        mapped.result is not None and mapped.result.answer == answer
                        for mapped, answer in zip(results, answers, strict=True)
                    ),
                    cost_share=round(provider.bill.cost_nusd / live_nusd, 4),
                    batches=len(provider.desk.batches),
                    batched=sum(record.custom_id is not None for record in records) / len(records),
                    wait_seconds=wait,
                    longest_seconds=round(max(ends, default=time.time() - started), 1),
                    late=sum(seconds > wait for seconds in ends) + tasks - len(ends),
                    ledger_nusd=ledger.account("default").settled.nusd,
                    billed_nusd=provider.bill.cost_nusd,
                )
            )
    return runs


async def _live(agent: Agent, requests: list[str]) -> list[Mapped]:
    results = [mapped async for mapped in agent.amap(requests, concurrency=_TOGETHER_LIVE)]
    return sorted(results, key=lambda mapped: mapped.index)


def agent_of(url: str, ledger: Ledger, wire: str, checkpoint: str | None = None) -> Agent:
    """An agent whose model is the loopback server."""
    return Agent(
        models=[model_of(wire, url)],
        tools=[look_up],
        budget=Budget(usd="1"),
        ledger=ledger,
        checkpoint=checkpoint,
    )
