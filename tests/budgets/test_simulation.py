"""The simulation of workers over a ledger: the stores hold, and broken copies of them do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agentkit.budgets.stores.memory import MemoryStore
from benchmarks._chaos_stores import StoreKind, Stores
from benchmarks._mutants import MUTANTS
from benchmarks._simulation import HARNESS, Simulation, StoreFactory
from benchmarks.simulate import factory_of
from tests.budgets.redis_server import BINARY

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("kind", "seeds"), [("memory", 300), ("sqlite", 60), ("redis", 30)])
def test_store_keeps_every_rule_in_every_seed(kind: StoreKind, seeds: int) -> None:
    if kind == "redis" and BINARY is None:
        pytest.skip("redis-server is not installed")
    with Stores(kind) as stores:
        _keeps_every_rule(factory_of(stores), seeds)


def _keeps_every_rule(factory: StoreFactory, seeds: int) -> None:
    """Also: each kind of fault has happened, or the seeds would show nothing."""
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        outcome = Simulation(seed, factory).run()
        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"
        counts.update(outcome.counts)
    faults = ("drops", "duplicates", "slow messages", "crashes", "cuts", "refusals")
    assert all(counts[fault] > seeds / 10 for fault in faults), counts
    assert counts["calls"] > 3 * seeds


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_verb_is_caught_within_a_thousand_seeds(name: str) -> None:
    for seed in range(1_000):
        violation = Simulation(seed, MUTANTS[name]).run().violation
        if violation is not None:
            assert violation.rule != HARNESS, violation
            return
    pytest.fail(f"{name!r} got away")


def test_older_renewal_after_the_one_that_sends() -> None:
    """The seed that found a store which unsent money, and gave it back when its worker died."""
    assert Simulation(270, MemoryStore).run().violation is None
    broken = Simulation(270, MUTANTS["renew: unsends what was sent"]).run()
    assert broken.violation is not None
    assert broken.violation.rule == "settlement"


def test_seed_replays() -> None:
    first, second = (Simulation(270, MUTANTS["expire: never"]).run() for _ in range(2))
    assert first.counts == second.counts
    assert str(first.violation) == str(second.violation)


def test_command_line_tells_of_the_seeds() -> None:
    command = [sys.executable, "benchmarks/simulate.py", "--seeds", "20", "--first", "7", "--json"]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    report = json.loads(run.stdout)
    assert (run.returncode, report["seeds"], report["violations"]) == (0, 20, 0)
    assert report["first_violations"] == {}
