"""A report's figures, from results with obvious arithmetic."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from agentkit.evals.case_result import CaseResult
from agentkit.evals.comparison import CaseMark, compare, marks_of
from agentkit.evals.curve import curve_of
from agentkit.evals.interval import paired_p_value, wilson
from agentkit.evals.report import Report, figures_of, report_of
from agentkit.evals.results import RunRecord

RUN = RunRecord(
    number=2, token="t", digest="d", started_at=0.0, ended_at=None, facts={"name": "n", "cases": 4}
)


def result(setting: str, case: int, *, passed: bool, cost: int = 0, **more: Any) -> CaseResult:
    facts: dict[str, Any] = {
        "score": float(passed), "kind": None if passed else "wrong answer", "detail": "",
        "outcome": "answered", "answer": "a", "tier": 0,
    }  # fmt: skip
    return CaseResult(
        setting=setting, case_id=str(case), passed=passed, cost_nusd=cost, **{**facts, **more}
    )


def report(results: list[CaseResult], quality: float = 0.75) -> Report:
    return report_of(RUN, results, settings=["cheap", "dear", "cascade"], cases=4, quality=quality)


def test_the_interval_is_wilsons() -> None:
    """Against the values of Newcombe (1998), table I."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_paired_test_is_exact() -> None:
    assert paired_p_value(0, 0) == 1.0
    assert paired_p_value(0, 5) == pytest.approx(2 / 32)
    assert paired_p_value(3, 3) == 1.0
    assert paired_p_value(0, 3000) == pytest.approx(0.0)


def test_cost_per_resolved_case_counts_what_failed() -> None:
    figures = figures_of("dear", [result("dear", n, passed=n < 2, cost=100) for n in range(4)])
    assert (figures.quality, figures.per_case_nusd, figures.per_resolved_nusd) == (0.5, 100, 200)
    assert figures.failures == {"wrong answer": 2}
    low, high = figures.per_resolved_range or (0, None)
    assert low < 200 < (high or 1e9)


def test_a_price_that_is_not_known_is_never_the_cheapest() -> None:
    rows = [result("cheap", n, passed=True, unpriced=True) for n in range(4)]
    rows += [result("dear", n, passed=True, cost=9) for n in range(4)]
    told = report(rows)
    assert told.cheapest == "dear"
    assert not told.settings[0].is_priced


def test_the_cheapest_setting_that_holds_the_quality_is_chosen() -> None:
    rows = [result("cheap", n, passed=n < 2, cost=1) for n in range(4)]
    rows += [result("dear", n, passed=True, cost=100) for n in range(4)]
    rows += [result("cascade", n, passed=n < 3, cost=40) for n in range(4)]
    told = report(rows, 0.75)
    assert (told.cheapest, told.cheapest_is_sure) == ("cascade", False)
    assert report(rows, 0.5).cheapest == "cheap"
    assert report(rows, 0.9).cheapest == "dear"
    assert report(rows[:4], 0.9).cheapest is None


def test_what_the_runs_money_cut_short_is_missing_and_not_wrong() -> None:
    rows = [result("cheap", 0, passed=True), result("cheap", 1, passed=False, stopped=True)]
    told = report(rows)
    assert (told.settings[0].cases, told.settings[0].quality) == (1, 1.0)
    assert (told.stopped, told.missing) == (1, 11)


def test_a_curve_takes_what_is_sure_and_passes_on_the_rest() -> None:
    """The cheap model is right where it is sure; each dear answer costs 10, each cheap one 1."""
    rows = [result("cheap", n, passed=n >= 4, cost=1, confidence=n / 10, tier=0) for n in range(10)]
    rows += [result("dear", n, passed=n != 0, cost=10) for n in range(10)]
    curve = curve_of("cheap", "dear", rows)
    assert curve is not None
    points = {p.threshold: (p.quality, p.per_case_nusd, p.escalated) for p in curve.points}
    assert points[0.0] == (0.6, 1.0, 0.0)
    assert points[0.4] == (0.9, 5.0, 0.4)
    assert points[None] == (0.9, 11.0, 1.0)
    best = curve.cheapest(0.9)
    assert best is not None
    assert best.threshold == 0.4


def test_an_answer_that_was_never_given_is_always_passed_on() -> None:
    rows = [
        result("cheap", n, passed=n > 2, cost=1, confidence=0.9 + n / 100, tier=-(n <= 2))
        for n in range(6)
    ]
    rows += [result("dear", n, passed=True, cost=10) for n in range(6)]
    curve = curve_of("cheap", "dear", rows)
    assert curve is not None
    assert curve.points[0].escalated == 0.5


def test_runs_are_compared_case_by_case() -> None:
    def marks(passed: str, cost: int) -> list[CaseMark]:
        return [
            CaseMark(setting="m", case_id=str(n), passed=p == "1", cost_nusd=cost)
            for n, p in enumerate(passed)
        ]

    (change,) = compare(marks("110011", 10), marks("10011", 5), with_run="run 1").settings
    assert change.cases == 5
    assert (change.newly_wrong, change.newly_right) == (("1",), ("3",))
    assert (change.quality_before, change.quality_after) == (3 / 5, 3 / 5)
    assert change.p_value == 1.0
    assert (change.per_case_before_nusd, change.per_case_after_nusd) == (10, 5)


def test_a_report_can_be_compared_with_from_its_json() -> None:
    rows = [
        result(setting, n, passed=n > 0, cost=1_000_000)
        for setting, n in product(("cheap", "dear"), range(4))
    ]
    marks = marks_of(report(rows).to_dict()["results"])
    assert marks[0] == CaseMark(setting="cheap", case_id="0", passed=False, cost_nusd=1_000_000)
    assert len(marks) == 8
