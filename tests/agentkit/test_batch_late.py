"""Submissions that arrive after they were taken for lost: made void, or ended and accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from openai import OpenAI

from agentkit.batch import Batch, BatchJob, BatchLane
from agentkit.batch.accounts import connect
from agentkit.batch.openai import OpenAIBatches
from agentkit.budgets import Budget, Ledger
from tests.agentkit.batch_world import CLIENTS, QUICK
from tests.wire import BatchRules, ScriptedProvider, echo

_LATE_SECONDS = 1.5
_POLICY = replace(QUICK, most_requests=5, late_seconds=0.2)
_REQUESTS = 40
_LATE = BatchRules(lose_late_rate=0.5, late_seconds=_LATE_SECONDS, seed=3)


def _job(provider: ScriptedProvider, ledger: Ledger, wire: str, **more: object) -> BatchJob:
    settings: dict[str, object] = {"policy": _POLICY, "wait": "1h", **more}
    job = BatchJob(
        "late", model=CLIENTS[wire](provider), ledger=ledger, budget=Budget(usd="1"), **settings
    )  # type: ignore[arg-type]  # as given
    for number in range(_REQUESTS):
        job.add(str(number), f"say {number}")
    return job


def _settled(
    lane: BatchLane, provider: ScriptedProvider, seconds: float = 2 * _LATE_SECONDS
) -> None:
    """Work the lane until what arrives late has arrived, and has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lane.tick()
        time.sleep(0.02)
    provider.desk.catch_up()


def _billed_twice(ledger: Ledger, job: BatchJob) -> int:
    events = ledger.store.events(job.task.task_id)
    return sum(event.data["cost_nusd"] for event in events if event.kind == "billed_twice")


def test_a_submission_that_was_taken_for_lost_is_void_at_openai() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo, batches=_LATE) as provider:
        job = _job(provider, ledger, "openai")
        result = job.run()
        _settled(job.lane, provider)
        states = [batch.state for batch in provider.desk.batches.values()]
        assert provider.desk.dice.counts["lose_late"] > 2
        assert states.count("failed") == provider.desk.dice.counts["lose_late"]
        assert max(provider.desk.accepted.values()) == 1
        assert len(provider.bill.records) == result.answered == _REQUESTS
        assert not provider.desk.files
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd
    assert _billed_twice(ledger, job) == 0


@pytest.mark.parametrize("work_seconds", [0.05, 3.0])
def test_one_that_openai_works_on_all_the_same_is_cancelled_and_charged(
    work_seconds: float,
) -> None:
    rules = replace(
        _LATE, forgets_nothing=True, least_seconds=work_seconds, most_seconds=work_seconds
    )
    ledger = Ledger()
    with ScriptedProvider(echo, batches=rules) as provider:
        job = _job(provider, ledger, "openai")
        result = job.run()
        _settled(job.lane, provider)
        twice = [batch for batch in provider.desk.batches.values() if batch.cancelled]
        extra = len(provider.bill.records) - _REQUESTS
    assert result.answered == _REQUESTS
    assert max(provider.desk.accepted.values()) > 1
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd
    assert ledger.account("default").settled.calls == _REQUESTS + extra
    calls = ledger.store.calls(job.task.task_id)
    again = sum(-call.saved_nusd["batch"] for call in calls if call.saved_nusd["batch"] < 0)
    assert _billed_twice(ledger, job) == again
    task = ledger.store.task(job.task.task_id)
    assert task is not None and task.cost_nusd == provider.bill.cost_nusd
    if work_seconds > 1:
        assert twice and all(batch.count("done") < 5 for batch in twice)
    else:
        assert extra and again


def test_one_that_anthropic_had_for_lost_is_charged_when_its_custom_ids_are_known() -> None:
    ledger = Ledger()
    rules = replace(_LATE, least_seconds=0.05, most_seconds=0.1)
    with ScriptedProvider(echo, batches=rules) as provider:
        job = _job(provider, ledger, "anthropic")
        result = job.run()
        _settled(job.lane, provider)
        extra = len(provider.bill.records) - _REQUESTS
    assert provider.desk.dice.counts["lose_late"] > 2
    assert extra > 0 and extra % 5 == 0
    assert result.answered == _REQUESTS
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd
    assert _billed_twice(ledger, job) > 0
    assert ledger.account("default").held.nusd == 0


def test_what_arrives_before_late_seconds_is_sent_once_to_anthropic() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo, batches=_LATE) as provider:
        policy = replace(_POLICY, late_seconds=_LATE_SECONDS + 1.0)
        job = _job(provider, ledger, "anthropic", policy=policy)
        result = job.run()
    assert provider.desk.dice.counts["lose_late"] > 2
    assert max(provider.desk.accepted.values()) == 1
    assert len(provider.bill.records) == result.answered == _REQUESTS
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd


def test_what_went_live_meanwhile_is_charged_for_both() -> None:
    ledger = Ledger()
    rules = BatchRules(lose_late_rate=1.0, late_seconds=4.0)
    policy = replace(_POLICY, late_seconds=60.0, most_requests=100, usual_seconds=0.1)
    with ScriptedProvider(echo, batches=rules) as provider:
        job = _job(provider, ledger, "anthropic", policy=policy, wait=3.0)
        result = job.run()
        assert len(provider.bill.records) == result.answered == _REQUESTS
        _settled(job.lane, provider, rules.late_seconds)
    assert len(provider.bill.records) == 2 * _REQUESTS
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd


def test_another_process_finds_and_charges_what_arrived_after_the_first_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db"
    with ScriptedProvider(echo, batches=_LATE) as provider:
        first = Ledger(address)
        job = _job(provider, first, "anthropic", policy=replace(_POLICY, most_requests=100))
        job.run()
        first.close()
        lost = provider.desk.dice.counts["lose_late"]
        time.sleep(_LATE_SECONDS)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
        second = Ledger(address)
        lane = BatchLane(second, policy=_POLICY)
        connect(lane)
        _settled(lane, provider)
    assert lost and len(provider.bill.records) == (lost + 1) * _REQUESTS
    assert second.account("default").settled.nusd == provider.bill.cost_nusd
    second.close()


class _Overtaken(OpenAIBatches):
    """Loses its claim while it uploads, once."""

    lane: BatchLane | None = None

    def upload(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str | None:
        name = super().upload(batch, lines)
        if self.lane is not None:
            lane, self.lane = self.lane, None
            lane.store.claim(batch.batch_id, lane._office.owner, seconds=-1)
            assert lane.store.claim(batch.batch_id, "another", seconds=0.3)
        return name


def test_a_process_that_was_overtaken_while_it_uploaded_sends_nothing() -> None:
    ledger = Ledger()
    with (
        ScriptedProvider(echo) as provider,
        OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as client,
    ):
        overtaken = _Overtaken(client)
        policy = replace(_POLICY, claim_seconds=60.0, most_requests=100)
        lane = BatchLane(ledger, policy=policy, providers=[overtaken])
        overtaken.lane = lane
        job = BatchJob("late", model=CLIENTS["openai"](provider), ledger=ledger, wait="1h")
        job.add("a", "say a")
        lane.tick(flush=True)
        assert not provider.desk.batches and not provider.desk.files
        time.sleep(0.4)
        assert job.run().answered == 1
    assert len(provider.desk.batches) == 1
