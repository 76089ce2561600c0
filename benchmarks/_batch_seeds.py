"""Jobs whose requests share a prefix, with what they share seeded before the batch and without."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentkit.batch import BatchJob, BatchPolicy
from agentkit.budgets import Ledger
from agentkit.budgets.tokens import count_text
from benchmarks._batch_shared import checked, shared_system
from tests.wire import BatchRules, ScriptedProvider
from tests.wire.client import anthropic_client, openai_client

_AT_ONCE = BatchRules(concurrent=True)
_QUICK = BatchPolicy(poll_seconds=0.02, longest_poll_seconds=0.02)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeededRun:
    """The same job twice: where seeding may decide, and where it is switched off.

    Of the `requests` of the first, `read` found the prefix in the cache. Costs are the server's.
    """

    wire: str
    requests: int
    prefix_tokens: int
    seeds: int
    read: int
    seeds_nusd: int
    saved_nusd: int
    cost_nusd: int
    unseeded_nusd: int
    books_agree: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """A job that has ended."""

    job: BatchJob
    read: int
    cost_nusd: int

    @property
    def books_agree(self) -> bool:
        account = self.job.ledger.account("bench")
        return (account.settled.nusd, account.held.nusd) == (self.cost_nusd, 0)


def seeded_run(wire: str, requests: int) -> SeededRun:
    """A job of so many requests, with seeds and without."""
    seeded, bare = _ended(wire, requests, seeds=True), _ended(wire, requests, seeds=False)
    told = seeded.job.lane.seeded("bench")
    return SeededRun(
        wire=wire,
        requests=requests,
        prefix_tokens=count_text(shared_system()),
        seeds=told.seeds,
        read=seeded.read,
        seeds_nusd=told.spent_nusd,
        saved_nusd=told.saved_nusd,
        cost_nusd=seeded.cost_nusd,
        unseeded_nusd=bare.cost_nusd,
        books_agree=seeded.books_agree and bare.books_agree,
    )


def _ended(wire: str, requests: int, *, seeds: bool) -> _Job:
    client = anthropic_client if wire == "anthropic" else openai_client
    with ScriptedProvider(checked, count=count_text, batches=_AT_ONCE) as provider:
        job = BatchJob(
            "checks",
            model=client(provider),
            ledger=Ledger(),
            scope="bench",
            system=shared_system(),
            policy=replace(_QUICK, seeds=seeds),
        )
        for number in range(requests):
            job.add(f"{number}", f"Order {number}: 12 lamps, 3 chairs, 24 November.")
        job.run()
        records = provider.bill.records
        read = sum(bool(each.usage.cache_read_tokens) for each in records if each.custom_id)
        return _Job(job=job, read=read, cost_nusd=provider.bill.cost_nusd)
