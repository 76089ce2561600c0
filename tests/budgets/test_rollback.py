"""Stories of a Redis that forgets: the ledger holds, and broken copies of the recovery do not."""

from __future__ import annotations

import pytest

from benchmarks._rollback import LOSERS, Ways, roll_back, rollback_caught_after
from tests.budgets.redis_server import BINARY

pytestmark = pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")


def test_nothing_is_spent_again_whatever_the_server_forgets() -> None:
    report = roll_back(range(15))
    assert report["first_violations"] == {}
    assert all(report[kind] for kind in ("flush", "disk", "cut", "keys", "restart")), report


def test_story_of_a_cut_log_and_lost_keys() -> None:
    """Seeds that found spending which an earlier version let pass."""
    report = roll_back(range(327, 329))
    assert report["first_violations"] == {}


def test_story_of_a_call_that_ended_in_one_recovery_and_was_brought_back_late_in_the_next() -> None:
    """A seed that found its end counted twice: below what was billed."""
    report = roll_back(range(63, 64), ways=Ways(overlapping=True))
    assert report["first_violations"] == {}


def test_nothing_stays_held_when_workers_die_too() -> None:
    report = roll_back(range(8), ways=Ways(deaths=True))
    assert report["first_violations"] == {}
    assert report["deaths"]


@pytest.mark.parametrize("name", LOSERS)
def test_broken_recovery_is_caught(name: str) -> None:
    assert rollback_caught_after(LOSERS[name], range(30)) is not None
