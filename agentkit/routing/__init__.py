"""Where a task begins: rules, functions or what was learned pick the first tier that is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkit.lazy import lazy

if TYPE_CHECKING:
    from agentkit.routing.history import RouteHistory
    from agentkit.routing.learned import LearnedRoute
    from agentkit.routing.request import PastOutcome, Route, Routed, RouteRequest
    from agentkit.routing.rules import Rule, RuleRoute

_HOMES = {
    "LearnedRoute": "agentkit.routing.learned",
    "PastOutcome": "agentkit.routing.request",
    "Route": "agentkit.routing.request",
    "RouteHistory": "agentkit.routing.history",
    "RouteRequest": "agentkit.routing.request",
    "Routed": "agentkit.routing.request",
    "Rule": "agentkit.routing.rules",
    "RuleRoute": "agentkit.routing.rules",
}

__all__ = [
    "LearnedRoute",
    "PastOutcome",
    "Route",
    "RouteHistory",
    "RouteRequest",
    "Routed",
    "Rule",
    "RuleRoute",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
