"""What a threshold on a cheap model's confidence would have given in quality and in cost.

Read off the run's own records: each model was tried alone, so what would have come of passing a
case on is known for every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agentkit.evals.case_result import CaseResult
from agentkit.evals.subject import CASCADE

_MOST_POINTS = 120
_LEAST_CASES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """Answers of at least this confidence are taken; the others go to the dearer model.

    `threshold` is None for the point at which every case goes there.
    """

    threshold: float | None
    quality: float
    per_case_nusd: float
    escalated: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """From taking every cheap answer to taking none, in the order of the threshold."""

    cheap: str
    dear: str
    cases: int
    points: tuple[CurvePoint, ...]

    def cheapest(self, quality: float) -> CurvePoint | None:
        """The cheapest point that reaches `quality` on these very cases, which flatters it."""
        good = [point for point in self.points if point.quality >= quality]
        return min(good, key=lambda point: point.per_case_nusd, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The curve as JSON types."""
        return {
            "cheap": self.cheap,
            "dear": self.dear,
            "cases": self.cases,
            "points": [
                {
                    "threshold": point.threshold,
                    "quality": round(point.quality, 4),
                    "cost_per_case_nusd": round(point.per_case_nusd),
                    "escalated": round(point.escalated, 4),
                }
                for point in self.points
            ],
        }


def curves_of(settings: Sequence[str], results: Sequence[CaseResult]) -> tuple[Curve, ...]:
    """A curve for each model and the next dearer one, where answers were given a confidence."""
    alone = [name for name in settings if name != CASCADE]
    found = (curve_of(cheap, dear, results) for cheap, dear in pairwise(alone))
    return tuple(curve for curve in found if curve is not None)


def curve_of(cheap: str, dear: str, results: Sequence[CaseResult]) -> Curve | None:
    """The curve over the cases that both were tried on; None without confidences."""
    first = {result.case_id: result for result in results if result.setting == cheap}
    second = {result.case_id: result for result in results if result.setting == dear}
    pairs = [(first[case], second[case]) for case in first if case in second]
    sure = sorted({one.confidence for one, _ in pairs if _may_be_taken(one)}, key=_number)
    if len(pairs) < _LEAST_CASES or len(sure) < 2:
        return None
    step = max(1, -(-len(sure) // _MOST_POINTS))
    thresholds: list[float | None] = [*sure[::step], None]
    points = tuple(_point(pairs, threshold) for threshold in thresholds)
    return Curve(cheap=cheap, dear=dear, cases=len(pairs), points=points)


def _point(pairs: Sequence[tuple[CaseResult, CaseResult]], threshold: float | None) -> CurvePoint:
    right = cost = passed_on = 0
    for cheap, dear in pairs:
        taken = threshold is not None and _may_be_taken(cheap) and _number(cheap) >= threshold
        right += cheap.passed if taken else dear.passed
        cost += cheap.cost_nusd + (0 if taken else dear.cost_nusd)
        passed_on += not taken
    count = len(pairs)
    return CurvePoint(
        threshold=threshold,
        quality=right / count,
        per_case_nusd=cost / count,
        escalated=passed_on / count,
    )


def _may_be_taken(result: CaseResult) -> bool:
    return result.confidence is not None and result.tier >= 0


def _number(value: CaseResult | float | None) -> float:
    number = value.confidence if isinstance(value, CaseResult) else value
    return 0.0 if number is None else number
