"""Batches under fire: a client that is killed again and again, and agents that advance in waves.

`python benchmarks/batch.py --json`: 5,000 requests through loopback batch servers of both wire
formats, the client killed by SIGKILL at random; the servers lose connections, refuse, fail single
requests and expire. Then 200 agent tasks of 3 to 8 steps, live and as waves.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agentkit.budgets import Ledger
from benchmarks._batch_client import READY, job_of
from benchmarks._batch_waves import WavesRun, waves_runs
from tests.wire import BatchRules, ScriptedProvider, echo

_LONGEST_SECONDS = 1_800.0
_ROOT = Path(__file__).resolve().parent.parent
_TROUBLE = BatchRules(
    least_seconds=0.1, most_seconds=1.5, refuse_rate=0.1, retry_after_seconds=0.1,
    lose_before_rate=0.1, lose_after_rate=0.1, error_rate=0.02, invalid_rate=0.005,
    expire_rate=0.1,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class KilledRun:
    """What came of one wire format. `sent_twice` are requests of which the provider accepted the
    same attempt twice, `billed_twice` those that it billed more than once."""

    wire: str
    requests: int
    kills: int
    answered: int
    refused: int
    unaccounted: int
    sent_twice: int
    billed_twice: int
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
            and self.answered + self.refused == self.requests
            and self.settled_calls == self.answered
            and not (self.sent_twice or self.billed_twice or self.held_nusd or self.unaccounted)
        )


def killed_run(wire: str, *, requests: int, kills: int, seed: int, folder: Path) -> KilledRun:
    """Run the client, killing it up to `kills` times at random moments, until it has done all."""
    ledger = f"sqlite:///{folder}/{wire}.db?synchronous=NORMAL"
    dice = random.Random(seed)
    started = time.monotonic()
    rules = BatchRules(**{**asdict(_TROUBLE), "seed": seed})
    killed = 0
    with ScriptedProvider(echo, batches=rules, keep_requests=1) as provider:
        url = provider.anthropic_url
        command = [
            sys.executable, "-m", "benchmarks._batch_client", ledger, url, wire, str(requests)
        ]  # fmt: skip
        while True:
            if time.monotonic() - started > _LONGEST_SECONDS:
                raise TimeoutError(f"the job did not end in {_LONGEST_SECONDS:.0f} s")
            with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as client:
                if client.stdout is None or client.stdout.readline().strip() != READY.encode():
                    raise RuntimeError("the client did not start")
                try:
                    status = client.wait(_moment(dice) if killed < kills else None)
                except subprocess.TimeoutExpired:
                    client.kill()
                    killed += 1
                    continue
            if status != 0:
                raise RuntimeError(f"the client ended with status {status}")
            break
        return _read(wire, ledger, url, provider, requests, killed, time.monotonic() - started)


def _moment(dice: random.Random) -> float:
    """Seconds from when a client begins to work until it is killed."""
    return dice.uniform(0.02, 1.2)


def _read(
    wire: str,
    address: str,
    url: str,
    provider: ScriptedProvider,
    requests: int,
    kills: int,
    seconds: float,
) -> KilledRun:
    job = job_of(address, url, wire)
    answers = dict(job.answers())
    wrong = sum(answers[key].text != f"Say the number {key}." for key in answers)
    refused = dict(job.refused())
    job.ledger.close()
    ledger = Ledger(address)
    account = ledger.account("bench")
    ledger.close()
    billed = Counter(str(record.custom_id).rpartition("-")[0] for record in provider.bill.records)
    return KilledRun(
        wire=wire,
        requests=requests,
        kills=kills,
        answered=len(answers),
        refused=len(refused),
        unaccounted=wrong,
        sent_twice=sum(count > 1 for count in provider.desk.accepted.values()),
        billed_twice=sum(count > 1 for count in billed.values()),
        settled_calls=account.settled.calls,
        held_nusd=account.held.nusd,
        unconfirmed_nusd=account.unconfirmed_nusd,
        ledger_nusd=account.settled.nusd,
        billed_nusd=provider.bill.cost_nusd,
        batches=len(provider.desk.batches),
        troubles=dict(provider.desk.dice.counts),
        seconds=round(seconds, 1),
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
    if options.json:
        killed = [asdict(run) | {"holds": run.holds} for run in runs]
        print(json.dumps({"killed": killed, "waves": [asdict(run) for run in waves]}))
    else:
        for each in waves:
            _tell(asdict(each))
    return 0 if all(run.holds for run in runs) and not any(_broken(run) for run in waves) else 1


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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wire", action="append", choices=("openai", "anthropic"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
