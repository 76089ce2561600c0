"""route: which tiers a step may ask, picked before it asks any, and what an ended task teaches.

A route only orders the tiers that are there; what may be spent is the ledger's to say. It is told
the person's request and nothing that a tool or a model wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Protocol, cast, runtime_checkable

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.usage import Usage
from agentkit.effects import Blocking, Work
from agentkit.errors import AgentError, ConfigError, ExtraMissing
from agentkit.models.tier import Tier
from agentkit.routing.history import RouteHistory, outcomes_of
from agentkit.routing.learned import LearnedRoute
from agentkit.routing.outcome import RouteStoreError
from agentkit.routing.request import PastOutcome, Route, RouteAnswer, Routed, RouteRequest, routed
from agentkit.routing.rules import RuleRoute
from agentkit.run import Run
from agentkit.state import AgentState, transcript
from agentkit.tools.provision.toolbox import Toolbox
from agentkit.tools.recall import RECALL

_log = logging.getLogger("agentkit.routing")


class Thinking(Protocol):
    """A step of some of an agent's tiers."""

    def __call__(self, state: AgentState, *, tiers: Sequence[Tier]) -> Work[AgentState]: ...


RouteSetting = Route | Literal["learned"]

ROUTE = "route"
"""The kind of the events."""
EXPECTED_OUTPUT_TOKENS = 200
"""Of the short answer whose price a route is told."""


@runtime_checkable
class Learns(Protocol):
    """A route that keeps what ended tasks teach."""

    def bind(self, history: RouteHistory) -> None:
        """Take the history of the agent's ledger."""
        ...


class Routing:
    """An agent's route, beside its ledger; without one every step begins with the cheapest tier."""

    def __init__(self, route: RouteSetting | None, ledger: Ledger, tiers: Sequence[Tier]) -> None:
        """Raises ConfigError for a route that is none or names tiers that are not there, and
        ExtraMissing or RouteStoreError for a learned one that cannot be."""
        self._ledger = ledger
        self._tiers = tiers
        self._labels = tuple(tier.label for tier in tiers)
        self._history: RouteHistory | None = None
        self._route = _checked(route, self._labels)
        for each in _chain(self._route):
            if isinstance(each, Learns):
                each.bind(self.history())
        self._remembers = any(not isinstance(each, RuleRoute) for each in _chain(self._route))

    def history(self) -> RouteHistory:
        """What this ledger's tasks have shown; raises ExtraMissing or RouteStoreError."""
        if self._history is None:
            self._history = RouteHistory.of(self._ledger)
        return self._history

    def think(
        self, state: AgentState, run: Run, toolbox: Toolbox, thinking: Thinking
    ) -> Work[AgentState]:
        """`thinking`, with the tiers that the route picks for this step."""
        if self._route is None:
            return (yield from thinking(state, tiers=self._tiers))
        update = yield from self._picked(self._route, state, run, toolbox)
        state = {**state, **update}
        order: list[int] = state.get("route", {}).get("order", [])
        after = yield from thinking(state, tiers=[self._tiers[place] for place in order])
        return {**update, **after}

    def learn(self, state: AgentState, run: Run, record: TaskRecord) -> Work[None]:
        """Keep what an ended task says about its tiers; a store that fails loses no answer."""
        if not self._remembers:
            return
        learn = partial(self._learn, state, run, record)
        yield Blocking(learn, run.task.ledger.store.blocking)

    def _picked(
        self, route: Route, state: AgentState, run: Run, toolbox: Toolbox
    ) -> Work[AgentState]:
        before = tuple(cast("list[int]", (state.get("route") or {}).get("order", [])))
        request = self._request(state, run, toolbox, before)
        found = yield Blocking(partial(self._ask, route, request), self._may_block)
        floor = state.get("tier", 0) if state.get("escalations", 0) else 0
        order = tuple(each for each in found.order if each >= floor) or (floor,)
        if order == before:
            return {}
        yield Blocking(partial(_tell, run, request, found, order), self._may_block)
        kept: dict[str, Any] = {"order": list(order), "reason": found.reason}
        if found.is_exploration:
            kept["exploration_nusd"] = found.exploration_nusd
        return {"route": kept, "tier": order[0]}

    @property
    def _may_block(self) -> bool:
        return self._ledger.store.blocking

    def _request(
        self, state: AgentState, run: Run, toolbox: Toolbox, before: tuple[int, ...]
    ) -> RouteRequest:
        messages = transcript(state)
        text = messages[state.get("request_at", 0)].text
        tokens = self._tiers[0].counter.text(text)
        record = run.task.record
        offered = state.get("offered") or []
        names = offered[0]["names"] if offered else toolbox.catalogue.names
        return RouteRequest(
            text=text,
            kind="request" if state.get("step", 1) <= 1 else "observations",
            step=state.get("step", 1),
            tools=tuple(name for name in names if name != RECALL),
            tokens=tokens,
            scope=record.scope,
            tags=record.tags,
            task_id=record.task_id,
            tiers=self._labels,
            prices_nusd=tuple(self._price(tier, tokens) for tier in self._tiers),
            current=before,
            recall=partial(self._recall, record.scope, text),
        )

    def _price(self, tier: Tier, tokens: int) -> int | None:
        price = self._ledger.prices.price(tier.name, tier.provider)
        if price.state == "unknown":
            return None
        return price.cost_nusd(Usage(input_tokens=tokens, output_tokens=EXPECTED_OUTPUT_TOKENS))

    def _recall(self, scope: str, text: str) -> Sequence[PastOutcome]:
        try:
            return self.history().nearest(scope, text)
        except (ExtraMissing, RouteStoreError) as error:
            _log.warning("no past outcomes: %s", error)
            return ()

    def _ask(self, route: Route, request: RouteRequest) -> Routed:
        """What the route says; a route that fails stops no task."""
        try:
            answer: RouteAnswer = route(request)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001  the user's own code, or a store that is away
            reason = f"the route failed ({type(error).__name__}); the cheapest tier begins"
            return routed(None, request, reason=reason)
        return routed(answer, request, reason="the route said so")

    def _learn(self, state: AgentState, run: Run, record: TaskRecord) -> None:
        messages = transcript(state)
        text = messages[state.get("request_at", 0)].text
        explored: int = (state.get("route") or {}).get("exploration_nusd", 0)
        found = outcomes_of(
            record, run.task.calls, at=self._ledger.clock(), exploration_nusd=explored
        )
        if not found:
            return
        try:
            self.history().record(record.scope, text, found)
        except ExtraMissing as error:
            self._remembers = False  # said once: a route that needs it would not have been made
            _log.info("no outcomes are kept for routes: %s", error)
        except AgentError as error:
            _log.warning("task %s taught no route: %s", record.task_id, error)


def _checked(route: RouteSetting | None, labels: Sequence[str]) -> Route | None:
    if route is None:
        return None
    if route == "learned":
        return LearnedRoute()
    if isinstance(route, str) or not callable(route):
        raise ConfigError(
            f"route={route!r}; use 'learned', RuleRoute([...]), or a function of a RouteRequest"
        )
    for each in _chain(route):
        if isinstance(each, RuleRoute):
            each.check(labels)
    return route


def _chain(route: Route | None) -> list[Route]:
    """A route, and those that it leaves a request to."""
    found: list[Route] = []
    while route is not None:
        found.append(route)
        route = route.otherwise if isinstance(route, RuleRoute) else None
    return found


def _tell(run: Run, request: RouteRequest, found: Routed, order: tuple[int, ...]) -> None:
    """Put the choice into the task's story and its trace; the request's words stay out of both."""
    labels = [request.tiers[place] for place in order]
    run.trace.route(step=request.step, tier=order[0], reason=found.reason)
    run.task.note(
        ROUTE,
        f"begins with {labels[0]}: {found.reason}",
        step=request.step,
        data={
            "order": list(order),
            "tiers": labels,
            "reason": found.reason,
            "chances": dict(found.chances),
            "is_exploration": found.is_exploration,
        },
    )
