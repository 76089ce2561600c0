"""Prefixes seeded before a batch, at servers that work on its requests at once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from agentkit import Agent, Budget
from agentkit.batch import BatchJob, Seeded, Waves
from agentkit.batch.seeding import pays
from agentkit.budgets import Ledger
from agentkit.budgets.amount import Limits
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.price import PriceBook
from agentkit.budgets.tokens import count_text
from agentkit.cli import main
from tests.agentkit.batch_world import CLIENTS, QUICK
from tests.wire import BatchRules, Reply, ScriptedProvider, WireRequest
from tests.wire.bill import BilledRequest
from tests.wire.fault import Fault, FaultKind

SYSTEM = "You check orders, one after another, and say what is wrong with each. " * 400
SHORT = "You check orders, one after another, and say what is wrong with each. " * 200
TOGETHER = BatchRules(most_seconds=0.1, concurrent=True)


def look_up(number: int) -> str:
    """Look a number up."""
    return f"value {number}"


def two_steps(request: WireRequest) -> Reply:
    """A tool call and an answer; a seed is answered at once."""
    if request.messages[-1].text.startswith("Reply with OK"):
        return Reply(text="OK")
    if request.tool_turns < 1:
        return Reply(tool_calls=[("look_up", {"number": 1})])
    return Reply(text="done")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(two_steps, count=count_text, batches=TOGETHER) as running:
        yield running


def waves(
    provider: ScriptedProvider,
    tasks: int,
    *,
    wire: str = "anthropic",
    system: str = SYSTEM,
    seeds: bool = True,
    ledger: Ledger | None = None,
) -> Waves:
    """Waves that have been run."""
    agent = Agent(
        models=[CLIENTS[wire](provider)],
        tools=[look_up],
        system=system,
        budget=Budget(usd="1"),
        ledger=ledger or Ledger(),
    )
    policy = replace(QUICK, most_age_seconds=30, seeds=seeds)
    run = Waves(agent, wait="1h", policy=policy, scope="acme")
    assert all(mapped.ok for mapped in run.run([f"order {n}" for n in range(tasks)]))
    return run


def job(
    provider: ScriptedProvider, requests: int, *, budget: Budget | None = None, **more: object
) -> BatchJob:
    """A job with its requests queued."""
    settings: dict[str, object] = {
        "ledger": Ledger(), "system": SYSTEM, "scope": "acme", "wait": "1h", "policy": QUICK,
    }  # fmt: skip
    model = CLIENTS["anthropic"](provider)
    made = BatchJob("checks", model=model, budget=budget, **{**settings, **more})  # type: ignore[arg-type]  # as given
    for number in range(requests):
        made.add(f"order {number}", f"order {number}")
    return made


def in_batches(provider: ScriptedProvider) -> list[BilledRequest]:
    return [each for each in provider.bill.records if each.custom_id is not None]


def cached(provider: ScriptedProvider) -> Counter[str]:
    """How many requests of batches read, wrote, or neither."""
    return Counter(
        "read" if each.usage.cache_read_tokens
        else "wrote" if each.usage.cache_write_1h_tokens else "plain"
        for each in in_batches(provider)
    )  # fmt: skip


def books(ledger: Ledger) -> tuple[int, int]:
    account = ledger.account("acme")
    return account.settled.nusd, account.held.nusd


def test_a_wave_reads_the_prefix_that_was_seeded_before_it(provider: ScriptedProvider) -> None:
    lane = waves(provider, 12).lane
    assert cached(provider) == {"read": 24}
    assert books(lane.ledger) == (provider.bill.cost_nusd, 0)
    told = lane.seeded("acme")
    assert (told.seeds, told.reads, told.misses) == (2, 24, 0)
    assert told.saved_nusd > told.spent_nusd > 0
    with ScriptedProvider(two_steps, count=count_text, batches=TOGETHER) as other:
        bare = waves(other, 12, seeds=False).lane
    assert (cached(other), bare.seeded()) == ({"plain": 24}, Seeded())
    assert books(bare.ledger) == (other.bill.cost_nusd, 0)
    saved = other.bill.cost_nusd - provider.bill.cost_nusd
    assert saved == pytest.approx(told.saved_nusd - told.spent_nusd, abs=48)  # each bill rounds up


def test_the_second_seed_finds_the_first_and_keeps_it(provider: ScriptedProvider) -> None:
    waves(provider, 12)
    first, second = [each.usage for each in provider.bill.records if each.custom_id is None]
    assert first.cache_write_1h_tokens == second.cache_read_tokens > 4_096
    assert second.cache_write_1h_tokens == 0


@pytest.mark.parametrize(("requests", "seeds"), [(4, 0), (5, 1)])
def test_a_seed_is_sent_from_five_requests_on(
    provider: ScriptedProvider, requests: int, seeds: int
) -> None:
    made = job(provider, requests)
    result = made.run()
    assert made.lane.seeded().seeds == seeds
    assert cached(provider) == ({"read": requests} if seeds else {"plain": requests})
    assert int(result.cost_usd * 10**9) == provider.bill.cost_nusd
    assert books(made.ledger) == (provider.bill.cost_nusd, 0)


def test_what_pays_follows_from_the_prices() -> None:
    prices = PriceBook()
    live = prices.price("claude-haiku-4-5", "anthropic")
    in_batch = prices.batch_price("claude-haiku-4-5", "anthropic")
    least = next(n for n in range(1, 100) if pays(live, in_batch, 5_000, n))
    assert least == 5  # 2 x the input price against .45 x for each
    assert not pays(live, in_batch, 5_000, 1_000, read_share=0.52)
    assert pays(live, in_batch, 5_000, 1_000, read_share=0.54)


def test_a_prefix_that_is_too_short_to_be_cached_is_not_seeded(provider: ScriptedProvider) -> None:
    assert count_text(SHORT) < 4_096
    made = job(provider, 20, system=SHORT)
    made.run()
    assert made.lane.seeded() == Seeded()
    assert cached(provider) == {"plain": 20}


@pytest.mark.parametrize("wire", ["openai", "openai responses"])
def test_openai_is_sent_no_seed(provider: ScriptedProvider, wire: str) -> None:
    lane = waves(provider, 12, wire=wire).lane
    assert lane.seeded() == Seeded()
    assert len(in_batches(provider)) == len(provider.bill.records) == 24
    assert books(lane.ledger) == (provider.bill.cost_nusd, 0)


def test_requests_with_breakpoints_of_their_own_are_left_as_they_are(
    provider: ScriptedProvider,
) -> None:
    from langchain_core.messages import HumanMessage, SystemMessage

    marked = {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral", "ttl": "5m"}}
    made = job(provider, 0, system="")
    for number in range(10):
        made.add(f"{number}", [SystemMessage([marked]), HumanMessage(f"order {number}")])
    made.run()
    assert made.lane.seeded() == Seeded()
    written = [each.usage.cache_write_5m_tokens for each in in_batches(provider)]
    assert min(written) > 4_096
    assert books(made.ledger) == (provider.bill.cost_nusd, 0)


def test_a_budget_without_room_for_the_seed_sends_the_batch_without(
    provider: ScriptedProvider,
) -> None:
    made = job(provider, 8)
    made.ledger.set_limits("acme", Limits(calls=8))
    assert made.run().answered == 8
    assert cached(provider) == {"plain": 8}
    assert books(made.ledger) == (provider.bill.cost_nusd, 0)


def test_the_budget_of_a_job_holds_for_its_seed(provider: ScriptedProvider) -> None:
    made = job(provider, 8, budget=Budget(usd="1"))
    made.run()
    seeds = made.ledger.store.sum_calls(("scope",), JournalFilter(tags={"warming": "seed"}))
    assert [key[0] for key, _ in seeds] == [made.task.path]


def test_tenants_pay_for_no_seed_that_would_not_pay_for_them(provider: ScriptedProvider) -> None:
    ledger = Ledger()
    model = CLIENTS["anthropic"](provider)
    jobs = [
        BatchJob(
            f"of {scope}", model=model, ledger=ledger, scope=scope, system=SYSTEM, policy=QUICK,
            wait="1h",
        )
        for scope in ("acme", "beta")
    ]  # fmt: skip
    for made in jobs:
        for number in range(4):
            made.add(f"{number}", f"order {number}")
    for made in jobs:
        made.run()
    assert cached(provider) == {"plain": 8}


def test_what_was_not_read_lately_is_not_seeded_again() -> None:
    hours = itertools.count(0.0, 7_200.0)  # the cache forgets before it is looked up again
    heard: list[str] = []
    ledger = Ledger(on_event=lambda event: heard.append(event.kind))
    with ScriptedProvider(
        two_steps, count=count_text, batches=TOGETHER, clock=lambda: next(hours)
    ) as provider:
        waves(provider, 12, ledger=ledger)
        assert cached(provider) == {"wrote": 12, "plain": 12}
        told = waves(provider, 12, ledger=ledger).lane.seeded()
    assert cached(provider) == {"wrote": 12, "plain": 36}
    assert (told.seeds, told.reads, told.misses) == (1, 0, 12)
    assert told.saved_nusd < 0
    assert "overrun" not in heard  # what was held covers a miss
    assert books(ledger) == (provider.bill.cost_nusd, 0)


def failing(kind: FaultKind) -> Callable[[WireRequest], Reply]:
    """Seeds meet this fault."""

    def script(request: WireRequest) -> Reply:
        if request.messages[-1].text.startswith("Reply with OK"):
            return Reply(fault=Fault(kind=kind))
        return Reply(text="fine")

    return script


def test_a_seed_that_fails_is_not_charged_and_the_batch_goes_without() -> None:
    with ScriptedProvider(failing("overloaded"), count=count_text, batches=TOGETHER) as provider:
        made = job(provider, 8)
        result = made.run()
    assert result.answered == 8
    assert cached(provider) == {"plain": 8}
    assert result.cost_usd * 10**9 == Decimal(provider.bill.cost_nusd)
    assert books(made.ledger) == (provider.bill.cost_nusd, 0)


def test_a_seed_that_nobody_heard_the_answer_of_is_charged_at_its_worst_case() -> None:
    with ScriptedProvider(failing("reset_billed"), count=count_text, batches=TOGETHER) as provider:
        made = job(provider, 8)
        result = made.run()
    assert (result.answered, cached(provider)) == (8, {"plain": 8})
    told = made.lane.seeded()
    seed = next(each for each in provider.bill.records if each.custom_id is None)
    assert told.spent_nusd >= seed.cost_nusd > 0
    assert made.ledger.account("acme").unconfirmed_nusd == told.spent_nusd
    batched = sum(each.cost_nusd for each in in_batches(provider))
    assert books(made.ledger) == (batched + told.spent_nusd, 0)


def test_a_submission_that_is_tried_again_is_seeded_once() -> None:
    rules = replace(TOGETHER, refuse_rate=0.6, retry_after_seconds=0.02, seed=3)
    with ScriptedProvider(two_steps, count=count_text, batches=rules) as provider:
        made = job(provider, 8)
        made.run()
    assert provider.desk.dice.counts["refuse"] > 0
    assert made.lane.seeded().seeds == 1
    assert cached(provider) == {"read": 8}


def test_the_balance_is_listed(
    provider: ScriptedProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db?synchronous=NORMAL"
    made = job(provider, 8, ledger=Ledger(address))
    made.run()
    made.ledger.close()
    made.lane.store.close()
    assert main(["batch", "list", "--ledger", address]) == 0
    assert "1 prefix seeded for $0.0" in capsys.readouterr().out
    assert main(["batch", "list", "--ledger", address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seeded"]["reads"] == 8
