"""A job whose requests share a prefix, its client killed at random under every trouble."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agentkit.budgets.tokens import count_text
from benchmarks._batch_client import job_of
from benchmarks._batch_kills import killed_until_done
from benchmarks._batch_shared import checked
from tests.wire import BatchRules, ScriptedProvider

_MOST_SECONDS = 1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class KilledSeeds:
    """What came of it. Seeds of processes that died are held at their worst case for the minute of
    a lease, `held_nusd`, and then charged at it, `unconfirmed_nusd`; `seeds_nusd` is all that was
    charged for seeds. `job_nusd` are the job's own requests."""

    requests: int
    kills: int
    answered: int
    refused: int
    read: int
    sent_twice: int
    seeds: int
    seeds_nusd: int
    unconfirmed_nusd: int
    held_nusd: int
    seeds_billed_nusd: int
    job_nusd: int
    job_billed_nusd: int

    @property
    def holds(self) -> bool:
        """Whether each request was paid once as billed, and no seed below its bill."""
        covered = self.seeds_nusd + self.held_nusd >= self.seeds_billed_nusd
        whole = self.answered + self.refused == self.requests and not self.sent_twice
        return covered and whole and self.job_nusd == self.job_billed_nusd


def killed_seeds(
    *, requests: int, kills: int, seed: int, folder: Path, trouble: BatchRules
) -> KilledSeeds:
    """Run the client at Anthropic's rules, killing it up to `kills` times."""
    ledger = f"sqlite:///{folder}/shared.db?synchronous=NORMAL"
    rules = replace(trouble, seed=seed, concurrent=True)
    with ScriptedProvider(checked, count=count_text, batches=rules, keep_requests=1) as provider:
        url = provider.anthropic_url
        killed = killed_until_done(
            "benchmarks._batch_client",
            [ledger, url, "anthropic", str(requests), "shared"],
            kills=kills,
            most_seconds=_MOST_SECONDS,
            seed=seed,
        )
        job = job_of(ledger, url, "anthropic", shared=True)
        account, seeded = job.ledger.account("bench"), job.lane.seeded("bench")
        batched = [each for each in provider.bill.records if each.custom_id is not None]
        billed = sum(each.cost_nusd for each in batched)
        told = KilledSeeds(
            requests=requests,
            kills=killed,
            answered=sum(1 for _ in job.answers()),
            refused=sum(1 for _ in job.refused()),
            read=sum(bool(each.usage.cache_read_tokens) for each in batched),
            sent_twice=sum(count > 1 for count in provider.desk.accepted.values()),
            seeds=seeded.seeds,
            seeds_nusd=seeded.spent_nusd,
            unconfirmed_nusd=account.unconfirmed_nusd,
            held_nusd=account.held.nusd,
            seeds_billed_nusd=provider.bill.cost_nusd - billed,
            job_nusd=account.settled.nusd - seeded.spent_nusd,
            job_billed_nusd=billed,
        )
        job.ledger.close()
        return told
