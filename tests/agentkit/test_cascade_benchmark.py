"""What benchmarks/cascade.py reckons with, on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langchain_core.messages import HumanMessage

from agentkit.cascade import Cascade
from benchmarks._cascade_figures import (
    Outcome,
    auroc,
    brier,
    calibration_error,
    is_monotone,
    setting_figures,
)
from benchmarks._cascade_frontier import Frontier
from benchmarks._cascade_hints import problems
from benchmarks._cascade_rows import Row

PLAY = Row(text="play Abbey Road", name="play_music", arguments={"album": "Abbey Road"})


def test_auroc_counts_pairs_in_order_and_half_of_the_ties() -> None:
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 3.5 / 4


def test_errors_of_chances() -> None:
    chances, right = [0.8] * 10, [True] * 5 + [False] * 5
    assert brier(chances, right) == pytest.approx((5 * 0.04 + 5 * 0.64) / 10)
    assert calibration_error([0.8] * 100, ([True] * 4 + [False]) * 20) == pytest.approx(0.2 * 8 / 5)
    assert calibration_error([0.0] * 50 + [1.0] * 50, [False] * 50 + [True] * 50) == 0


def test_the_cost_of_wrong_answers_is_borne_by_the_right_ones() -> None:
    kept = Outcome(
        right=True, asked_frontier=False, cost_nusd=0, first_nusd=0, alone_nusd=100,
        alone_first_nusd=50,
    )  # fmt: skip
    wrong = replace(kept, right=False)
    up = replace(kept, asked_frontier=True, cost_nusd=120, first_nusd=50)
    half = [kept] * 5 + [wrong] * 2 + [up] * 3
    figures = setting_figures(0.95, [half, half], 10)
    assert figures["end_quality"] == 0.8
    assert figures["asked_frontier"] == 0.3
    assert figures["saved"] == pytest.approx(1 - (3 * 120 / 8) / 100)
    assert figures["saved_relayed"] == pytest.approx(1 - (3 * 50 / 8) / 100, abs=1e-4)
    assert figures["saved_of_one_call"] == pytest.approx(1 - (3 * 50 / 8) / 50)
    assert figures["interval"] == [0.4902, 0.9433]  # of 10 rows, not of 20
    assert figures["met"] is False
    assert figures["halves_met"] == 0


def test_a_curve_that_falls_is_not_monotone() -> None:
    rising = [
        {"end_quality": 0.90, "asked_frontier": 0.3},
        {"end_quality": 0.90, "asked_frontier": 0.4},
    ]
    assert is_monotone(rising)
    assert not is_monotone(rising[::-1])


def test_every_problem_is_solved_by_its_worked_answer() -> None:
    asked = problems(60)
    assert len({each.text for each in asked}) == 60
    assert asked == problems(60)
    assert all(each.is_met_by(each.worked) for each in asked)
    assert not any(each.is_met_by(each.worked[:60]) for each in asked)


def test_the_fake_frontier_is_cut_at_its_output_limit() -> None:
    frontier = Frontier(rows={PLAY.text: PLAY}, answers={"why?": "Because it is so. " * 20})
    whole = frontier.invoke([HumanMessage(PLAY.text)])
    assert PLAY.is_met_by(whole)
    begun = frontier.invoke([HumanMessage(PLAY.text)], max_tokens=4)
    assert begun.invalid_tool_calls[0]["name"] == "play_music"
    assert begun.usage_metadata is not None
    assert begun.usage_metadata["output_tokens"] == 4
    text = frontier.invoke([HumanMessage("why?")], max_tokens=4)
    assert text.response_metadata["finish_reason"] == "length"
    assert "Because it is so.".startswith(text.text[:10])


def test_the_shipped_calibration_asks_more_of_an_answer_the_more_quality_is_promised() -> None:
    shipped = Cascade().calibration_of("local:pocket")
    assert shipped.rows == 260
    thresholds = [shipped.threshold(percent / 100) for percent in range(90, 100)]
    assert thresholds == sorted(set(thresholds))
    assert [point.share for point in shipped.kept] == sorted(
        (point.share for point in shipped.kept), reverse=True
    )
