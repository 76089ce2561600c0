"""How sure a share is, and whether two runs over the same cases differ."""

from __future__ import annotations

import math
from fractions import Fraction

Z95 = 1.959964
"""Two-sided 95 % of the normal distribution."""
Z90_BELOW = 1.281552
"""One-sided 90 %: in nine of ten samples the truth is above the lower bound that it makes."""


def wilson(right: float, count: int, *, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share, of 95 % where `z` is not another; (0, 1) for nothing.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference": unlike
    the textbook interval it holds near 0 and 1, and for few cases.
    """
    if count == 0:
        return 0.0, 1.0
    share, z2 = right / count, z**2
    centre = share + z2 / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    whole = 1 + z2 / count
    return max(0.0, (centre - spread) / whole), min(1.0, (centre + spread) / whole)


def paired_p_value(only_before: int, only_after: int) -> float:
    """How likely so uneven a split is where nothing has changed: McNemar's exact test.

    The arguments count the cases that only one of two runs got right; 1 where there is none.
    """
    changed = only_before + only_after
    if changed == 0:
        return 1.0
    tail = sum(math.comb(changed, k) for k in range(min(only_before, only_after) + 1))
    return min(1.0, float(Fraction(2 * tail, 1 << changed)))
