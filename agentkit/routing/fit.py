"""Fits a difficulty to requests of which it is known whether a cheap and a dear model did.

scikit-learn fits; what comes of it is read and used without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.routing.difficulty import LIKENESS, Difficulty, Part
from agentkit.routing.forest import Forest, Tree

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as missing:
    raise ExtraMissing(what="fitting a difficulty", extra="eval") from missing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = tuple[Part, ...]

CHOICES: tuple[Parts, ...] = (
    ("length", "likeness", "linear"),
    ("length", "likeness", "forest"),
)
_ALL: Parts = ("length", "likeness", "linear", "forest")
_OF_LENGTH = frozenset({"length", "sentences", "entropy", "clauses"})
_STEPS = 32
_TREES = 120
_LEAST_LEAF = 50
_FEATURES_A_SPLIT = 0.3
_INNER_FOLDS = 6
_LEAST_ROWS = 50
_NO_SPREAD = 1e-9


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Requests by their features, whether the cheap and the dear model did on each, and the group
    that each belongs to, so that no group is both learned from and judged on."""

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
    """A difficulty, with the parts that order the groups best which the others were fitted to.

    Raises ConfigError for examples of a single group, and ExtraMissing without scikit-learn.
    """
    table = _Table.of(examples)
    parts = _best_parts(table, seed=seed, trees=trees)
    return _Fitted(table, parts, seed=seed, trees=trees).difficulty(trained_on)


def _best_parts(table: _Table, *, seed: int, trees: int) -> Parts:
    """The parts whose sum recovers most of the gap on groups that it was not fitted to."""
    found = {parts: np.zeros(len(table.gain)) for parts in CHOICES}
    for train, test in _folds(table.groups, seed):
        fitted = _Fitted(table.at(train), _ALL, seed=seed, trees=max(1, trees // 2))
        values = fitted.values(table.values[test])
        for parts in CHOICES:
            found[parts][test] = sum(values[name] for name in parts if name in values)
    return max(CHOICES, key=lambda parts: gap_recovered(found[parts], table.gain))


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
    gain: Floats
    groups: NDArray[np.str_]

    @classmethod
    def of(cls, examples: Examples) -> _Table:
        names = tuple(examples.features[0])
        return cls(
            names=names,
            values=np.array([[row[name] for name in names] for row in examples.features]),
            gain=np.asarray(examples.gains, float),
            groups=np.asarray(examples.groups),
        )

    def at(self, places: Ints) -> _Table:
        return replace(
            self, values=self.values[places], gain=self.gain[places], groups=self.groups[places]
        )


class _Fitted:
    """The parts of a difficulty, fitted to a table, that many rows at once can be put through."""

    def __init__(self, table: _Table, parts: Parts, *, seed: int, trees: int) -> None:
        self.names = table.names
        grids = np.quantile(table.values, np.linspace(0, 1, _STEPS + 1), axis=0).T
        self.grids = [[float(f"{each:.5g}") for each in grid] for grid in grids]
        rows = self._quantiles(table.values)
        weights = _group_weights(table.groups)
        self.linear = _covariances(rows, table.gain, weights)
        self.linear[[at for at, name in enumerate(self.names) if name in _OF_LENGTH]] = 0.0
        self.forest: Any = None
        if "forest" in parts:
            self.forest = _forest(rows, table.gain, weights, seed=seed, trees=trees)
        self.spreads: dict[Part, tuple[float, float]] = {}
        for name in parts:
            values = self._part(name, rows)
            if values.std() > _NO_SPREAD:
                self.spreads[name] = (float(values.mean()), float(values.std()))
        self.sums = np.sum(list(self._scaled(rows).values()), axis=0)

    def values(self, features: Floats) -> dict[Part, Floats]:
        """Each part of each row, on the scale of its spread."""
        return self._scaled(self._quantiles(features))

    def difficulty(self, trained_on: str) -> Difficulty:
        """The same as plain data."""
        trees = () if self.forest is None else self.forest.estimators_
        return Difficulty(
            features=self.names,
            grids=tuple(map(tuple, self.grids)),
            linear=tuple(round(float(weight), 5) for weight in self.linear),
            forest=Forest(tuple(_tree(each.tree_) for each in trees)),
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
            return np.asarray(self.forest.predict(rows))
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


def _covariances(rows: Floats, gain: Floats, weights: Floats) -> Floats:
    """Each feature by itself: what ridge regression tends to as its penalty grows without end."""
    centred = gain - np.average(gain, weights=weights)
    means = np.average(rows, axis=0, weights=weights)
    return np.asarray(np.average((rows - means) * centred[:, None], axis=0, weights=weights))


def _forest(rows: Floats, gain: Floats, weights: Floats, *, seed: int, trees: int) -> Any:
    """Geurts, Ernst and Wehenkel, "Extremely randomized trees" (2006)."""
    regressor: Any = _ensemble().ExtraTreesRegressor(
        n_estimators=trees,
        min_samples_leaf=_LEAST_LEAF,
        max_features=_FEATURES_A_SPLIT,
        random_state=seed,
    )
    mean = float((gain * weights).sum() / weights.sum())
    return regressor.fit(rows, gain - mean, sample_weight=weights)


def _tree(tree: Any) -> Tree:
    is_leaf = [left < 0 for left in tree.children_left]
    values = tree.value[:, 0, 0]

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
    """Each group counts the same, however many rows it has."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    return np.asarray(weights * len(weights) / weights.sum())


def _folds(groups: NDArray[np.str_], seed: int) -> list[tuple[Ints, Ints]]:
    """Folds that share no group."""
    names, inverse = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ConfigError("the examples are of one group; give two or more, or a group each")
    order = np.random.default_rng(seed).permutation(len(names)) % min(_INNER_FOLDS, len(names))
    fold = order[inverse]
    return [
        (np.flatnonzero(fold != each), np.flatnonzero(fold == each))
        for each in range(int(order.max()) + 1)
    ]


def _ensemble() -> Any:
    try:
        from sklearn import ensemble  # pyright: ignore[reportMissingTypeStubs]  # it has none
    except ImportError as error:
        raise ExtraMissing(what="fitting a difficulty", extra="eval") from error
    return ensemble
