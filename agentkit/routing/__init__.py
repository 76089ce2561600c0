"""Where a task begins: rules, functions or what was learned pick the first tier that is asked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
