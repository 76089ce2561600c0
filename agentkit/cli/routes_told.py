"""Where the steps of a recorded task began, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.budgets.journal import EventRecord

_ROUTE = "route"


def routes_of(events: Sequence[EventRecord]) -> list[dict[str, object]]:
    """The choices of a route in a task's story, in order, as JSON types."""
    found: list[dict[str, object]] = []
    for event in events:
        if event.kind == _ROUTE:
            tiers: Any = event.data.get("tiers")
            found.append(
                {
                    "step": event.step,
                    "tiers": cast("list[str]", tiers) if isinstance(tiers, list) else [],
                    "reason": str(event.data.get("reason", "")),
                    "chances": event.data.get("chances") or {},
                    "is_exploration": bool(event.data.get("is_exploration")),
                }
            )
    return found


def told_route(route: Mapping[str, object]) -> str:
    """A choice in words."""
    tiers = cast("list[object]", route["tiers"])
    return f"step {route['step']} begins with {', then '.join(map(str, tiers))}: {route['reason']}"
