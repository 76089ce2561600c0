"""Two processes that work the same lane at the same moments: nothing is submitted twice."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from agentkit.batch import BatchJob, BatchLane
from agentkit.batch.openai import OpenAIBatches
from agentkit.budgets import Budget, Ledger
from tests.agentkit.batch_world import QUICK
from tests.budgets.redis_cluster import Cluster
from tests.budgets.redis_server import BINARY, RedisServer
from tests.wire import BatchRules, ScriptedProvider, echo
from tests.wire.client import openai_client

_ROUNDS = 20
_REQUESTS = 12
_TICKS = 3
_BATCHES = 3
_LONGEST_SECONDS = 90
_POLICY = replace(QUICK, most_requests=_REQUESTS // _BATCHES, claim_seconds=30.0)


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db?synchronous=NORMAL"
        return
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    kind = RedisServer if request.param == "redis" else Cluster
    server = kind(tmp_path)
    yield server.address
    server.kill()


def _flush(address: str, url: str, rounds: Barrier) -> None:
    """What each of the two processes does: flush whenever the other does."""
    from openai import OpenAI

    ledger = Ledger(address)
    client = OpenAI(base_url=f"{url}/v1", api_key="test", max_retries=0)
    lane = BatchLane(ledger, policy=_POLICY, providers=[OpenAIBatches(client)])
    for _ in range(_ROUNDS):
        rounds.wait(_LONGEST_SECONDS)
        for _ in range(_TICKS):
            lane.tick(flush=True)
        rounds.wait(_LONGEST_SECONDS)
    ledger.close()


def test_what_two_processes_flush_at_once_is_submitted_once(address: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    rounds = spawn.Barrier(3)
    ledger = Ledger(address)
    with ScriptedProvider(echo, batches=BatchRules(), keep_requests=1) as provider:
        arguments = (address, provider.anthropic_url, rounds)
        rivals = [spawn.Process(target=_flush, args=arguments) for _ in range(2)]
        for rival in rivals:
            rival.start()
        job = BatchJob(
            "rivals", model=openai_client(provider), ledger=ledger, policy=_POLICY, wait="1h",
            budget=Budget(usd="5"),
        )  # fmt: skip
        for at in range(_ROUNDS):
            for number in range(_REQUESTS):
                job.add(f"{at} {number}", f"say {at} {number}")
            rounds.wait(_LONGEST_SECONDS)  # both flush now
            rounds.wait(_LONGEST_SECONDS)
        for rival in rivals:
            rival.join(_LONGEST_SECONDS)
        assert [rival.exitcode for rival in rivals] == [0, 0]
        sent = dict(provider.desk.accepted)
        result = job.run()
    assert len(sent) == _ROUNDS * _REQUESTS
    assert max(provider.desk.accepted.values()) == 1
    assert len(provider.desk.batches) == _ROUNDS * _BATCHES
    assert result.answered == _ROUNDS * _REQUESTS
    account = ledger.account("default")
    assert (account.settled.nusd, account.held.nusd) == (provider.bill.cost_nusd, 0)
    job.lane.store.close()
    ledger.close()
