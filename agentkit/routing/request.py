"""What a route is asked, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol

from agentkit.errors import ConfigError

StepKind = Literal["request", "observations"]
"""A step that begins a task, or one that goes on from what tools have said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastOutcome:
    """How a tier did on an earlier request. `similarity` is the cosine to the present one.

    `weight` is 1 where a check or a turned-down answer told, less where a task just ended with an
    answer. `was_first` is False for a tier that was asked after another had failed.
    """

    similarity: float
    tier: str
    is_ok: bool
    weight: float
    was_first: bool
    cost_nusd: int
    difficulty: float
    at: float


def _nothing_past() -> Sequence[PastOutcome]:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteRequest:
    """What a route may go by. It holds no word of a tool or of a model.

    `text` is the person's request and `tokens` its length, `tools` are those on offer when the task
    began. `tiers` are the labels from cheap to dear, and `prices_nusd` what a short answer of each
    would cost, None where no price is known. `current` is the order of the step before, empty at
    the first.
    """

    text: str
    kind: StepKind = "request"
    step: int = 1
    tools: tuple[str, ...] = ()
    tokens: int = 0
    scope: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    task_id: str = ""
    tiers: tuple[str, ...] = ()
    prices_nusd: tuple[int | None, ...] = ()
    current: tuple[int, ...] = ()
    recall: Callable[[], Sequence[PastOutcome]] = field(
        default=_nothing_past, repr=False, compare=False
    )

    @property
    def past(self) -> Sequence[PastOutcome]:
        """The outcomes of the most similar earlier requests of the same tenant, nearest first."""
        return self.recall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Routed:
    """The tiers to try, by their places in `models=[...]`, and why.

    `chances` are the chances of each tier to do, by its label, where they were estimated.
    """

    order: tuple[int, ...]
    reason: str
    chances: Mapping[str, float] = field(default_factory=dict[str, float])
    is_exploration: bool = False
    exploration_nusd: int = 0


RouteAnswer = Routed | int | str | Sequence[int | str] | None
"""The tier to begin with, by its place or its label; several, from cheap to dear, to try those
alone; None to leave it as it was, which at the first step is to begin with the cheapest."""


class Route(Protocol):
    """Picks where a step begins; any function of a RouteRequest is one."""

    def __call__(self, request: RouteRequest, /) -> RouteAnswer: ...


def routed(answer: RouteAnswer, request: RouteRequest, *, reason: str) -> Routed:
    """What a route's answer means. Raises ConfigError for what names no tier of the request."""
    tiers = request.tiers
    if isinstance(answer, Routed):
        return Routed(
            order=_ascending([_place(place, tiers) for place in answer.order], tiers),
            reason=answer.reason,
            chances=answer.chances,
            is_exploration=answer.is_exploration,
            exploration_nusd=answer.exploration_nusd,
        )
    if answer is None:
        return Routed(order=request.current or tuple(range(len(tiers))), reason=reason)
    if isinstance(answer, int | str):
        return Routed(order=tuple(range(_place(answer, tiers), len(tiers))), reason=reason)
    if not _is_several(answer):
        raise ConfigError(
            f"a route answered with {type(answer).__name__}; use the place or the label of a tier, "
            "several of them, or None"
        )
    places = _ascending([_place(each, tiers) for each in answer], tiers)
    return Routed(order=places, reason=reason)


def _is_several(answer: object) -> bool:
    return isinstance(answer, Sequence)


def _place(tier: object, tiers: Sequence[str]) -> int:
    known = ", ".join(f"{place} ({label})" for place, label in enumerate(tiers))
    if isinstance(tier, str):
        places = [place for place, label in enumerate(tiers) if label == tier]
        if not places:
            raise ConfigError(f"a route names the tier {tier[:80]!r}; there are {known}")
        return places[0]
    if isinstance(tier, bool) or not isinstance(tier, int):
        raise ConfigError(
            f"a route names a tier by {type(tier).__name__}; use its place or its label: {known}"
        )
    place = tier + len(tiers) if tier < 0 else tier
    if not 0 <= place < len(tiers):
        raise ConfigError(f"a route names the tier {tier}; there are {known}")
    return place


def _ascending(places: Sequence[int], tiers: Sequence[str]) -> tuple[int, ...]:
    if not places:
        raise ConfigError("a route answered with no tier at all; use None for the cheapest")
    if any(left >= right for left, right in pairwise(places)):
        named = ", ".join(tiers[place] for place in places)
        raise ConfigError(f"a route answered with {named}; name each tier once, from cheap to dear")
    return tuple(places)
