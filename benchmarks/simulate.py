"""Deterministic simulation of workers over a ledger: one seed replays one failure.

Run `python benchmarks/simulate.py --seeds 1000` for a table, `--json` for numbers, `--first 77
--seeds 1` to replay a seed, `--mutants` to see that broken copies of each verb are caught. With
`--rollback`, workers spend from a real redis-server that is emptied, cut short, restarted and
robbed of keys; `--deaths` lets workers die with all they knew, `--overlapping` does not wait for
one loss to be over.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agentkit.budgets.stores.memory import MemoryStore
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.sqlite import SqliteStore
from benchmarks._chaos_stores import StoreKind, Stores
from benchmarks._mutants import MUTANTS
from benchmarks._rollback import LOSERS, Ways, roll_back, rollback_caught_after
from benchmarks._simulation import HARNESS, Outcome, Simulation, StoreFactory

_SHOWN = 10


def main() -> int:
    """Run the seeds; the exit status is 1 where a rule was broken or a mutant got away."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--store", choices=get_args(StoreKind), default="memory")
    parser.add_argument("--mutants", action="store_true", help="how soon broken verbs are caught")
    parser.add_argument("--rollback", action="store_true", help="a Redis that forgets")
    parser.add_argument("--deaths", action="store_true")
    parser.add_argument("--overlapping", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    report: Mapping[str, object]
    if options.rollback and options.mutants:
        report = {name: rollback_caught_after(make, seeds) for name, make in LOSERS.items()}
    elif options.rollback:
        ways = Ways(deaths=options.deaths, overlapping=options.overlapping)
        report = roll_back(seeds, ways=ways)
    elif options.mutants:
        report = {name: caught_after(factory, seeds) for name, factory in MUTANTS.items()}
    else:
        with Stores(options.store) as stores:
            report = simulate(factory_of(stores), seeds)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:40}{value!s}")
    bad = None in report.values() if options.mutants else bool(report["violations"])
    return int(bad)


def factory_of(stores: Stores) -> StoreFactory:
    """Makes empty stores that take their time from the simulation."""
    if stores.kind == "memory":
        return MemoryStore
    if stores.kind == "sqlite":
        return lambda clock: SqliteStore(":memory:", synchronous="NORMAL", clock=clock)
    return lambda clock: RedisStore(stores.fresh(), clock=clock)


def simulate(factory: StoreFactory, seeds: range) -> dict[str, object]:
    """What happened over `seeds`, and the first of those that broke a rule."""
    began = time.monotonic()
    counts: Counter[str] = Counter()
    broken: list[Outcome] = []
    for seed in seeds:
        outcome = Simulation(seed, factory).run()
        counts.update(outcome.counts)
        if outcome.violation is not None:
            broken.append(outcome)
    return {
        "seeds": len(seeds),
        "violations": len(broken),
        **{name.replace(" ", "_"): count for name, count in sorted(counts.items())},
        "seconds": round(time.monotonic() - began, 1),
        "first_violations": {str(o.seed): str(o.violation) for o in broken[:_SHOWN]},
    }


def caught_after(factory: StoreFactory, seeds: range) -> tuple[int, str] | None:
    """How many of `seeds` it took until a rule was broken, and which; None where none was."""
    for number, seed in enumerate(seeds, start=1):
        violation = Simulation(seed, factory).run().violation
        if violation is not None and violation.rule != HARNESS:
            return number, violation.rule
    return None


if __name__ == "__main__":
    sys.exit(main())
