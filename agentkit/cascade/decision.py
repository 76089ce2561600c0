"""What becomes of a cheap answer: kept, tried again, helped with a hint, or given to a dearer tier.

With `p` the chance that the answer is right, `c` what the next tier is expected to ask for the
step, `E` what a wrong answer costs, and `s` how scarce money is:

    s    = room / (room - worst)      1 without limits, without end where the next call takes all
    bar  = max(floor, 1 - s * c / E)  keep the answer where p >= bar

Keeping costs (1 - p) * E on average and asking costs s * c, which is where the bar comes from.
`floor` is the threshold at which the quality that is asked for holds on average over all answers
(`Calibration.threshold`): money moves the bar above it and never below it. Where no price was put
on an error, E = c / (1 - floor), and the bar stands at the floor.

An answer under the bar goes the way that is expected to cost least:

    escalate  c
    retry     again + (1 - retry_chance) * c
    sample    again + (1 - p) * c                   where agreement would lift it over the bar
    hint      hint + again + (1 - hint_chance) * c
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agentkit.budgets.amount import NOTHING, UNLIMITED, Amount, Limits

Action = Literal["accept", "retry", "sample", "hint", "escalate", "give_up"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """An answer, what else could be done and what is left to pay for it; money in nano-USD.

    `fault` says why the answer cannot stand whatever its chance. `next_nusd` is None where there is
    no dearer tier. `worst` is the least that has to be held for it, `room` what is left beside what
    is held already, the landing reserve among it. A way whose chance or price is None is not open.
    """

    probability: float
    floor: float
    fault: str | None = None
    next_nusd: int | None = None
    worst: Amount = NOTHING
    room: Limits = UNLIMITED
    error_nusd: int | None = None
    again_nusd: int = 0
    retry_chance: float | None = None
    agreed_probability: float | None = None
    hint_nusd: int | None = None
    hint_chance: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What to do, and why: the answer's chance against the `threshold` that it had to reach.

    `expected_nusd` is what each open way was expected to cost; `scarcity` the `s` of the formula.
    """

    action: Action
    probability: float | None = None
    threshold: float | None = None
    reason: str | None = None
    scarcity: float = 1.0
    expected_nusd: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def accepted(self) -> bool:
        """Whether the answer stands."""
        return self.action == "accept"


def decide(situation: Situation) -> Verdict:
    """The way that the formula above chooses."""
    scarce = scarcity(situation.room, situation.worst)
    bar = threshold(situation)
    ways = _ways(situation, bar)
    short = situation.probability < bar
    reason = situation.fault
    if reason is None and short:
        reason = f"unsure: {situation.probability:.3f} is under {bar:.3f}"
    if reason is None:
        action: Action = "accept"
    elif ways:
        action = min(ways, key=lambda way: ways[way])
    else:
        action = "accept" if situation.fault is None else "give_up"
    return Verdict(
        action=action,
        probability=situation.probability,
        threshold=bar,
        reason=reason,
        scarcity=scarce,
        expected_nusd={way: round(nusd) for way, nusd in ways.items()},
    )


def threshold(situation: Situation) -> float:
    """The chance that an answer must reach to be kept: never below `floor`, never above 1.

    It never rises as `room` shrinks, and never falls as `floor` or `error_nusd` grow.
    """
    asked, error = situation.next_nusd, situation.error_nusd
    if asked is None or not error:
        return situation.floor
    loss = scarcity(situation.room, situation.worst) * asked / error if asked else 0.0
    return max(situation.floor, 1 - loss)


def scarcity(room: Limits, worst: Amount) -> float:
    """How much dearer money has become: 1 without limits, infinite where the next call would take
    all that is left of some dimension."""
    scarce = 1.0
    for left, needed in zip(room, worst, strict=True):
        if left is None or needed <= 0:
            continue
        scarce = max(scarce, left / (left - needed) if left > needed else math.inf)
    return scarce


def _ways(situation: Situation, bar: float) -> dict[Action, float]:
    """What each open way is expected to cost; those that buy least from the next tier first."""
    asked, again = situation.next_nusd, situation.again_nusd
    if asked is None:
        return {}
    ways: dict[Action, float] = {}
    if situation.retry_chance is not None:
        ways["retry"] = again + (1 - situation.retry_chance) * asked
    agreed = situation.agreed_probability
    if agreed is not None and agreed >= bar and situation.fault is None:
        ways["sample"] = again + (1 - situation.probability) * asked
    if situation.hint_nusd is not None:
        ways["hint"] = situation.hint_nusd + again + (1 - situation.hint_chance) * asked
    ways["escalate"] = float(asked)
    return ways
