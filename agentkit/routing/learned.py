"""A route that learns from how tasks ended: it skips tiers that would fail on such a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentkit.errors import ConfigError
from agentkit.routing.estimate import ability_of, near_chance, record_of
from agentkit.routing.history import RouteHistory
from agentkit.routing.outcome import Outcome
from agentkit.routing.request import Routed, RouteRequest

_LEAST_COSTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How a learned route decides.

    A tier is skipped only with `least_evidence` outcomes of it, where its chance is under
    `least_chance` or trying it costs more than it is expected to save. `explore` is both the share
    of tasks that may begin with a tier that would be skipped, and the most that those may cost on
    top, as a share of what the recorded tasks cost.
    """

    least_chance: float = 0.25
    least_evidence: float = 8.0
    explore: float = 0.05

    def __post_init__(self) -> None:
        """Raises ConfigError for shares that are none."""
        for name in ("least_chance", "explore"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"{name}={getattr(self, name)}; use a share from 0 to 0.5")
        if not self.least_evidence >= 1:
            raise ConfigError(f"least_evidence={self.least_evidence}; use 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class TierView:
    """What is known of one tier for one request; `cost_nusd` is None where nobody knows."""

    label: str
    chance: float
    evidence: float
    cost_nusd: int | None
    dropped_for: str | None = None


class LearnedRoute:
    """Begins with the tier that is expected to cost least until one does; learns from outcomes."""

    def __init__(
        self,
        history: RouteHistory | None = None,
        *,
        learning: Learning | None = None,
    ) -> None:
        """Without a `history` it takes that of the ledger of the agent that it is given to."""
        self.learning = learning or Learning()
        self._history = history

    def bind(self, history: RouteHistory) -> None:
        """Take the history of an agent's ledger, unless there is one already."""
        self._history = self._history or history

    @property
    def history(self) -> RouteHistory:
        """Where outcomes are; raises ConfigError before there is one."""
        if self._history is None:
            raise ConfigError(
                "a LearnedRoute outside an agent needs a history: "
                "LearnedRoute(RouteHistory.of(ledger))"
            )
        return self._history

    def __call__(self, request: RouteRequest, /) -> Routed:
        if request.current:  # picked once a task: its tiers keep their prompt caches
            return Routed(order=request.current, reason="as the task began")
        outcomes = self.history.outcomes(request.scope)
        views = self.views(request, outcomes)
        order, reason = self._cheapest_way(views)
        chances = {view.label: round(view.chance, 3) for view in views}
        explored = self._explored(request, views, order, outcomes)
        if explored is None:
            return Routed(order=order, reason=reason, chances=chances)
        place, extra_nusd = explored
        return Routed(
            order=tuple(sorted({place, *(each for each in order if each > place)})),
            reason=f"{views[place].label} is tried out, which would have been skipped",
            chances=chances,
            is_exploration=True,
            exploration_nusd=extra_nusd,
        )

    def views(
        self, request: RouteRequest, outcomes: Sequence[Outcome] | None = None
    ) -> list[TierView]:
        """What is known of each tier for this request."""
        if outcomes is None:
            outcomes = self.history.outcomes(request.scope)
        by_tier = {label: [o for o in outcomes if o.tier == label] for label in request.tiers}
        near = request.past
        hard = self.history.difficulty(request.text)
        prices = request.prices_nusd or (None,) * len(request.tiers)
        views: list[TierView] = []
        for label, price in zip(request.tiers, prices, strict=True):
            ability = ability_of(by_tier[label])
            chance = near_chance(ability.chance(hard), (p for p in near if p.tier == label))
            cost = _cost(by_tier[label], price)
            worse = self._worse_than(label, cost, by_tier, views)
            views.append(
                TierView(
                    label=label, chance=chance, evidence=ability.evidence, cost_nusd=cost,
                    dropped_for=worse,
                )
            )  # fmt: skip
        return views

    def _worse_than(
        self,
        label: str,
        cost_nusd: int | None,
        by_tier: Mapping[str, Sequence[Outcome]],
        cheaper: Sequence[TierView],
    ) -> str | None:
        """A cheaper tier that did better beyond doubt, where both were asked first."""
        own = record_of(by_tier[label])
        if own.evidence < self.learning.least_evidence or cost_nusd is None:
            return None
        for view in cheaper:
            other = record_of(by_tier[view.label])
            if (
                view.cost_nusd is not None
                and view.cost_nusd <= cost_nusd
                and other.evidence >= self.learning.least_evidence
                and own.high < other.low
            ):
                return view.label
        return None

    def _cheapest_way(self, views: Sequence[TierView]) -> tuple[tuple[int, ...], str]:
        """The tiers to try, by the expected cost until one does, from the dearest down."""
        kept = [place for place, view in enumerate(views) if view.dropped_for is None]
        way: tuple[int, ...] = (kept[-1],)
        expected = float(views[kept[-1]].cost_nusd or 0)
        skipped: list[str] = [
            f"{view.label} is dearer than {view.dropped_for} and worse"
            for view in views
            if view.dropped_for is not None
        ]
        for place in reversed(kept[:-1]):
            view = views[place]
            with_it = (view.cost_nusd or 0) + (1 - view.chance) * expected
            why = self._reason_to_skip(view, with_it, expected)
            if why is None:
                way, expected = (place, *way), with_it
            else:
                skipped.append(why)
        if not skipped:
            return way, "no tier is known to fail on such requests"
        return way, "; ".join(reversed(skipped))

    def _reason_to_skip(self, view: TierView, with_it: float, without: float) -> str | None:
        if view.evidence < self.learning.least_evidence:
            return None
        if view.chance < self.learning.least_chance:
            return f"{view.label} would do in {view.chance:.0%} of such requests"
        if view.cost_nusd is not None and without > 0 and with_it > without:
            return f"trying {view.label} ({view.chance:.0%} would do) costs more than it saves"
        return None

    def _explored(
        self,
        request: RouteRequest,
        views: Sequence[TierView],
        order: Sequence[int],
        outcomes: Sequence[Outcome],
    ) -> tuple[int, int] | None:
        """A tier to try out although it would be skipped, and what that may cost on top."""
        out = [place for place in range(len(views)) if place not in order]
        if not out or _draw(request.task_id) >= self.learning.explore:
            return None
        place = min(out, key=lambda each: (views[each].evidence, each))
        cost = views[place].cost_nusd
        if cost is None:
            return None
        spent = sum(outcome.cost_nusd for outcome in outcomes)
        explored = sum(outcome.exploration_nusd for outcome in outcomes)
        if explored + cost > self.learning.explore * spent:
            return None
        return place, cost


def _cost(outcomes: Sequence[Outcome], price_nusd: int | None) -> int | None:
    """What a task at a tier came to on average, or its price where too few are known."""
    if len(outcomes) < _LEAST_COSTS:
        return price_nusd
    return sum(outcome.cost_nusd for outcome in outcomes) // len(outcomes)


def _draw(task_id: str) -> float:
    """A number from 0 to 1 that belongs to a task, so that a resumed one goes the same way."""
    digest = hashlib.blake2b(task_id.encode(), digest_size=8, person=b"route").digest()
    return int.from_bytes(digest, "big") / 2**64
