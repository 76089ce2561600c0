"""Real processes killed while they spend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.budgets.redis_server import BINARY

_ROOT = Path(__file__).resolve().parents[2]


def _chaos(*options: str) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/chaos.py", "--json", *options]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=380)
    assert run.stdout, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


@pytest.mark.timeout(400)
@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
def test_budget_holds_while_workers_are_killed(store: str) -> None:
    if store == "redis" and BINARY is None:
        pytest.skip("redis-server is not installed")
    report = _chaos("--store", store, "--runs", "30", "--workers", "2", "--calls", "100")
    assert report["first_faults"] == []
    zeros = ("overshoot_runs", "violations", "undercount_nusd", "stuck_leases")
    assert {name: report[name] for name in zeros} == dict.fromkeys(zeros, 0)
    assert report["runs"] == 30
    assert report["kills"] >= 15
    assert report["utilisation"] >= 0.94


def test_same_load_breaks_a_ledger_that_checks_and_then_adds() -> None:
    """The load can be failed: a read, a call and an increment go over and forget."""
    peer = "check-then-increment"
    report = _chaos("--store", "memory", "--runs", "3", "--workers", "8", "--peer", peer)
    assert report["agentkit"]["violations"] == 0
    assert report[peer]["overshoot_runs"] > 0
    assert report[peer]["undercount_nusd"] > 0
