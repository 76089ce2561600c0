"""The difficulty of a request: read, fitted, put to scale."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.routing.difficulty import Difficulty, quantile
from agentkit.routing.features import features_of
from agentkit.routing.fit import Examples, fit_difficulty, gap_recovered
from agentkit.routing.forest import Forest, Tree, read_forest


class OneLetter:
    """An embedding: a piece a word, and a vector that says which letter a text begins with."""

    def piece_ids(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(text[:1] == letter) for letter in "abc"] for text in texts]


def test_options_that_are_alike_and_cues_are_seen() -> None:
    found = features_of("Why is it not 1,000?\nA. apple pie\nB. apple tart\nC. car", OneLetter())
    assert (found["why"], found["negation"], found["distinct_numbers"]) == (1, 1, math.log1p(1))
    assert found["options_alike"] == pytest.approx(1 / 3)
    assert found["options_most_alike"] == 1
    assert found["options_shared_words"] == pytest.approx((1 / 3) / 3)
    assert found["options_single_word"] == pytest.approx(1 / 3)


def test_a_text_without_options_has_none() -> None:
    found = features_of("A. is a letter", OneLetter())
    assert all(value == 0 for name, value in found.items() if name.startswith("options_"))
    assert features_of("", OneLetter()).keys() == found.keys()


@pytest.mark.parametrize("text", ["_" * 20_000, "I" * 20_000, "1,1" * 7_000, "\n(A) x" * 5_000])
def test_no_text_takes_long(text: str) -> None:
    assert len(features_of(text, OneLetter())) == len(features_of("x", OneLetter()))


@pytest.mark.parametrize(
    ("value", "place"), [(-1, 0), (0, 0), (1, 0.25), (2, 0.625), (3, 0.875), (4, 1), (9, 1)]
)
def test_a_quantile_lies_between_its_steps_and_amid_equal_ones(value: float, place: float) -> None:
    assert quantile(value, (0, 1, 2, 2, 4)) == place


def test_gap_recovered_is_one_half_by_chance_and_most_for_who_knows() -> None:
    gains = [1, 0, 0, 0]
    assert gap_recovered([0, 0, 0, 0], gains) == 0.5
    assert gap_recovered([1, 0, 0, 0], gains) == pytest.approx(7 / 8)
    assert gap_recovered([0, 1, 1, 1], gains) == pytest.approx(1 / 8)


def _examples(count: int, gain: Callable[[int], int]) -> Examples:
    rows = [
        {"length": float(at % 17), "noise": float(at * 7 % 11), "options_shared_words": 0.0}
        for at in range(count)
    ]
    return Examples(
        features=rows,
        cheap_ok=[not gain(at) for at in range(count)],
        dear_ok=[True] * count,
        groups=[f"group {at % 8}" for at in range(count)],
    )


def test_what_is_fitted_orders_as_it_was_taught(tmp_path: Path) -> None:
    examples = _examples(400, lambda at: int(at % 17 + at * 7 % 11 > 14))
    fitted = fit_difficulty(examples, trees=10)
    scores = [fitted.of(row) for row in examples.features]
    assert gap_recovered(scores, examples.gains) > 0.75
    assert sum(scores) == pytest.approx(0, abs=1)
    assert sum(score**2 for score in scores) / len(scores) == pytest.approx(1, abs=0.02)
    fitted.write(tmp_path / "difficulty.json")
    again = Difficulty.read(tmp_path / "difficulty.json")
    assert [again.of(row) for row in examples.features] == pytest.approx(scores, abs=0.01)


def test_many_rows_teach_a_forest_and_few_the_slopes_of_features() -> None:
    def gain(at: int) -> int:
        return int(at % 17 > 8)

    assert "forest" in fit_difficulty(_examples(2_000, gain), trees=5).spreads
    few = fit_difficulty(_examples(200, gain))
    assert "linear" in few.spreads
    assert few.forest == Forest()


def test_a_few_stray_rows_do_not_outweigh_a_group() -> None:
    """60 rows, each a group of its own, say the contrary of 400 rows in eight groups."""
    many = _examples(400, lambda at: int(at * 7 % 11 > 5))
    stray = _examples(60, lambda at: int(at * 7 % 11 < 5))
    fitted = fit_difficulty(
        Examples(
            features=[*many.features, *stray.features],
            cheap_ok=[*many.cheap_ok, *stray.cheap_ok],
            dear_ok=[*many.dear_ok, *stray.dear_ok],
            groups=[*many.groups, *(f"stray {at}" for at in range(60))],
        )
    )
    assert fitted.linear[fitted.features.index("noise")] > 0


def test_a_forest_tells_what_only_the_dear_model_can() -> None:
    """Both models do on even rows, neither on the others but where the noise is high."""
    rows = [{"length": 1.0, "a": float(at % 2), "b": float(at * 7 % 10)} for at in range(3_000)]
    examples = Examples(
        features=rows,
        cheap_ok=[row["a"] == 0 for row in rows],
        dear_ok=[row["a"] == 0 or row["b"] > 4 for row in rows],
        groups=[f"group {at % 8}" for at in range(3_000)],
    )
    fitted = fit_difficulty(examples, trees=10)
    scores = [fitted.of(row) for row in rows]
    assert gap_recovered(scores, examples.gains) == pytest.approx(0.85)  # the most there is


def test_word_problems_and_other_requests_are_judged_apart(
    tmp_path: Path,
) -> None:
    long = _examples(200, lambda at: int(at % 17 > 8))
    short = _examples(200, lambda at: int(at % 17 < 8))
    both = Examples(
        features=[
            *({**row, "distinct_numbers": 0.5} for row in long.features),
            *({**row, "distinct_numbers": 1.5} for row in short.features),
        ],
        cheap_ok=[*long.cheap_ok, *short.cheap_ok],
        dear_ok=[*long.dear_ok, *short.dear_ok],
        groups=[*long.groups, *short.groups],
    )
    fit_difficulty(both).write(tmp_path / "difficulty.json")
    read = Difficulty.read(tmp_path / "difficulty.json")
    for place, examples in ((0, long), (200, short)):
        alone = fit_difficulty(examples)
        rows = both.features[place : place + 200]
        assert [read.of(row) for row in rows] == pytest.approx(
            [alone.of(row) for row in examples.features], abs=0.02
        )


def test_a_part_that_is_the_same_everywhere_is_left_out() -> None:
    fitted = fit_difficulty(_examples(200, lambda at: int(at % 17 > 8)), trees=5)
    assert "likeness" not in fitted.spreads
    assert "length" in fitted.spreads


@pytest.mark.parametrize(
    ("count", "gain", "told"),
    [(10, lambda at: at % 2, "at least 50"), (100, lambda at: 1, "nothing to learn")],
)
def test_examples_that_teach_nothing_are_refused(
    count: int, gain: Callable[[int], int], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        _examples(count, gain)


def _with_problems() -> dict[str, Any]:
    """A difficulty of word problems that has one of its own."""
    return {**_file(), "problems": _file()}


def _file() -> dict[str, Any]:
    tree = [[0, -1, -1], [0.0, 1.0, 2.0], [1, 0, 0], [2, 0, 0]]
    return {
        "version": 1, "features": ["length"], "grids": [[0, 1]], "linear": [1.0], "forest": [tree],
        "spreads": {"length": [0, 1], "forest": [0, 1]}, "scale": [0, 1],
    }  # fmt: skip


def test_a_file_is_read_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "difficulty.json"
    path.write_text(json.dumps(_file()), "utf-8")
    read = Difficulty.read(path)
    assert read.of({"length": 0.0}) == -0.5 + 1.0
    assert read.of({"length": 1.0}) == 0.5 + 2.0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"features": []},
        {"grids": [[1, 0]]},
        {"grids": [[0]]},
        {"linear": ["x"]},
        {"linear": [float("inf")]},
        {"spreads": {}},
        {"spreads": {"magic": [0, 1]}},
        {"spreads": {"likeness": [0, 1]}},
        {"scale": [0, 0]},
        {"forest": [[[0], [0.0], [0], [0]]]},
        {"forest": [[[5, -1, -1], [0.0, 1.0, 2.0], [1, 0, 0], [2, 0, 0]]]},
        {"forest": [[[0, -1], [0.0, 1.0], [1, 0], [9, 0]]]},
        {"forest": "trees"},
        {"problems": "none"},
        {"problems": _with_problems()},
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "difficulty.json"
    path.write_text(json.dumps({**_file(), **change}), "utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        Difficulty.read(path)


def test_a_forest_is_the_mean_of_its_trees() -> None:
    leaf = Tree(feature=(-1,), threshold=(3.0,), left=(0,), right=(0,))
    split = Tree(feature=(0, -1, -1), threshold=(0.5, 1.0, 2.0), left=(1, 0, 0), right=(2, 0, 0))
    forest = Forest((leaf, split))
    assert (forest.value([0.5]), forest.value([0.6]), Forest().value([1.0])) == (2.0, 2.5, 0.0)
    assert read_forest(forest.to_json(), 1) == forest


def test_the_shipped_one_finds_a_hard_request_harder() -> None:
    shipped = Difficulty.shipped()
    hard = (
        "A contract for the sale of goods was signed by a minor, who affirmed part of it. Which of "
        "the following best states the seller's rights?\n"
        "A. The seller may rescind the whole contract because the buyer affirmed part of it.\n"
        "B. The seller may not rescind the contract because the buyer affirmed part of it.\n"
        "C. The seller may rescind the contract unless the buyer affirmed the whole of it.\n"
        "D. The seller may not rescind the contract unless the buyer was of age.\nAnswer:"
    )
    assert shipped(hard) > shipped("What is the capital of France?") + 1
    assert "RouteLLM" in shipped.trained_on


def test_what_stands_out_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "difficulty.json"
    path.write_text(json.dumps({**_file(), "grids": [[1, 2, 3, 4, 5]]}), "utf-8")
    read = Difficulty.read(path)
    assert read.told("x" * 1_000) == ["length: more than in all it was fitted to"]
    assert read.told("x" * 6) == ["length: less than in 76% it was fitted to"]
