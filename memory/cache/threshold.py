"""The least likeness at which an answer may serve: calibrated to a promised share of wrong hits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NEVER = math.inf


class Outcome(NamedTuple):
    """A look-up whose truth is known: the likeness of the questions, and if the answer fitted."""

    score: float
    right: bool


def threshold_for(outcomes: Iterable[Outcome], max_wrong: float) -> float:
    """The lowest score from which on at most `max_wrong` of the hits are wrong, or NEVER.

    The share is counted as (wrong + 1) / (hits + 1): the bound of conformal risk control for a loss
    of 0 or 1 (Angelopoulos et al., "Conformal Risk Control", 2022, equation 4), which holds on
    average for rows like the calibration's. So 99 hits without an error are the least that can
    promise 1 %. Raises ValueError for a share that is not between 0 and 1.
    """
    if not 0 < max_wrong < 1:
        raise ValueError(f"max_wrong={max_wrong}; give a share between 0 and 1, like 0.01")
    ranked = sorted(outcomes, key=lambda outcome: -outcome.score)
    best = NEVER
    wrong = 0
    for place, outcome in enumerate(ranked):
        wrong += not outcome.right
        last_of_its_score = place + 1 == len(ranked) or ranked[place + 1].score < outcome.score
        if last_of_its_score and (wrong + 1) / (place + 2) <= max_wrong:
            best = outcome.score
    return best


def moved_threshold(base: float, served: Sequence[Outcome], max_wrong: float) -> float:
    """`base`, raised until the hits that were served and reported on keep the promise.

    A hit that nobody reported counts as right. One report among few hits raises the threshold just
    over that hit's score: caution costs calls, not trust.
    """
    bad = sorted({outcome.score for outcome in served if not outcome.right})
    for candidate in (base, *(math.nextafter(score, math.inf) for score in bad)):
        kept = [outcome for outcome in served if outcome.score >= max(candidate, base)]
        wrong = sum(not outcome.right for outcome in kept)
        if wrong <= max_wrong * len(kept):
            return max(candidate, base)
    return NEVER
