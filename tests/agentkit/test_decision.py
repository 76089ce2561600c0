"""What becomes of a cheap answer: the formula, its limits, and how money moves it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.budgets.amount import Amount, Limits
from agentkit.cascade import Calibration, Cascade, Kept, Situation, Weight, decide
from agentkit.cascade.calibration import PRIOR
from agentkit.cascade.decision import scarcity, threshold
from agentkit.cascade.settings import checked_quality
from agentkit.errors import ConfigError

chances = st.floats(0, 1)
money = st.integers(0, 10**9)


def situation(
    probability: float = 0.5,
    floor: float = 0.9,
    next_nusd: int | None = 1_000,
    error_nusd: int | None = None,
    room: int | None = None,
    **more: object,
) -> Situation:
    base: dict[str, object] = {
        "probability": probability,
        "floor": floor,
        "next_nusd": next_nusd,
        "error_nusd": error_nusd,
        "room": Limits(nusd=room),
        "worst": Amount(nusd=2_000, calls=1),
    }
    return Situation(**{**base, **more})  # type: ignore[arg-type]  # a test's shorthand


def test_an_answer_at_the_floor_is_kept_and_one_below_it_is_not() -> None:
    assert decide(situation(0.9)).action == "accept"
    below = decide(situation(0.89))
    assert (below.action, below.threshold) == ("escalate", 0.9)
    assert below.reason == "unsure: 0.890 is under 0.900"


def test_a_price_on_errors_raises_the_bar() -> None:
    """A wrong answer for 100,000 and a call for 1,000: one in a hundred may be wrong."""
    assert threshold(situation(error_nusd=100_000)) == pytest.approx(0.99)
    assert threshold(situation(error_nusd=5_000)) == 0.9


def test_with_half_the_money_gone_a_call_counts_twice() -> None:
    assert scarcity(Limits(nusd=4_000), Amount(nusd=2_000)) == 2
    assert threshold(situation(error_nusd=100_000, room=4_000)) == pytest.approx(0.98)


def test_any_dimension_can_be_scarce() -> None:
    worst = Amount(nusd=1, tokens=500, fresh_tokens=500, calls=1)
    assert scarcity(Limits(nusd=10**9, tokens=1_000), worst) == 2
    assert scarcity(Limits(calls=2), worst) == 2
    assert math.isinf(scarcity(Limits(calls=1), worst))
    assert scarcity(Limits(), worst) == 1


def test_the_way_that_is_expected_to_cost_least_is_taken() -> None:
    retry = decide(situation(fault="broken", again_nusd=100, retry_chance=0.3))
    assert retry.action == "retry"
    assert retry.expected_nusd == {"retry": 800, "escalate": 1_000}
    dear = decide(situation(fault="broken", again_nusd=400, retry_chance=0.3))
    assert dear.action == "escalate"
    hint = decide(situation(again_nusd=10, hint_nusd=200, hint_chance=0.5))
    assert (hint.action, hint.expected_nusd["hint"]) == ("hint", 710)


def test_a_second_sample_is_asked_only_where_it_could_change_the_verdict() -> None:
    assert decide(situation(0.8, agreed_probability=0.95)).action == "sample"
    assert decide(situation(0.8, agreed_probability=0.85)).action == "escalate"


def test_without_a_dearer_tier_a_doubtful_answer_stands_and_a_broken_one_falls() -> None:
    doubtful = decide(situation(0.1, next_nusd=None))
    assert (doubtful.action, doubtful.reason) == ("accept", "unsure: 0.100 is under 0.900")
    assert decide(situation(fault="broken", next_nusd=None)).action == "give_up"


@settings(max_examples=60)
@given(chances, chances, money, money, money, money)
def test_less_money_never_raises_the_bar(
    probability: float, floor: float, asked: int, error: int, more: int, less: int
) -> None:
    less, more = sorted((less, more))
    rich = situation(probability, floor, asked, error, more)
    poor = situation(probability, floor, asked, error, less)
    assert threshold(poor) <= threshold(rich)
    if decide(rich).action == "accept":
        assert decide(poor).action == "accept"


@settings(max_examples=60)
@given(chances, chances, money, st.none() | money, st.none() | money)
def test_nothing_that_is_kept_is_below_the_floor(
    probability: float, floor: float, asked: int, error: int | None, room: int | None
) -> None:
    verdict = decide(situation(probability, floor, asked, error, room))
    assert verdict.threshold is not None
    assert floor <= verdict.threshold <= 1
    assert verdict.accepted == (probability >= verdict.threshold)


@settings(max_examples=60)
@given(chances, money, st.none() | money, st.none() | money)
def test_a_higher_floor_never_keeps_more(
    probability: float, asked: int, error: int | None, room: int | None
) -> None:
    kept = [
        decide(situation(probability, floor / 100, asked, error, room)).accepted
        for floor in range(90, 100)
    ]
    assert kept == sorted(kept, reverse=True)


@settings(max_examples=60)
@given(st.lists(st.tuples(chances, chances, chances), max_size=20), chances, chances)
def test_asking_for_more_quality_never_lowers_the_threshold(
    rows: list[tuple[float, float, float]], one: float, other: float
) -> None:
    kept = tuple(Kept(threshold=t, share=s, quality=q) for t, s, q in sorted(rows))
    fitted = Calibration(intercept=0.0, weights={}, kept=kept)
    low, high = sorted((one, other))
    assert fitted.threshold(low) <= fitted.threshold(high) <= high


@pytest.mark.parametrize("quality", [0.3, 1, 1.5])
def test_a_quality_out_of_range_is_refused(quality: float) -> None:
    with pytest.raises(ConfigError, match="quality"):
        checked_quality(quality)


@pytest.mark.parametrize(
    "settings",
    [
        {"retries": -1},
        {"sticky_after": 0},
        {"retry_chance": 1.5},
        {"hint_tokens": 0},
        {"calibration": Calibration(intercept=0.0, weights={"mine": Weight(weight=1.0)})},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Cascade(**settings)  # type: ignore[arg-type]  # wrong on purpose


def test_a_tier_is_judged_by_its_own_calibration() -> None:
    own = Calibration(intercept=1.0, weights={})
    cascade = Cascade(calibration={"local:mine": own})
    assert cascade.calibration_of("local:mine") is own
    assert cascade.calibration_of("openai:gpt-5-mini") is PRIOR
    assert cascade.calibration_of("local:pocket").model == "local:pocket"
