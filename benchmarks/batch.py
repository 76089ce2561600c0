"""Batches under fire: a client that is killed again and again, and agents that advance in waves.

`python benchmarks/batch.py --json`: 5,000 requests through loopback batch servers of both wire
formats, the client killed by SIGKILL at random; the servers lose connections, refuse, fail single
requests and expire. Then 200 agent tasks of 3 to 8 steps, live and as waves; such waves killed at
random under the same trouble; and jobs whose requests share a prefix, seeded and not, one of them
killed, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._batch_books import Books, books_of
from benchmarks._batch_client import job_of
from benchmarks._batch_killed_seeds import KilledSeeds, killed_seeds
from benchmarks._batch_killed_waves import KilledWaves, killed_waves
from benchmarks._batch_kills import killed_until_done
from benchmarks._batch_seeds import seeded_run
from benchmarks._batch_waves import WavesRun, waves_runs
from tests.wire import BatchRules, ScriptedProvider, echo

_MOST_SECONDS = 1.2
_TROUBLE = BatchRules(
    least_seconds=0.1, most_seconds=1.5, refuse_rate=0.1, retry_after_seconds=0.1,
    lose_before_rate=0.1, lose_after_rate=0.1, lose_late_rate=0.05, late_seconds=0.5,
    error_rate=0.02, invalid_rate=0.005, expire_rate=0.1,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class KilledRun:
    """What came of one wire format."""

    wire: str
    requests: int
    kills: int
    answered: int
    refused: int
    wrong_answers: int
    seconds: float
    books: Books

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        paid_once = self.books.agree and self.books.bills == self.answered
        return (
            paid_once and self.answered + self.refused == self.requests and not self.wrong_answers
        )


def killed_run(wire: str, *, requests: int, kills: int, seed: int, folder: Path) -> KilledRun:
    """Run the client, killing it up to `kills` times at random moments, until it has done all."""
    ledger = f"sqlite:///{folder}/{wire}.db?synchronous=NORMAL"
    started = time.monotonic()
    with ScriptedProvider(echo, batches=replace(_TROUBLE, seed=seed), keep_requests=1) as provider:
        url = provider.anthropic_url
        killed = killed_until_done(
            "benchmarks._batch_client",
            [ledger, url, wire, str(requests)],
            kills=kills,
            most_seconds=_MOST_SECONDS,
            seed=seed,
        )
        job = job_of(ledger, url, wire)
        answers, refused = dict(job.answers()), dict(job.refused())
        job.ledger.close()
        return KilledRun(
            wire=wire,
            requests=requests,
            kills=killed,
            answered=len(answers),
            refused=len(refused),
            wrong_answers=sum(answers[key].text != f"Say the number {key}." for key in answers),
            seconds=round(time.monotonic() - started, 1),
            books=books_of(provider, ledger, "bench"),
        )


def main() -> int:
    """Print what was measured; 1 where a promise was broken."""
    options = _options()
    runs: list[KilledRun] = []
    with tempfile.TemporaryDirectory() as folder:
        for wire in options.wire or ("openai", "anthropic") if options.requests else ():
            run = killed_run(
                wire,
                requests=options.requests,
                kills=options.kills,
                seed=options.seed,
                folder=Path(folder),
            )
            runs.append(run)
            if not options.json:
                _tell(asdict(run))
    waves: list[WavesRun] = []
    for wire in options.wire or ("openai", "anthropic") if options.tasks else ():
        waves += waves_runs(wire, options.tasks)
    killed: list[KilledWaves] = []
    with tempfile.TemporaryDirectory() as folder:
        killed += [
            killed_waves(
                wire,
                tasks=options.killed_tasks,
                kills=options.kills,
                seed=options.seed,
                folder=Path(folder),
                trouble=_TROUBLE,
            )
            for wire in (options.wire or ("openai", "anthropic") if options.killed_tasks else ())
        ]
    wires = options.wire or ("openai", "anthropic")
    shared = [seeded_run(wire, requests) for wire in wires for requests in options.shared]
    sharing: list[KilledSeeds] = []
    if options.killed_sharing:
        with tempfile.TemporaryDirectory() as folder:
            sharing.append(
                killed_seeds(
                    requests=options.killed_sharing,
                    kills=options.kills,
                    seed=options.seed,
                    folder=Path(folder),
                    trouble=_TROUBLE,
                )
            )
    if options.json:
        told = {
            "killed": [asdict(run) | {"holds": run.holds} for run in runs],
            "waves": [asdict(run) for run in waves],
            "killed_waves": [asdict(run) | {"holds": run.holds} for run in killed],
            "shared_prefix": [asdict(run) for run in shared],
            "killed_sharing": [asdict(run) | {"holds": run.holds} for run in sharing],
        }
        print(json.dumps(told))
    else:
        for each in (*waves, *killed, *shared, *sharing):
            _tell(asdict(each))
    kept = all(run.holds for run in (*runs, *killed, *sharing))
    kept = kept and all(run.books_agree for run in shared)
    return 0 if kept and not any(_broken(run) for run in waves) else 1


def _broken(run: WavesRun) -> bool:
    dear = run.setting == "waves" and not 0.49 <= run.cost_share <= 0.51
    wrong = run.equal_answers != run.tasks or run.ledger_nusd != run.billed_nusd
    return dear or wrong or run.late > 0


def _tell(facts: dict[str, object]) -> None:
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), "\n", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=200, help="0 leaves the waves out")
    parser.add_argument(
        "--killed-tasks", type=int, default=60, help="tasks of the waves that are killed"
    )
    parser.add_argument(
        "--shared", type=int, nargs="*", default=[2, 4, 5, 10, 100, 1_000],
        help="requests of the jobs that share a prefix; none leaves them out",
    )  # fmt: skip
    parser.add_argument(
        "--killed-sharing", type=int, default=300, help="requests of the killed job that seeds"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wire", action="append", choices=("openai", "anthropic"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
