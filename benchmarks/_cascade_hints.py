"""Hints for benchmarks/cascade.py: on arithmetic, beyond the pocket model, and on its calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit import Agent, Cascade
from agentkit.cascade import Calibration
from agentkit.models.local import local_model
from benchmarks._cascade_frontier import Ended, Frontier, carry_out, ended_of, ledger
from benchmarks._cascade_rows import Row

HINT_TOKENS = 12
_QUALITY = 0.98
_NAMES = ("Ada", "Ben", "Chen", "Dora", "Emil", "Fatma")
_THINGS = ("apples", "stamps", "bricks", "tickets", "cups")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A word problem with its worked answer; the last number is the result."""

    text: str
    worked: str
    result: int

    def is_met_by(self, answer: str) -> bool:
        """Whether the last number of an answer is the result."""
        numbers = [word.strip(".") for word in answer.split() if word.strip(".").isdigit()]
        return bool(numbers) and int(numbers[-1]) == self.result


def problems(count: int) -> list[Problem]:
    """Word problems of two steps, the same every time."""
    rng = random.Random(0)
    found: dict[str, Problem] = {}
    while len(found) < count:
        name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
        boxes, each, gone = rng.randint(3, 12), rng.randint(4, 25), rng.randint(1, 11)
        whole = boxes * each
        text = (
            f"{name} has {boxes} boxes with {each} {thing} in each and gives {gone} {thing} away. "
            f"How many {thing} are left?"
        )
        worked = (
            f"In all boxes there are {boxes} * {each} = {whole} {thing}. After giving {gone} away "
            f"{whole} - {gone} = {whole - gone} are left. The answer is {whole - gone}."
        )
        found[text] = Problem(text=text, worked=worked, result=whole - gone)
    return list(found.values())


def on_arithmetic(count: int) -> dict[str, Any]:
    """Bought tokens and accuracy, by hints and by full escalation, without tools and with one."""
    asked = problems(count)
    hinted = Cascade(hint_tokens=HINT_TOKENS, hint_chance=1.0)
    pocket = local_model("pocket")
    told = [pocket.invoke(each.text, prefix=each.worked[:60]) for each in asked]
    alone = [pocket.invoke(each.text) for each in asked]
    return {
        "problems": len(asked),
        "pocket_alone": _share(
            [each.is_met_by(m.text) for each, m in zip(asked, alone, strict=True)]
        ),
        "pocket_given_the_beginning": _share(
            [each.is_met_by(m.text) for each, m in zip(asked, told, strict=True)]
        ),
        "hints": _sums(_solved(asked, (), hinted)),
        "full_escalation": _sums(_solved(asked, (), Cascade())),
        "hints_with_a_calculator": _sums(_solved(asked, (calculate,), hinted)),
        "full_escalation_with_a_calculator": _sums(_solved(asked, (calculate,), Cascade())),
    }


def on_calls(rows: Sequence[Row], calibration: Calibration) -> dict[str, Any]:
    """The same on SNIPS rows, where a hint is the tool's name."""
    settings = {
        "full_escalation": Cascade(calibration=calibration),
        "hints_where_they_pay": Cascade(calibration=calibration, hint_tokens=HINT_TOKENS),
        "hints_always": Cascade(calibration=calibration, hint_tokens=HINT_TOKENS, hint_chance=1.0),
    }
    return {
        name: _sums(list(carry_out(rows, quality=_QUALITY, cascade=cascade).values()))
        for name, cascade in settings.items()
    }


def calculate(expression: str) -> str:
    """Work out an arithmetic expression."""
    return expression


def _solved(
    asked: Sequence[Problem], tools: Sequence[Callable[..., Any]], cascade: Cascade
) -> list[Ended]:
    frontier = Frontier(answers={each.text: each.worked for each in asked})
    agent = Agent(
        ["local:pocket", frontier], list(tools), ledger=ledger(), quality=_QUALITY, cascade=cascade
    )
    ended: list[Ended] = []
    for each in asked:
        result = agent.run(each.text)
        ended.append(ended_of(result.records, right=each.is_met_by(result.answer)))
    return ended


def _sums(ended: Sequence[Ended]) -> Mapping[str, Any]:
    return {
        "accuracy": _share([each.right for each in ended]),
        "hints": sum(each.hints for each in ended),
        "asked_frontier": _share([each.asked_frontier for each in ended]),
        "dear_input_tokens": sum(each.dear_input_tokens for each in ended),
        "dear_output_tokens": sum(each.dear_output_tokens for each in ended),
        "usd": round(sum(each.cost_nusd for each in ended) / 1e9, 6),
    }


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4)
