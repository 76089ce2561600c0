"""A client of the batch benchmark: adds its requests to a job and waits for their answers.

It is killed at random and started again: `python -m benchmarks._batch_client LEDGER URL WIRE N`.
With `shared` behind them, all requests begin with the same long system text.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, replace

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agentkit.batch import BatchJob, BatchPolicy
from agentkit.budgets import Budget, Ledger
from benchmarks._batch_shared import shared_system

JOB = "killed"
READY = "ready"
_MOST_SHARING = 50
QUICK = BatchPolicy(
    most_requests=250,
    usual_seconds=1.0,
    live_seconds=1.0,
    poll_seconds=0.1,
    longest_poll_seconds=0.2,
    claim_seconds=0.6,
    uncertain_seconds=0.3,
    late_seconds=1.0,
)


def model_of(wire: str, url: str) -> BaseChatModel:
    """The real client library, pointed at the loopback server."""
    if wire == "openai":
        return ChatOpenAI.model_validate(
            {"model": "gpt-5-mini", "base_url": f"{url}/v1", "api_key": SecretStr("test"),
             "max_retries": 0, "max_tokens": 200, "timeout": 30}
        )  # fmt: skip
    return ChatAnthropic.model_validate(
        {"model": "claude-haiku-4-5", "base_url": url, "api_key": SecretStr("test"),
         "max_retries": 0, "max_tokens": 200, "timeout": 30}
    )  # fmt: skip


def job_of(ledger: str, url: str, wire: str, *, shared: bool = False) -> BatchJob:
    """The job, as every process of it opens it."""
    policy = replace(QUICK, most_requests=_MOST_SHARING) if shared else QUICK
    return BatchJob(
        f"{JOB} {wire}",
        model=model_of(wire, url),
        ledger=Ledger(ledger),
        budget=Budget(usd="1000"),
        scope="bench",
        wait="20h",
        policy=policy,
        system=shared_system() if shared else "",
    )


def main() -> None:
    """Adds what is not there yet, a part at a time, and waits for the rest."""
    logging.disable(logging.WARNING)
    ledger, url, wire, requests, *shared = sys.argv[1:]
    job = job_of(ledger, url, wire, shared=bool(shared))
    print(READY, flush=True)
    known = sum(asdict(job.lane.progress(job.task.task_id)).values())
    for number in range(max(0, known - 1), int(requests)):
        job.add(str(number), f"Say the number {number}.")
        if number % 250 == 0:
            job.lane.tick()
    job.run()
    job.ledger.close()


if __name__ == "__main__":
    main()
