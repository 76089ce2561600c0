"""What benchmarks/cascade.py reckons: intervals, calibration errors, how well chances sort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.evals.interval import wilson

_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A scored row at one setting; `alone_*` by the frontier alone, `*first_*` its first call."""

    right: bool
    asked_frontier: bool
    cost_nusd: int
    first_nusd: int
    alone_nusd: int
    alone_first_nusd: int


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right answer scores above a wrong one; ties count half."""
    good = [score for score, is_right in zip(scores, right, strict=True) if is_right]
    bad = [score for score, is_right in zip(scores, right, strict=True) if not is_right]
    wins = sum((one > other) + (one == other) / 2 for one in good for other in bad)
    return wins / (len(good) * len(bad))


def brier(chances: Sequence[float], right: Sequence[bool]) -> float:
    """The mean square of how far the chance was from what came true."""
    return sum((p - is_right) ** 2 for p, is_right in zip(chances, right, strict=True)) / len(right)


def calibration_error(chances: Sequence[float], right: Sequence[bool]) -> float:
    """The mean distance of promised from real, over ten bins of equally many answers."""
    pairs = sorted(zip(chances, right, strict=True))
    total = 0.0
    for index in range(_BINS):
        held = pairs[index * len(pairs) // _BINS : (index + 1) * len(pairs) // _BINS]
        total += abs(sum(chance - is_right for chance, is_right in held))
    return total / len(pairs)


def setting_figures(
    promised: float, halves: Sequence[Sequence[Outcome]], different_rows: int
) -> dict[str, Any]:
    """One promised quality over all scored halves.

    The halves of many splits are the same rows again and again, so the interval is that of
    `different_rows`, as many as one halving scores, and not of all outcomes.
    """
    outcomes = [outcome for half in halves for outcome in half]
    quality = _share([outcome.right for outcome in outcomes])
    low, high = wilson(round(quality * different_rows), different_rows)
    right = sum(outcome.right for outcome in outcomes)
    resolved = sum(outcome.cost_nusd for outcome in outcomes) / right
    relayed = sum(outcome.first_nusd for outcome in outcomes) / right
    alone = sum(outcome.alone_nusd for outcome in outcomes) / len(outcomes)
    alone_first = sum(outcome.alone_first_nusd for outcome in outcomes) / len(outcomes)
    met = [
        promised <= wilson(sum(outcome.right for outcome in half), len(half))[1] for half in halves
    ]
    return {
        "promised": promised,
        "end_quality": round(quality, 4),
        "interval": [round(low, 4), round(high, 4)],
        "met": promised <= high,
        "inside": low <= promised <= high,
        "halves_met": round(_share(met), 3),
        "least_half": round(min(_share([outcome.right for outcome in half]) for half in halves), 4),
        "asked_frontier": round(_share([outcome.asked_frontier for outcome in outcomes]), 4),
        "usd_a_resolved_task": round(resolved / 1e9, 6),
        "saved": round(1 - resolved / alone, 4),
        "saved_relayed": round(1 - relayed / alone, 4),
        "saved_of_one_call": round(1 - relayed / alone_first, 4),
    }


def is_monotone(settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether more promised is never less quality, nor fewer tasks for the frontier."""
    rows = [(setting["end_quality"], setting["asked_frontier"]) for setting in settings]
    return all(list(column) == sorted(column) for column in zip(*rows, strict=True))


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
