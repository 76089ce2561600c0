"""Agent tasks of 3 to 8 steps as waves, whose process is killed at random and started again.

`python -m benchmarks._batch_killed_waves FOLDER URL WIRE TASKS` is the process that is killed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agentkit.batch import Waves
from agentkit.budgets import Ledger
from benchmarks._batch_client import QUICK, READY
from benchmarks._batch_kills import killed_until_done
from benchmarks._batch_waves import agent_of, requests_of, several_steps, steps_of
from tests.wire import BatchRules, ScriptedProvider

_ANSWERS = "answers.json"
_MOST_SECONDS = 2.5
_POLICY = replace(QUICK, most_requests=1_000, most_age_seconds=5.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class KilledWaves:
    """What came of one wire format; `paid_again` are calls billed beyond one a step."""

    wire: str
    tasks: int
    steps: int
    kills: int
    lost: int
    wrong_answers: int
    sent_twice: int
    billed_twice: int
    paid_again: int
    settled_calls: int
    held_nusd: int
    unconfirmed_nusd: int
    ledger_nusd: int
    billed_nusd: int
    batches: int
    troubles: dict[str, int]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return (
            self.ledger_nusd == self.billed_nusd
            and self.settled_calls == self.steps
            and not (self.lost or self.wrong_answers or self.paid_again or self.held_nusd)
            and not (self.sent_twice or self.billed_twice)
        )


def killed_waves(
    wire: str, *, tasks: int, kills: int, seed: int, folder: Path, trouble: BatchRules
) -> KilledWaves:
    """Run the waves in a process that is killed up to `kills` times, until they have ended."""
    folder = folder / f"waves-{wire}"
    folder.mkdir()
    started = time.monotonic()
    rules = BatchRules(**{**asdict(trouble), "seed": seed, "invalid_rate": 0.0})
    with ScriptedProvider(several_steps, batches=rules, keep_requests=1) as provider:
        killed = killed_until_done(
            "benchmarks._batch_killed_waves",
            [str(folder), provider.anthropic_url, wire, str(tasks)],
            kills=kills,
            most_seconds=_MOST_SECONDS,
            seed=seed,
        )
        answers: list[str | None] = json.loads((folder / _ANSWERS).read_text("utf-8"))
        with_ledger = Ledger(_ledger(folder))
        account = with_ledger.account("default")
        with_ledger.close()
        requests = requests_of(tasks)
        records = provider.bill.records
        billed = Counter(str(record.custom_id).rpartition("-")[0] for record in records)
        steps = sum(map(steps_of, requests))
        return KilledWaves(
            wire=wire,
            tasks=tasks,
            steps=steps,
            kills=killed,
            lost=tasks - sum(answer is not None for answer in answers),
            wrong_answers=sum(
                answer is not None and answer != expected(request)
                for request, answer in zip(requests, answers, strict=True)
            ),
            sent_twice=sum(count > 1 for count in provider.desk.accepted.values()),
            billed_twice=sum(count > 1 for count in billed.values()),
            paid_again=len(records) - steps,
            settled_calls=account.settled.calls,
            held_nusd=account.held.nusd,
            unconfirmed_nusd=account.unconfirmed_nusd,
            ledger_nusd=account.settled.nusd,
            billed_nusd=provider.bill.cost_nusd,
            batches=len(provider.desk.batches),
            troubles=dict(provider.desk.dice.counts),
            seconds=round(time.monotonic() - started, 1),
        )


def expected(request: str) -> str:
    """The answer of a live run."""
    return f"{request} done after value {steps_of(request) - 2}"


def _ledger(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db?synchronous=NORMAL"


def main() -> None:
    """Begin the waves, or take them up where an earlier process was killed."""
    logging.disable(logging.WARNING)
    place, url, wire, tasks = sys.argv[1:]
    folder = Path(place)
    agent = agent_of(
        url, Ledger(_ledger(folder)), wire,
        checkpoint=f"sqlite:///{folder}/checkpoints.db?synchronous=NORMAL",
    )  # fmt: skip
    waves = Waves(agent, wait="20h", name="killed", policy=_POLICY)
    print(READY, flush=True)
    results = waves.run(requests_of(int(tasks)))
    answers = [each.result.answer if each.ok and each.result else None for each in results]
    lost = [str(each.to_dict()) for each in results if not each.ok]
    print(*lost, sep="\n", file=sys.stderr)
    (folder / _ANSWERS).write_text(json.dumps(answers), "utf-8")
    agent.ledger.close()


if __name__ == "__main__":
    main()
