"""Fits a difficulty to requests of which it is known whether a cheap and a dear model did.

scikit-learn fits; what comes of it is read and used without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.routing.difficulty import LIKENESS, Difficulty, Part, is_problem
from agentkit.routing.forest import Forest, Tree

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as missing:
    raise ExtraMissing(what="fitting a difficulty", extra="eval") from missing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = tuple[Part, ...]

_OF_LENGTH = frozenset({"length", "sentences", "entropy", "clauses"})
_STEPS = 32
_TREES = 60
"""Of each of the two outcomes."""
_LEAST_LEAF = 50
_FEATURES_A_SPLIT = 0.3
_FEWEST_FOR_FOREST = 2_000
_LEAST_ROWS = 50
_NO_SPREAD = 1e-9


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Requests by their features, whether the cheap and the dear model did on each, and the group
    that each belongs to: all groups of 50 rows or more count the same, however many they have."""

    features: Sequence[Mapping[str, float]]
    cheap_ok: Sequence[bool]
    dear_ok: Sequence[bool]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        """Raises ConfigError for too few rows, or for models that did the same on each."""
        counts = [len(column) for column in (self.features, self.cheap_ok, self.dear_ok)]
        if len({*counts, len(self.groups)}) > 1 or len(self.groups) < _LEAST_ROWS:
            raise ConfigError(
                f"{counts[0]} requests, {counts[1]} and {counts[2]} outcomes, {len(self.groups)} "
                f"groups; give the same number of each, at least {_LEAST_ROWS}"
            )
        if len(set(self.gains)) == 1:
            raise ConfigError("the dear model gained the same on each; there is nothing to learn")

    @property
    def gains(self) -> list[int]:
        """1 where only the dear model did, -1 where only the cheap one, else 0."""
        both = zip(self.dear_ok, self.cheap_ok, strict=True)
        return [int(dear) - int(cheap) for dear, cheap in both]

    def at(self, places: Sequence[int]) -> Examples:
        """Some of them."""
        return replace(
            self,
            features=[self.features[place] for place in places],
            cheap_ok=[self.cheap_ok[place] for place in places],
            dear_ok=[self.dear_ok[place] for place in places],
            groups=[self.groups[place] for place in places],
        )


def fit_difficulty(
    examples: Examples, *, seed: int = 0, trees: int = _TREES, trained_on: str = ""
) -> Difficulty:
    """A difficulty; word problems have one of their own where both they and others are enough.

    Beside length and likeness it has a forest, or the features' own slopes where there are fewer
    than 2,000 rows. Raises ExtraMissing without scikit-learn.
    """
    problems = [is_problem(row) for row in examples.features]
    kinds = [[at for at, each in enumerate(problems) if each is kind] for kind in (False, True)]
    gains = examples.gains
    if not all(_is_enough([gains[at] for at in places]) for places in kinds):
        return _fitted(examples, seed, trees, trained_on)
    other, own = (_fitted(examples.at(places), seed, trees, trained_on) for places in kinds)
    return replace(other, problems=own)


def _is_enough(gains: Sequence[int]) -> bool:
    return len(gains) >= _LEAST_ROWS and len(set(gains)) > 1


def _fitted(examples: Examples, seed: int, trees: int, trained_on: str) -> Difficulty:
    table = _Table.of(examples)
    fourth: Part = "forest" if len(table.values) >= _FEWEST_FOR_FOREST else "linear"
    parts: Parts = ("length", "likeness", fourth)
    return _Fitted(table, parts, seed=seed, trees=trees).difficulty(trained_on)


def gap_recovered(scores: Sequence[float] | Floats, gains: Sequence[int] | Floats) -> float:
    """APGR: the mean, over all shares sent to the dear model, of the gap that is recovered.

    Rows go by falling score; rows of one score go together. Ong et al., "RouteLLM" (2024).
    """
    gain = np.asarray(gains, float)
    total = gain.sum()
    if total == 0:
        return 0.5
    curve = np.concatenate([[0.0], np.cumsum(shared_gains(scores, gain))]) / total
    return float(((curve[1:] + curve[:-1]) / 2).mean())


def shared_gains(scores: Sequence[float] | Floats, gain: Floats) -> Floats:
    """The gains by falling score, where rows of one score share theirs evenly."""
    _, inverse, counts = np.unique(-np.asarray(scores), return_inverse=True, return_counts=True)
    means = np.bincount(inverse, gain) / counts
    return np.asarray(np.repeat(means, counts), float)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Examples as arrays."""

    names: tuple[str, ...]
    values: Floats
    cheap: Floats
    dear: Floats
    groups: NDArray[np.str_]

    @classmethod
    def of(cls, examples: Examples) -> _Table:
        names = tuple(examples.features[0])
        return cls(
            names=names,
            values=np.array([[row[name] for name in names] for row in examples.features]),
            cheap=np.asarray(examples.cheap_ok, float),
            dear=np.asarray(examples.dear_ok, float),
            groups=np.asarray(examples.groups),
        )

    @property
    def gain(self) -> Floats:
        """What the dear model gained on each."""
        return self.dear - self.cheap


class _Fitted:
    """The parts of a difficulty, fitted to a table, that many rows at once can be put through."""

    def __init__(self, table: _Table, parts: Parts, *, seed: int, trees: int) -> None:
        self.names = table.names
        grids = np.quantile(table.values, np.linspace(0, 1, _STEPS + 1), axis=0).T
        self.grids = [[float(f"{each:.5g}") for each in grid] for grid in grids]
        rows = self._quantiles(table.values)
        weights = _group_weights(table.groups)
        self.linear = _slopes(rows, table.gain, weights)
        self.linear[[at for at, name in enumerate(self.names) if name in _OF_LENGTH]] = 0.0
        self.forests: tuple[Any, ...] = ()
        if "forest" in parts:
            self.forests = tuple(
                _forest(rows, right, weights, seed=seed + place, trees=trees)
                for place, right in enumerate((table.dear, table.cheap))
            )
        self.spreads: dict[Part, tuple[float, float]] = {}
        for name in parts:
            values = self._part(name, rows)
            if values.std() > _NO_SPREAD:
                self.spreads[name] = (float(values.mean()), float(values.std()))
        self.sums = np.sum(list(self._scaled(rows).values()), axis=0)

    def difficulty(self, trained_on: str) -> Difficulty:
        """The same as plain data."""
        trees = [
            _tree(each.tree_, times)
            for times, forest in zip((2, -2), self.forests, strict=False)
            for each in forest.estimators_
        ]
        return Difficulty(
            features=self.names,
            grids=tuple(map(tuple, self.grids)),
            linear=tuple(round(float(weight), 5) for weight in self.linear),
            forest=Forest(tuple(trees)),
            spreads=self.spreads,
            scale=(float(self.sums.mean()), max(float(self.sums.std()), _NO_SPREAD)),
            trained_on=trained_on,
        )

    def _scaled(self, rows: Floats) -> dict[Part, Floats]:
        return {
            name: (self._part(name, rows) - mean) / deviation
            for name, (mean, deviation) in self.spreads.items()
        }

    def _part(self, name: Part, rows: Floats) -> Floats:
        if name == "linear":
            return np.asarray(rows @ self.linear)
        if name == "forest":
            dear, cheap = (forest.predict(rows) for forest in self.forests)
            return np.asarray(dear - cheap)
        feature = LIKENESS if name == "likeness" else "length"
        if feature not in self.names:
            return np.zeros(len(rows))
        return rows[:, self.names.index(feature)]

    def _quantiles(self, features: Floats) -> Floats:
        """As `difficulty.quantile`, a column at a time."""
        columns: list[Floats] = []
        for values, grid in zip(features.T, self.grids, strict=True):
            steps = np.asarray(grid)
            low, high = _searched(steps, values, "left"), _searched(steps, values, "right")
            at: Ints = np.clip(low, 1, _STEPS)
            below, above = steps[at - 1], steps[at]
            between: Floats = at - 1 + (values - below) / np.maximum(above - below, _NO_SPREAD)
            place: Floats = np.where(low < high, (low + high - 1) / 2, np.clip(between, 0, _STEPS))
            columns.append(place / _STEPS - 0.5)
        return np.stack(columns, axis=1)


def _searched(steps: Floats, values: Floats, side: Literal["left", "right"]) -> Ints:
    found: Any = np.searchsorted(steps, values, side)
    return np.asarray(found)


def _slopes(rows: Floats, gain: Floats, weights: Floats) -> Floats:
    """Each feature's own regression of the gain, as if there were no other: with so many that say
    nearly the same, a joint one learns the groups."""
    centred = gain - np.average(gain, weights=weights)
    spread = rows - np.average(rows, axis=0, weights=weights)
    together = np.average(spread * centred[:, None], axis=0, weights=weights)
    alone = np.average(spread**2, axis=0, weights=weights)
    return np.asarray(np.where(alone > _NO_SPREAD, together / np.maximum(alone, _NO_SPREAD), 0.0))


def _forest(rows: Floats, right: Floats, weights: Floats, *, seed: int, trees: int) -> Any:
    """How likely one model is right. Both are told apart by more than their difference is, which
    is small. Geurts, Ernst and Wehenkel, "Extremely randomized trees" (2006)."""
    regressor: Any = _ensemble().ExtraTreesRegressor(
        n_estimators=trees,
        min_samples_leaf=_LEAST_LEAF,
        max_features=_FEATURES_A_SPLIT,
        random_state=seed,
    )
    return regressor.fit(rows, right, sample_weight=weights)


def _tree(tree: Any, times: int) -> Tree:
    """`times` its values: the mean of all trees of two forests is then half of their difference,
    times two."""
    is_leaf = [left < 0 for left in tree.children_left]
    values = tree.value[:, 0, 0] * times

    def inner(column: Any, at_leaf: int) -> tuple[int, ...]:
        return tuple(
            at_leaf if leaf else int(each) for leaf, each in zip(is_leaf, column, strict=True)
        )

    return Tree(
        feature=inner(tree.feature, -1),
        threshold=tuple(
            round(float(value if leaf else each), 5)
            for leaf, value, each in zip(is_leaf, values, tree.threshold, strict=True)
        ),
        left=inner(tree.children_left, 0),
        right=inner(tree.children_right, 0),
    )


def _group_weights(groups: NDArray[np.str_]) -> Floats:
    """Each group counts the same, however many rows it has; one of fewer rows than a leaf counts
    by its rows, or strays that are a group of their own would outweigh hundreds of others."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1.0 / np.maximum(counts, _LEAST_LEAF)[inverse]
    return np.asarray(weights * len(weights) / weights.sum())


def _ensemble() -> Any:
    try:
        from sklearn import ensemble  # pyright: ignore[reportMissingTypeStubs]  # it has none
    except ImportError as error:
        raise ExtraMissing(what="fitting a difficulty", extra="eval") from error
    return ensemble
