"""What a grader is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentkit.budgets.journal import Outcome
from agentkit.evals.case import Case

FailureKind = Literal[
    "wrong answer",
    "no answer",
    "no match",
    "not JSON",
    "wrong JSON",
    "no number",
    "wrong number",
    "unlike",
    "judged wrong",
    "no call",
    "unneeded call",
    "wrong tool",
    "wrong arguments",
    "check failed",
    "declined",
    "cut",
    "landed",
    "exhausted",
    "cancelled",
    "error",
    "grader failed",
]
"""Why a case failed. `declined`: the model said that it cannot; `error`: a provider failed."""

_LONGEST_DETAIL = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeCall:
    """A tool call that a model made; `ran` is False where its arguments did not fit."""

    name: str
    arguments: Mapping[str, Any]
    ran: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One case with what a model made of it. `declined` where it answered that it cannot."""

    case: Case
    answer: str
    calls: tuple[MadeCall, ...] = ()
    outcome: Outcome = "answered"
    declined: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """`score` goes from 0 to 1; `kind` is None where the case passed.

    `cost_nusd` is what grading cost, which is no part of the case's own cost.
    """

    passed: bool
    score: float
    kind: FailureKind | None = None
    detail: str = ""
    cost_nusd: int = 0


Grader = Callable[[Sample], Grade]


def right(score: float = 1.0) -> Grade:
    """The case passed."""
    return Grade(passed=True, score=score)


def wrong(kind: FailureKind, detail: str = "", *, score: float = 0.0) -> Grade:
    """The case failed."""
    return Grade(passed=False, score=score, kind=kind, detail=detail[:_LONGEST_DETAIL])
