"""Fitting a calibration: what is recovered, what is refused, what is held out."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.budgets import Budget
from agentkit.budgets.ledger import Ledger
from agentkit.cascade import Calibration
from agentkit.errors import ConfigError
from agentkit.evals.fit import fit
from agentkit.evals.fit_rows import FitRow, rows_of_tasks

LOCAL = "local:pocket"


def rows(count: int, *, seed: int = 0, spread: float = 1.0, planted: float = 0.0) -> list[FitRow]:
    """Right with chance 1/(1+exp(-(1.5 + 2 sum + planted mark))), which `fit` is to find."""
    rng = random.Random(seed)
    found: list[FitRow] = []
    for number in range(count):
        total, mark = rng.gauss(0, spread), rng.gauss(0, 1)
        chance = 1 / (1 + math.exp(-(1.5 + 2 * total + planted * mark)))
        signals = {"sum_logprob": total, "mark": mark}
        found.append(FitRow(signals=signals, right=rng.random() < chance, group=str(number)))
    return found


def test_the_chance_that_made_the_rows_is_found() -> None:
    found = fit(rows(900), model=LOCAL, method="sum").calibration
    for total in (-2.0, -1.0, 0.0, 1.0):
        truth = 1 / (1 + math.exp(-(1.5 + 2 * total)))
        assert found.probability({"sum_logprob": total}) == pytest.approx(truth, abs=0.08)


def test_held_out_scores_beat_the_mean_and_are_not_of_the_rows_fitted() -> None:
    given = rows(400)
    found = fit(given, model=LOCAL)
    assert found.held_out.brier < found.base.brier
    assert found.held_out.rows == found.base.rows
    assert 60 < found.held_out.rows < 140
    trained = next(iter(found.cross_validated.values()))
    assert trained.rows + found.held_out.rows == len(given)
    assert found.calibration.rows == len(given)


def test_what_is_promised_is_kept_by_nearly_all_fits() -> None:
    """On fresh rows, which the fit has not seen; the bound is one of 90 %."""
    fresh, kept = rows(4_000, seed=99), 0
    for seed in range(20):
        found = fit(rows(300, seed=seed), model=LOCAL, method="sum").calibration
        floor = found.threshold(0.92)
        wrong = sum(found.probability(row.signals) >= floor and not row.right for row in fresh)
        kept += 1 - wrong / len(fresh) >= 0.92
    assert kept >= 16


def test_signals_that_say_nothing_lose_to_the_sum() -> None:
    found = fit(rows(300), model=LOCAL)
    assert found.method != "signals"
    assert "no better by more than chance" in found.why


def test_signals_that_say_much_win() -> None:
    found = fit(rows(300, planted=3.0), model=LOCAL)
    assert found.method == "signals"
    assert found.calibration.weights["mark"].weight > 0.5


def test_labels_of_chance_are_not_made_into_certainty() -> None:
    rng = random.Random(1)
    given = [
        FitRow(signals={"sum_logprob": rng.gauss(0, 1)}, right=rng.random() < 0.5, group=str(n))
        for n in range(400)
    ]
    found = fit(given, model=LOCAL)
    assert found.held_out.brier == pytest.approx(0.25, abs=0.03)
    assert found.calibration.threshold(0.98) > 0.5


def test_kept_answers_come_to_the_quality_that_is_promised() -> None:
    """On fresh rows of the same kind: what is above the threshold, and the rest put right."""
    found = fit(rows(500), model=LOCAL).calibration
    fresh = rows(3_000, seed=9)
    for quality in (0.9, 0.95):
        threshold = found.threshold(quality)
        kept = [row for row in fresh if found.probability(row.signals) >= threshold]
        wrong = sum(not row.right for row in kept)
        assert quality <= 1 - wrong / len(fresh) < quality + 0.05
        assert kept


def test_a_falling_signal_gives_a_rising_curve() -> None:
    given = [
        FitRow(signals={"surprise": -row.signals["sum_logprob"]}, right=row.right, group=row.group)
        for row in rows(400)
    ]
    found = fit(given, model=LOCAL, method="isotonic").calibration
    sure, unsure = found.probability({"surprise": -2.0}), found.probability({"surprise": 2.0})
    assert unsure < 0.4 < 0.9 < sure
    assert found.probability({}) <= unsure


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    found = fit(rows(300), model=LOCAL, made_of="a test").calibration
    found.write(tmp_path / "c.json")
    read = Calibration.read(tmp_path / "c.json")
    assert read == found
    assert (read.model, read.rows, read.made_of) == (LOCAL, 300, "a test")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (rows(40), "needs at least 60"),
        ([FitRow(signals={"a": 1.0}, right=True, group=str(n)) for n in range(99)], "0 wrong"),
    ],
)
def test_too_few_rows_are_refused(given: list[FitRow], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        fit(given, model=LOCAL)


def test_a_sum_that_is_not_there_cannot_be_fitted() -> None:
    given = [
        FitRow(signals={"mark": r.signals["mark"]}, right=r.right, group=r.group) for r in rows(200)
    ]
    with pytest.raises(ConfigError, match="log-probabilities"):
        fit(given, model=LOCAL, method="sum")
    assert fit(given, model=LOCAL).method == "signals"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger("memory://")
    yield made
    made.close()


def decided(ledger: Ledger, action: str, *, resolved: bool, model: str = LOCAL, n: int = 0) -> None:
    """A recorded task with one decision of its cascade."""
    task = ledger.open_task(budget=Budget(), request_digest=f"r{n}")
    data = {"action": action, "model": model, "signals": {"sum_logprob": -n / 10, "bad": "x"}}
    task.note("decision", "told", data=data)
    if resolved:
        task.close("resolved")
    else:
        task.close("answered", reason="check did not pass")


def test_recorded_tasks_give_the_answers_that_a_check_judged(ledger: Ledger) -> None:
    decided(ledger, "accept", resolved=True, n=1)
    decided(ledger, "accept", resolved=False, n=2)
    decided(ledger, "escalate", resolved=True, n=3)  # the cheap answer's own outcome is unknown
    decided(ledger, "accept", resolved=True, model="openai:gpt-5-mini", n=4)
    task = ledger.open_task(budget=Budget())
    task.note("decision", "told", data={"action": "accept", "model": LOCAL, "signals": {"a": 1}})
    task.close("answered")  # nobody checked
    found = rows_of_tasks(ledger.store, LOCAL)
    assert sorted((row.group, row.right) for row in found) == [("r1", True), ("r2", False)]
    assert all(set(row.signals) == {"sum_logprob"} for row in found)
