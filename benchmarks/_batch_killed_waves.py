"""Agent tasks of 3 to 8 steps as waves, whose process is killed at random and started again.

`python -m benchmarks._batch_killed_waves FOLDER URL WIRE TASKS` is the process that is killed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from agentkit.batch import Waves
from agentkit.budgets import Ledger
from benchmarks._batch_books import Books, books_of
from benchmarks._batch_client import QUICK, READY
from benchmarks._batch_kills import killed_until_done
from benchmarks._batch_waves import agent_of, requests_of, several_steps, steps_of
from tests.wire import BatchRules, ScriptedProvider

_ANSWERS = "answers.json"
_MOST_SECONDS = 1.5
_POLICY = replace(QUICK, most_requests=1_000, most_age_seconds=5.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class KilledWaves:
    """What came of one wire format; `steps` are the calls that a run without trouble takes."""

    wire: str
    tasks: int
    steps: int
    kills: int
    lost: int
    wrong_answers: int
    seconds: float
    books: Books

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        paid_once = self.books.agree and self.books.bills == self.steps
        return paid_once and not (self.lost or self.wrong_answers)


def killed_waves(
    wire: str, *, tasks: int, kills: int, seed: int, folder: Path, trouble: BatchRules
) -> KilledWaves:
    """Run the waves in a process that is killed up to `kills` times, until they have ended."""
    folder = folder / f"waves-{wire}"
    folder.mkdir()
    started = time.monotonic()
    rules = replace(trouble, seed=seed, invalid_rate=0.0)
    with ScriptedProvider(several_steps, batches=rules, keep_requests=1) as provider:
        killed = killed_until_done(
            "benchmarks._batch_killed_waves",
            [str(folder), provider.anthropic_url, wire, str(tasks)],
            kills=kills,
            most_seconds=_MOST_SECONDS,
            seed=seed,
        )
        answers: list[str | None] = json.loads((folder / _ANSWERS).read_text("utf-8"))
        requests = requests_of(tasks)
        return KilledWaves(
            wire=wire,
            tasks=tasks,
            steps=sum(map(steps_of, requests)),
            kills=killed,
            lost=answers.count(None),
            wrong_answers=sum(
                answer is not None and answer != expected(request)
                for request, answer in zip(requests, answers, strict=True)
            ),
            seconds=round(time.monotonic() - started, 1),
            books=books_of(provider, _ledger(folder), "default"),
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
