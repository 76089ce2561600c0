"""The chance that a tier will do: how it did so far, how hard the request is, how it did on such.

A tier's chance on a request of difficulty `z` is `1 / (1 + exp(b * z - a))`. `a` and `b` are fitted
to its outcomes by maximum a posteriori (Newton's method), from a prior that holds until there are
some. The nearest outcomes then pull the chance to their own share of successes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentkit.routing.outcome import Outcome
from agentkit.routing.request import PastOutcome

_PRIOR_LEVEL, _PRIOR_SLOPE = 1.0, 0.5
"""Seven in ten requests of middling difficulty, and six in ten of those one deviation above."""
_LEVEL_PRECISION, _SLOPE_PRECISION = 1 / 1.5**2, 1 / 0.5**2
_NEWTON_STEPS = 8
_LIKE_FROM = 0.5
_MODEL_WEIGHT = 2.0
_SURE = 1.2816
"""Nine of ten draws of a normal distribution lie below it."""


class Record(NamedTuple):
    """How a tier did on the tasks that began with it: a share, its bounds, the evidence for it."""

    share: float
    low: float
    high: float
    evidence: float


class Ability(NamedTuple):
    """A tier's fitted level and slope, and the evidence that they were fitted to."""

    level: float
    slope: float
    evidence: float

    def chance(self, difficulty: float) -> float:
        """The chance on a request of this difficulty."""
        return _sigmoid(self.level - self.slope * difficulty)


def ability_of(outcomes: Sequence[Outcome]) -> Ability:
    """What a tier's outcomes say about it; the prior where there are none."""
    level, slope = _PRIOR_LEVEL, _PRIOR_SLOPE
    for _ in range(_NEWTON_STEPS if outcomes else 0):
        g0 = _LEVEL_PRECISION * (_PRIOR_LEVEL - level)
        g1 = _SLOPE_PRECISION * (_PRIOR_SLOPE - slope)
        h00, h01, h11 = _LEVEL_PRECISION, 0.0, _SLOPE_PRECISION
        for outcome in outcomes:
            z = outcome.difficulty
            p = _sigmoid(level - slope * z)
            residual = outcome.weight * (outcome.is_ok - p)
            curvature = outcome.weight * p * (1 - p)
            g0 += residual
            g1 -= residual * z
            h00 += curvature
            h01 -= curvature * z
            h11 += curvature * z * z
        determinant = h00 * h11 - h01 * h01
        level += (h11 * g0 - h01 * g1) / determinant
        slope += (h00 * g1 - h01 * g0) / determinant
    return Ability(level, slope, sum(outcome.weight for outcome in outcomes))


def near_chance(chance: float, near: Iterable[PastOutcome]) -> float:
    """`chance`, pulled towards what became of similar requests by as much as they are alike."""
    good, weight = _MODEL_WEIGHT * chance, _MODEL_WEIGHT
    for past in near:
        alike = max(0.0, (past.similarity - _LIKE_FROM) / (1 - _LIKE_FROM)) ** 2 * past.weight
        good += alike * past.is_ok
        weight += alike
    return good / weight


def record_of(outcomes: Iterable[Outcome]) -> Record:
    """How a tier did where it was asked first: what came after another's failure is harder."""
    first = [outcome for outcome in outcomes if outcome.was_first]
    good = 1.0 + sum(outcome.weight for outcome in first if outcome.is_ok)
    evidence = sum(outcome.weight for outcome in first)
    share = good / (2.0 + evidence)
    spread = _SURE * math.sqrt(share * (1 - share) / (3.0 + evidence))
    return Record(share, share - spread, share + spread, evidence)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, x))))
