"""Agents that wait: one call site at a time, and many tasks in waves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from agentkit import Agent, Budget, metered
from agentkit.batch import BatchLane, BatchPolicy, Waves, can_wait
from agentkit.batch.waiting import seconds_of
from agentkit.budgets import Ledger
from agentkit.errors import ConfigError
from benchmarks._batch_killed_waves import killed_waves
from tests.agentkit.batch_world import CLIENTS, QUICK
from tests.scripted import ScriptedModel, in_turn
from tests.wire import BatchRules, Reply, ScriptedProvider, WireRequest, echo


def _look_up(number: int) -> str:
    """Look a number up."""
    return f"value {number}"


def _several_steps(request: WireRequest) -> Reply:
    """`task 3: 4 steps` calls a tool three times, and then answers."""
    asked = next(message.text for message in request.messages if message.role == "user")
    wanted = int(asked.split()[-2]) - 1
    if request.tool_turns < wanted:
        return Reply(tool_calls=[("_look_up", {"number": request.tool_turns})])
    return Reply(text=f"{asked} done after {request.messages[-1].text}")


def _agent(
    provider: ScriptedProvider, ledger: Ledger, wire: str = "openai", checkpoint: str | None = None
) -> Agent:
    return Agent(
        models=[CLIENTS[wire](provider)],
        tools=[_look_up],
        budget=Budget(usd="0.5"),
        ledger=ledger,
        checkpoint=checkpoint,
    )


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


_REQUESTS = [f"task {number}: {2 + number % 3} steps" for number in range(6)]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_waves_answer_as_live_runs_do_at_half_the_price_with_a_batch_a_step(wire: str) -> None:
    with ScriptedProvider(_several_steps) as live:
        agent = _agent(live, Ledger(), wire)
        expected = [agent.run(request) for request in _REQUESTS]
    with ScriptedProvider(_several_steps, batches=BatchRules(most_seconds=0.1)) as provider:
        ledger = Ledger()
        policy = replace(QUICK, most_age_seconds=30)
        waves = Waves(_agent(provider, ledger, wire), wait="1h", policy=policy)
        results = waves.run(_REQUESTS)
    answers = [mapped.result.answer for mapped in results if mapped.result is not None]
    assert answers == [result.answer for result in expected]
    assert provider.bill.cost_nusd == pytest.approx(live.bill.cost_nusd / 2, abs=30)
    assert sum(int(m.result.cost_usd * 10**9) for m in results if m.result) == (
        provider.bill.cost_nusd
    )
    assert len(provider.desk.batches) == 4
    assert ledger.account("default").held.nusd == 0


def test_what_would_be_late_goes_live_and_is_there_in_time() -> None:
    rules = BatchRules(least_seconds=60, most_seconds=60)
    with ScriptedProvider(_several_steps, batches=rules) as provider:
        policy = replace(QUICK, usual_seconds=0.5, live_seconds=6)
        waves = Waves(_agent(provider, Ledger()), wait=8, policy=policy)
        started = time.monotonic()
        results = waves.run(_REQUESTS[:3])
        assert time.monotonic() - started < 8
    assert provider.desk.batches
    assert [mapped.ok for mapped in results] == [True] * 3
    assert all(record.custom_id is None for record in provider.bill.records)


async def test_waves_that_were_broken_off_go_on_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    ledger, checkpoint = f"sqlite:///{tmp_path}/l.db", f"sqlite:///{tmp_path}/c.db"
    with ScriptedProvider(_several_steps, batches=BatchRules(least_seconds=0.3)) as provider:
        first = Ledger(ledger)
        waves = Waves(
            _agent(provider, first, checkpoint=checkpoint), wait="1h", name="n", policy=QUICK
        )
        running = asyncio.create_task(waves.arun(_REQUESTS))
        await asyncio.to_thread(_until, lambda: len(provider.desk.batches) >= 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        second = Ledger(ledger)
        again = Waves(
            _agent(provider, second, checkpoint=checkpoint),
            wait="1h",
            name="n",
            policy=replace(QUICK, claim_seconds=0.1),
        )
        results = await again.arun(_REQUESTS)
        settled = second.account("default").settled.nusd
        second.close()
    assert all(mapped.ok for mapped in results)
    assert max(provider.desk.accepted.values()) == 1
    assert len(provider.bill.records) == sum(2 + n % 3 for n in range(6))
    assert settled == provider.bill.cost_nusd


def test_one_run_can_wait_and_its_record_says_what_that_saved() -> None:
    ledger = Ledger()
    BatchLane(ledger, policy=QUICK)
    with ScriptedProvider(echo) as provider:
        result = _agent(provider, ledger).run("say a", wait="1h")
    (billed,) = provider.bill.records
    assert result.answer == "say a"
    assert billed.custom_id is not None
    assert int(result.cost_usd * 10**9) == billed.cost_nusd
    (call,) = ledger.store.calls(result.task_id)
    assert call.saved_nusd["batch"] == pytest.approx(billed.cost_nusd, abs=1)


@pytest.mark.parametrize("by", ["tag", "with"])
def test_a_tag_or_a_block_makes_a_call_site_wait(by: str) -> None:
    ledger = Ledger()
    BatchLane(ledger, policy=QUICK)
    with ScriptedProvider(echo) as provider:
        task = ledger.open_task(budget=Budget(usd="1"), tags={"wait": "1h"} if by == "tag" else {})
        model = metered(CLIENTS["openai"](provider), task)
        if by == "tag":
            model.invoke([HumanMessage("say a")])
        else:
            with can_wait("1h"):
                model.invoke([HumanMessage("say a")])
            model.invoke([HumanMessage("say b")])
        task.close("answered")
    in_batch = [record.custom_id is not None for record in provider.bill.records]
    assert in_batch == ([True] if by == "tag" else [True, False])


def test_a_refused_request_fails_as_a_refused_call_does_and_costs_nothing() -> None:
    ledger = Ledger()
    BatchLane(ledger, policy=QUICK)
    with ScriptedProvider(echo, batches=BatchRules(invalid_rate=1.0)) as provider:
        result = _agent(provider, ledger).run("say a", wait="1h")
    assert result.outcome == "failed"
    assert result.cost_usd == 0
    assert ledger.account("default").held.nusd == 0


def test_waves_need_a_model_with_batches() -> None:
    agent = Agent(models=[ScriptedModel(script=in_turn("hello"))])
    with pytest.raises(ConfigError, match="none has batches"):
        Waves(agent)


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86_400), ("90m", 5_400), ("2d", 172_800), (30, 30)]
)
def test_durations(text: str | int, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["tomorrow", "0h", "60d", -1])
def test_what_is_no_duration_is_refused(text: str | int) -> None:
    with pytest.raises(ConfigError):
        seconds_of(text)


def test_a_policy_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="time of day"):
        BatchPolicy(at=["25:00"])


def test_requests_hold_no_key_and_what_was_asked_is_deleted_once_answered(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/l.db")
    lane = BatchLane(ledger, policy=QUICK)
    with ScriptedProvider(echo) as provider:
        _agent(provider, ledger).run("say a", wait="1h")
    (item,) = lane.store.items()
    assert lane.store.body(item.item_id) is None
    assert lane.store.answer_of(item.item_id) is None
    assert "say a" not in json.dumps(item.to_dict())
    ledger.close()


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_waves_that_are_killed_again_and_again_pay_each_step_once(
    wire: str, tmp_path: Path
) -> None:
    trouble = BatchRules(
        least_seconds=0.1, most_seconds=0.8, lose_after_rate=0.2, error_rate=0.05, expire_rate=0.2
    )
    run = killed_waves(wire, tasks=3, kills=2, seed=2, folder=tmp_path, trouble=trouble)
    assert run.holds, run
    assert run.kills > 0
