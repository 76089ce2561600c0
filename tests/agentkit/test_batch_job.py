"""Batch jobs against both wire formats: every request answered once, every cent as billed."""

from __future__ import annotations

import gc
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.batch import BatchJob
from agentkit.batch.lane import lane_of
from agentkit.budgets import Budget, BudgetExceeded, Ledger
from agentkit.errors import ConfigError
from benchmarks.batch import killed_run
from tests.agentkit.batch_world import CLIENTS, QUICK
from tests.budgets.redis_cluster import Cluster
from tests.budgets.redis_server import BINARY, RedisServer
from tests.scripted import ScriptedModel, in_turn
from tests.wire import BatchRules, ScriptedProvider, echo

WIRES = pytest.mark.parametrize("wire", CLIENTS)


def _job(
    provider: ScriptedProvider, ledger: Ledger, wire: str = "openai", **more: object
) -> BatchJob:
    settings: dict[str, object] = {"policy": QUICK, "wait": "1h", "budget": Budget(usd="1"), **more}
    return BatchJob("nightly", model=CLIENTS[wire](provider), ledger=ledger, **settings)  # type: ignore[arg-type]  # as given


@WIRES
def test_a_job_costs_what_the_provider_billed_at_half_the_price(wire: str) -> None:
    ledger = Ledger()
    with ScriptedProvider(echo) as provider:
        job = _job(provider, ledger, wire)
        for number in range(20):
            job.add(f"key {number}", f"say {number}")
        result = job.run()
        answers = {key: message.text for key, message in job.answers()}
    assert answers == {f"key {n}": f"say {n}" for n in range(20)}
    assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd
    account = ledger.account("default")
    assert (account.settled.nusd, account.settled.calls) == (provider.bill.cost_nusd, 20)
    assert account.held.nusd == 0
    saved = sum(call.saved_nusd["batch"] for call in ledger.store.calls(job.task.task_id))
    assert saved == pytest.approx(provider.bill.cost_nusd, abs=20)


@WIRES
def test_trouble_of_every_kind_is_settled_to_the_nano_dollar_and_nothing_is_sent_twice(
    wire: str,
) -> None:
    rules = BatchRules(
        most_seconds=0.1, error_rate=0.1, invalid_rate=0.05, expire_rate=0.5, refuse_rate=0.2,
        retry_after_seconds=0.02, lose_before_rate=0.2, lose_after_rate=0.2, seed=5,
    )  # fmt: skip
    ledger = Ledger()
    with ScriptedProvider(echo, batches=rules) as provider:
        job = _job(provider, ledger, wire, policy=replace(QUICK, most_requests=8))
        for number in range(100):
            job.add(str(number), f"say {number}")
        result = job.run()
    assert result.answered + result.refused == 100
    assert result.answered > 80
    assert provider.desk.dice.counts["lose_after"] and provider.desk.dice.counts["expire"]
    assert max(provider.desk.accepted.values()) == 1
    assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd
    account = ledger.account("default")
    assert (account.settled.nusd, account.settled.calls) == (
        provider.bill.cost_nusd,
        result.answered,
    )
    assert account.held.nusd == 0


def test_a_job_of_the_same_name_goes_on_where_another_process_stopped(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db"
    with ScriptedProvider(echo) as provider:
        first = _job(provider, Ledger(address))
        for number in range(5):
            first.add(str(number), f"say {number}")
        first.lane.tick(flush=True)  # sent, and never looked at again
        second = _job(provider, Ledger(address), policy=replace(QUICK, claim_seconds=0.0))
        for number in range(6):
            second.add(str(number), f"say {number}")
        result = second.run()
        first.ledger.close()
        second.ledger.close()
    assert result.answered == 6
    assert len(provider.desk.accepted) == 6
    assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd


def test_money_is_held_at_the_batch_price_until_the_answer_is_there() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo) as provider:
        job = _job(provider, ledger)
        job.add("a", "say a")
        held = ledger.account("default").held.nusd
        live = ledger.prices.price("gpt-5-mini", "openai").worst_nusd(20, 500)
        assert live / 3 < held < live
        job.run()
        assert ledger.account("default").held.nusd == 0


def test_what_the_budget_does_not_hold_is_not_queued() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo) as provider:
        job = _job(provider, ledger, budget=Budget(calls=1))
        job.add("a", "say a")
        with pytest.raises(BudgetExceeded):
            job.add("b", "say b")
        assert job.run().answered == 1


def test_what_would_be_late_is_asked_live_at_the_live_price() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo, batches=BatchRules(least_seconds=60, most_seconds=60)) as provider:
        job = _job(provider, ledger, wait=2.5)
        job.add("a", "say a")
        result = job.run()
        assert time.time() < job.deadline
        answers = dict(job.answers())
    assert answers["a"].text == "say a"
    (billed,) = provider.bill.records
    assert billed.custom_id is None
    assert int(result.cost_usd * 10**9) == billed.cost_nusd


def test_a_cancelled_batch_keeps_and_pays_what_was_done_and_the_rest_is_tried_again() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo, batches=BatchRules(least_seconds=1, most_seconds=1)) as provider:
        job = _job(provider, ledger)
        for number in range(40):
            job.add(str(number), f"say {number}")
        (batch,) = job.lane.flush()
        time.sleep(0.3)
        assert job.lane.cancel(batch.batch_id) is not None
        result = job.run()
        assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd
        assert job.lane.retry(batch.batch_id) == result.cancelled
        assert job.run().answered == 40
    assert ledger.account("default").settled.nusd == provider.bill.cost_nusd
    assert result.cancelled and result.answered
    assert result.cancelled + result.answered == 40


def test_files_at_the_provider_are_deleted_once_their_answers_are_stored() -> None:
    with ScriptedProvider(echo) as provider:
        job = _job(provider, Ledger())
        job.add("a", "say a")
        job.run()
        assert not provider.desk.files


def test_a_batch_that_the_provider_fails_for_one_line_is_sent_again_without_it() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo) as provider:
        job = _job(provider, ledger)
        for number in range(3):
            job.add(str(number), f"say {number}")
        item = job.lane.store.items()[1]
        body = job.lane.store.body(item.item_id)
        assert body is not None
        job.lane.store._file._db.execute(  # type: ignore[attr-defined]  # a body that the provider refuses
            "UPDATE batch_item SET body = ? WHERE id = ?",
            (body.replace(b"{", b'{"stream": true, ', 1), item.item_id),
        )
        result = job.run()
        refused = dict(job.refused())
    assert (result.answered, result.refused) == (2, 1)
    assert refused == {item.key: "invalid_body"}


def test_a_model_without_batches_says_so() -> None:
    with pytest.raises(ConfigError, match="has no batches"):
        BatchJob("n", model=ScriptedModel(script=in_turn("hello")), ledger=Ledger())


def test_a_client_that_is_killed_again_and_again_pays_each_request_once(tmp_path: Path) -> None:
    run = killed_run("openai", requests=60, kills=3, seed=2, folder=tmp_path)
    assert run.holds, run
    assert run.kills > 0


@pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")
@pytest.mark.parametrize("kind", [RedisServer, Cluster])
def test_a_job_waits_in_the_redis_of_its_ledger(
    kind: type[RedisServer | Cluster], tmp_path: Path
) -> None:
    server = kind(tmp_path)
    try:
        ledger = Ledger(server.address)
        rules = BatchRules(most_seconds=0.1, expire_rate=0.5, lose_after_rate=0.3, seed=4)
        with ScriptedProvider(echo, batches=rules) as provider:
            job = _job(provider, ledger, policy=replace(QUICK, most_requests=10))
            for number in range(30):
                job.add(str(number), f"say {number}")
            result = job.run()
            answers = {key: message.text for key, message in job.answers()}
        account = ledger.account("default")
        ledger.close()
        job.lane.store.close()
    finally:
        server.kill()
    assert answers == {str(n): f"say {n}" for n in range(30)}
    assert (account.settled.nusd, account.held.nusd) == (provider.bill.cost_nusd, 0)
    assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd
    assert max(provider.desk.accepted.values()) == 1


def test_a_ledger_that_is_let_go_of_takes_its_lane_with_it() -> None:
    ledger = Ledger()
    lane = lane_of(ledger)
    assert lane_of(ledger) is lane
    gone = weakref.ref(ledger)
    del ledger, lane
    gc.collect()
    assert gone() is None
