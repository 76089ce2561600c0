"""Regression trees as plain data: read with care, walked without numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.routing.json_value import is_list, is_number

_MOST_TREES = 1_000
_MOST_NODES = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A node `i` sends a row left where `row[feature[i]] <= threshold[i]`.

    A child has a later place than its parent, so that every walk ends; a leaf has the feature -1
    and its value for a threshold.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def value(self, row: Sequence[float]) -> float:
        """The value of the leaf that the row comes to."""
        at = 0
        while (feature := self.feature[at]) >= 0:
            at = self.left[at] if row[feature] <= self.threshold[at] else self.right[at]
        return self.threshold[at]

    def to_json(self) -> list[list[float]]:
        """The tree as JSON types."""
        return [
            list(self.feature),
            [round(each, 5) for each in self.threshold],
            list(self.left),
            list(self.right),
        ]


@dataclass(frozen=True, slots=True)
class Forest:
    """The mean of its trees; 0 without any."""

    trees: tuple[Tree, ...] = ()

    def value(self, row: Sequence[float]) -> float:
        """The forest's value for a row of features."""
        if not self.trees:
            return 0.0
        return sum(tree.value(row) for tree in self.trees) / len(self.trees)

    def to_json(self) -> list[list[list[float]]]:
        """The trees as JSON types."""
        return [tree.to_json() for tree in self.trees]


def read_forest(data: object, features: int) -> Forest:
    """The forest in JSON types; raises ValueError for what is none over so many features."""
    if not is_list(data):
        raise ValueError("a forest is a list of trees")
    if len(data) > _MOST_TREES:
        raise ValueError(f"a forest of {len(data)} trees; at most {_MOST_TREES}")
    read = tuple(_read_tree(tree, features) for tree in data)
    if sum(len(tree.feature) for tree in read) > _MOST_NODES:
        raise ValueError(f"a forest of more than {_MOST_NODES} nodes")
    return Forest(read)


def _read_tree(data: object, features: int) -> Tree:
    columns = data if is_list(data) else []
    if len(columns) != 4 or not all(map(is_list, columns)):
        raise ValueError("a tree is four lists: feature, threshold, left, right")
    feature, threshold, left, right = columns
    size = len(feature)
    if not 0 < size <= _MOST_NODES or {len(threshold), len(left), len(right)} != {size}:
        raise ValueError("the lists of a tree are not of one length")
    for at in range(size):
        if type(feature[at]) is not int or not -1 <= feature[at] < features:
            raise ValueError(f"a tree asks for feature {feature[at]!r}")
        if not is_number(threshold[at]):
            raise ValueError("a threshold is no finite number")
        if feature[at] >= 0:
            for child in (left[at], right[at]):
                if type(child) is not int or not at < child < size:
                    raise ValueError("a tree's child does not come after its parent")
    return Tree(
        feature=tuple(feature), threshold=tuple(map(float, threshold)),
        left=tuple(left), right=tuple(right),
    )  # fmt: skip
