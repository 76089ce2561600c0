"""How hard a request looks: one number, 0 for the middle of what it was fitted to, 1 a deviation.

It is a sum of up to four parts, each on the scale of its own spread: the length, how alike the
offered answers are, a linear score and a forest over all features. Features are read as quantiles
of the rows that it was fitted to, so that none of them can run away with the sum. Word problems can
have a difficulty of their own.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast, get_args

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.routing.features import Pieces, features_of
from agentkit.routing.forest import Forest, read_forest
from agentkit.routing.json_value import is_list, is_number, is_table

VERSION = 1
Part = Literal["length", "likeness", "linear", "forest"]
PARTS: tuple[Part, ...] = get_args(Part)
LIKENESS = "options_shared_words"
_OFFERED = "options_words"
_COUNTED = ("distinct_numbers", "number_word")
_LEAST_NUMBERS = 2
_MOST_FILE_BYTES = 4_000_000
_MOST_FEATURES = 500
_MOST_STEPS = 1_000
_FURTHEST = 10.0
_HALF = 0.495


@dataclass(frozen=True)
class Difficulty:
    """A fitted difficulty. `spreads` are mean and deviation of each part that counts, by name;
    `scale` those of their sum; `problems` judges word problems in its place, if not None."""

    features: tuple[str, ...]
    grids: tuple[tuple[float, ...], ...]
    linear: tuple[float, ...]
    forest: Forest
    spreads: Mapping[Part, tuple[float, float]]
    scale: tuple[float, float]
    trained_on: str = ""
    problems: Difficulty | None = None
    pieces: Pieces | None = None

    @classmethod
    def shipped(cls) -> Difficulty:
        """The one that comes with agentkit; what it was fitted to is in `trained_on`."""
        return _shipped()

    @classmethod
    def read(cls, path: str | Path) -> Difficulty:
        """The difficulty in a file of `write`. Raises ConfigError for what is none."""
        file = Path(path)
        try:
            if file.stat().st_size > _MOST_FILE_BYTES:
                raise ValueError("it is over 4 MB")
            return _read(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(f"the difficulty in {file.name!r} cannot be read: {error}") from error

    def write(self, path: str | Path) -> None:
        """Keep it in a file, as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), separators=(",", ":")) + "\n", "utf-8")

    def to_dict(self) -> dict[str, object]:
        """The difficulty as JSON types."""
        problems = {} if self.problems is None else {"problems": self.problems.to_dict()}
        return {
            "version": VERSION,
            "trained_on": self.trained_on,
            "features": list(self.features),
            "grids": [[float(f"{each:.5g}") for each in grid] for grid in self.grids],
            "linear": [round(weight, 5) for weight in self.linear],
            "forest": self.forest.to_json(),
            "spreads": {part: list(spread) for part, spread in self.spreads.items()},
            "scale": list(self.scale),
            **problems,
        }

    def __call__(self, text: str) -> float:
        """The difficulty of a request. Raises ExtraMissing without numpy."""
        return self.of(features_of(text, self.pieces or shipped_pieces()))

    def of(self, found: Mapping[str, float]) -> float:
        """The difficulty of a request with these features."""
        if self.problems is not None and is_problem(found):
            return self.problems.of(found)
        value = self.raw(self.row(found))
        mean, deviation = self.scale
        return max(-_FURTHEST, min(_FURTHEST, (value - mean) / deviation))

    def row(self, found: Mapping[str, float]) -> list[float]:
        """Features as quantiles from -0.5 to 0.5, in the order of `features`."""
        return [
            quantile(found.get(name, 0.0), grid) - 0.5
            for name, grid in zip(self.features, self.grids, strict=True)
        ]

    def raw(self, row: Sequence[float]) -> float:
        """The sum of the parts."""
        return sum(
            (self.part(name, row) - mean) / deviation
            for name, (mean, deviation) in self.spreads.items()
        )

    def part(self, name: Part, row: Sequence[float]) -> float:
        """One part before it is brought to scale."""
        if name == "length":
            return row[self._places["length"]]
        if name == "likeness":
            return row[self._places[LIKENESS]]
        if name == "linear":
            return sum(weight * value for weight, value in zip(self.linear, row, strict=True))
        return self.forest.value(row)

    def told(self, text: str, most: int = 4) -> list[str]:
        """The features of a request that stand out most from what it was fitted to, in words."""
        found = features_of(text, self.pieces or shipped_pieces())
        fitted = self.problems if self.problems is not None and is_problem(found) else self
        row = fitted.row(found)
        named = sorted(zip(fitted.features, row, strict=True), key=lambda each: -abs(each[1]))
        return [
            f"{name.replace('_', ' ')}: {'more' if value > 0 else 'less'} than in "
            f"{'all' if abs(value) >= _HALF else format(abs(value) + 0.5, '.0%')} it was fitted to"
            for name, value in named[:most]
            if value
        ]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.features)}


def is_problem(found: Mapping[str, float]) -> bool:
    """Whether a request looks like a word problem: two numbers, and no answers to choose from."""
    numbers = sum(math.expm1(found.get(name, 0.0)) for name in _COUNTED)
    return not found.get(_OFFERED) and round(numbers) >= _LEAST_NUMBERS


def quantile(value: float, grid: Sequence[float]) -> float:
    """Where `value` lies in the steps of `grid`, from 0 to 1; in the middle of equal steps."""
    low, high = bisect.bisect_left(grid, value), bisect.bisect_right(grid, value)
    last = len(grid) - 1
    if low < high:
        return (low + high - 1) / 2 / last
    if low == 0:
        return 0.0
    if low > last:
        return 1.0
    below, above = grid[low - 1], grid[low]
    return (low - 1 + (value - below) / (above - below)) / last


def shipped_pieces() -> Pieces:
    """The embedding that comes with agentkit; raises ExtraMissing without numpy."""
    try:
        from agentkit.tools.provision.embedding import StaticEmbedding
    except ImportError as error:
        raise ExtraMissing(what="the difficulty of a request", extra="retrieval") from error
    return cast("Pieces", StaticEmbedding.shipped())


@cache
def _shipped() -> Difficulty:
    data = files("agentkit.routing").joinpath("difficulty.json").read_text("utf-8")
    return _read(json.loads(data))


def _read(data: object, *, of_problems: bool = False) -> Difficulty:
    if not is_table(data):
        raise ValueError("it is no JSON object")
    facts = data
    if facts.get("version") != VERSION:
        raise ValueError(f"it is of version {facts.get('version')!r}, and this reads {VERSION}")
    names = tuple(str(name)[:100] for name in facts["features"])
    grids = tuple(tuple(_numbers(grid)) for grid in facts["grids"])
    linear = tuple(_numbers(facts["linear"]))
    spreads: dict[Part, tuple[float, float]] = {
        name: _spread(facts["spreads"][name]) for name in PARTS if name in facts["spreads"]
    }
    if not 0 < len(names) <= _MOST_FEATURES or not len(names) == len(grids) == len(linear):
        raise ValueError("features, grids and weights are not of one number")
    if any(not 2 <= len(grid) <= _MOST_STEPS or list(grid) != sorted(grid) for grid in grids):
        raise ValueError("a grid is not in order")
    if not spreads or len(spreads) != len(facts["spreads"]):
        raise ValueError(f"its parts are not of {', '.join(PARTS)}")
    for part, feature in (("length", "length"), ("likeness", LIKENESS)):
        if part in spreads and feature not in names:
            raise ValueError(f"the part {part} needs the feature {feature}")
    problems = facts.get("problems")
    if problems is not None and of_problems:
        raise ValueError("the difficulty of word problems has one of its own")
    return Difficulty(
        features=names, grids=grids, linear=linear, spreads=spreads,
        forest=read_forest(facts["forest"], len(names)),
        scale=_spread(facts["scale"]), trained_on=str(facts.get("trained_on", ""))[:500],
        problems=None if problems is None else _read(problems, of_problems=True),
    )  # fmt: skip


def _numbers(values: object) -> list[float]:
    if not is_list(values):
        raise ValueError("a list of numbers is missing")
    for each in values:
        if not is_number(each):
            raise ValueError(f"{each!r} is no finite number")
    return [float(each) for each in values]


def _spread(pair: object) -> tuple[float, float]:
    mean, deviation = _numbers(pair)
    if deviation <= 0:
        raise ValueError("a deviation is not above 0")
    return mean, deviation
