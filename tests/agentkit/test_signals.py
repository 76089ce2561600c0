"""Signals of an answer, and the chance that a calibration makes of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agentkit.cascade import Calibration, Evidence, Kept, Weight, signals_of
from agentkit.cascade.calibration import PRIOR
from agentkit.cascade.signals import SIGNALS
from agentkit.errors import ConfigError
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.provision.toolbox import Toolbox


def book(city: str, guests: int) -> str:
    """Book a table."""
    return f"{city} {guests}"


TOOLBOX = Toolbox(ToolCatalogue([book]))


def calling(**arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "book", "args": arguments, "id": "1"}])


def found(message: AIMessage, **known: Any) -> dict[str, float]:
    return signals_of(Evidence(message=message, toolbox=TOOLBOX, **known))


def test_a_call_that_fits_its_schema() -> None:
    assert found(calling(city="Rome", guests=2))["fits_schema"] == 1
    assert found(calling(city="Rome"))["fits_schema"] == 0
    assert "fits_schema" not in found(AIMessage("Rome is warm"))


def test_values_are_grounded_in_the_request_or_in_an_observation() -> None:
    message = calling(city="Rome", guests=4)
    assert found(message, request="a table for four in rome")["grounded"] == 1
    assert found(message, request="a table in Rome")["grounded"] == 0.5
    assert found(message, request="book it", observations=("Rome, 4 guests",))["grounded"] == 1
    assert found(calling(city="Oslo", guests=14), request="for 4 in Rome")["grounded"] == 0


def test_words_of_the_request_that_no_argument_takes_up() -> None:
    message = calling(city="Rome", guests=4)
    assert found(message, request="book Rome 4")["covered"] == 1
    assert found(message, request="book Rome 4 vegetarian")["covered"] == 0.75


def test_tokens_that_matter() -> None:
    told = {
        "count": 4, "sum": -3.0, "min": -2.0, "margin": [3.0, -0.5, 2.0, 1.0],
        "name": {"count": 1, "sum": -0.5, "min": -0.5, "margin": 3.0},
        "values": {"count": 2, "sum": -2.25, "min": -2.0, "margin": -0.5},
    }  # fmt: skip
    message = calling(city="Rome", guests=2)
    message.response_metadata["logprobs"] = told
    signals = found(message)
    assert signals["mean_logprob"] == -0.75
    assert signals["min_logprob"] == -2
    assert signals["least_margin"] == -0.5
    assert signals["name_logprob"] == -0.5
    assert signals["values_min_logprob"] == -2


def test_log_probabilities_as_openai_sends_them() -> None:
    message = AIMessage(
        "yes",
        response_metadata={
            "logprobs": {
                "content": [
                    {
                        "token": "yes",
                        "logprob": -0.25,
                        "top_logprobs": [
                            {"token": "yes", "logprob": -0.25},
                            {"token": "no", "logprob": -1.75},
                        ],
                    }
                ]
            }
        },
    )
    assert found(message)["sum_logprob"] == -0.25
    assert found(message)["least_margin"] == 1.5


@pytest.mark.parametrize(
    "told", [None, [], {"count": 0}, {"count": 2, "sum": "x"}, {"content": [1, {"logprob": None}]}]
)
def test_log_probabilities_that_are_nonsense_are_left_out(told: Any) -> None:
    message = AIMessage("yes", response_metadata={"logprobs": told})
    assert "sum_logprob" not in found(message)


def test_a_second_sample_agrees_or_not() -> None:
    first = calling(city="Rome", guests=2)
    assert found(calling(guests=2, city="Rome"), previous=first)["agreement"] == 1
    assert found(calling(city="Rome", guests=3), previous=first)["agreement"] == 0
    assert found(AIMessage("a b c d"), previous=AIMessage("a b x y"))["agreement"] == 0.5
    assert "agreement" not in found(first)


def test_repetition_is_the_share_of_runs_said_before() -> None:
    assert found(AIMessage("one two three four " * 10))["repetition"] > 0.8
    text = "each of these words stands here only once so nothing is said twice"
    assert found(AIMessage(text))["repetition"] == 0
    assert "repetition" not in found(AIMessage("too short"))


@pytest.mark.parametrize("text", ["I'm sorry, I can\u2019t do that.", "I do not know his name."])
def test_refusals_and_doubts_hedge(text: str) -> None:
    assert found(AIMessage(text))["hedging"] == 1


def test_a_plain_answer_does_not_hedge() -> None:
    assert found(AIMessage("The train leaves at nine."))["hedging"] == 0


def test_the_users_check_speaks_where_it_was_asked() -> None:
    assert found(AIMessage("x"), check=False)["check"] == 0
    assert "check" not in found(AIMessage("x"))


def test_every_signal_of_the_prior_is_known() -> None:
    assert set(PRIOR.weights) <= set(SIGNALS)


LOGISTIC = Calibration(
    intercept=1.0, weights={"a": Weight(weight=2.0, mean=1.0, scale=2.0, missing=-1.0)}
)


def test_a_logistic_model() -> None:
    assert LOGISTIC.score({"a": 2.0}) == 2.0
    assert LOGISTIC.probability({"a": 2.0}) == pytest.approx(1 / (1 + math.exp(-2)))
    assert LOGISTIC.probability({}) == 0.5


def test_a_curve_is_linear_between_its_points_and_level_outside() -> None:
    curve = Calibration(
        intercept=0.0, weights={"a": Weight(weight=1.0)}, curve=((-1.0, 0.2), (1.0, 0.8))
    )
    chances = [curve.probability({"a": a}) for a in (-5.0, -1.0, 0.0, 1.0, 5.0)]
    assert chances == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])


def test_the_threshold_is_the_lowest_that_keeps_the_quality_on_average() -> None:
    fitted = Calibration(
        intercept=0.0,
        weights={},
        kept=(
            Kept(threshold=0.2, share=0.9, quality=0.90),
            Kept(threshold=0.5, share=0.8, quality=0.95),
            Kept(threshold=0.8, share=0.6, quality=0.99),
        ),
    )
    assert fitted.threshold(0.92) == 0.5
    assert fitted.threshold(0.999) == 0.999
    assert LOGISTIC.threshold(0.92) == 0.92


def test_a_model_comes_back_from_a_file(tmp_path: Path) -> None:
    curve = Calibration(
        intercept=0.5,
        weights={"a": Weight(weight=1.0)},
        curve=((-1.0, 0.2), (1.0, 0.8)),
        kept=(Kept(threshold=0.3, share=0.9, quality=0.9),),
        rows=7,
        model="local:pocket",
    )
    for model in (LOGISTIC, curve):
        model.write(tmp_path / "c.json")
        assert Calibration.read(tmp_path / "c.json") == model


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "pickle"}, "format"),
        ({"intercept": "1e999"}, "intercept"),
        ({"weights": {"a": {"weight": 1, "scale": 0}}}, "scale"),
        ({"weights": {"A b": {"weight": 1}}}, "weights"),
        ({"weights": {f"s{n}": {"weight": 1} for n in range(65)}}, "weights"),
        ({"curve": [[0, 0.5], [0, 0.6]]}, "does not rise"),
        ({"curve": [[0, 0.5], [1, 0.4]]}, "does not rise"),
        ({"curve": [[0, 1.5]]}, "curve"),
        ({"kept": [[0.5, 0.1, 0.9], [0.4, 0.1, 0.9]]}, "does not rise"),
        ({"run": "me"}, "run"),
    ],
)
def test_a_file_that_is_not_a_calibration_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Calibration.from_json({**LOGISTIC.as_json(), **change})


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"intercept": NaN}'])
def test_a_file_that_holds_no_model_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.json"):
        Calibration.read(tmp_path / "c.json")


_numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.dictionaries(st.sampled_from(sorted(SIGNALS)), _numbers))
def test_a_chance_is_a_chance_whatever_the_signals(signals: dict[str, float]) -> None:
    assert 0 <= PRIOR.probability(signals) <= 1
    assert 0 <= Calibration.from_json(json.loads(json.dumps(PRIOR.as_json()))).probability({}) <= 1
