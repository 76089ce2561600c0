"""How long a call may run and how much of its result is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from agentkit.tools.errors import InvalidLimits


@dataclass(frozen=True, kw_only=True)
class ExecutionLimits:
    """Limits of one step's tool calls; a tool's own timeout and result bound go before these.

    `parallel` calls run at a time. `max_abandoned` timed-out calls may still hold a thread in this
    process before further ones are refused. Raises InvalidLimits where one is not above 0.
    """

    timeout_seconds: float = 30.0
    max_result_bytes: int = 65_536
    parallel: int = 16
    max_abandoned: int = 32

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 < value < math.inf:
                raise InvalidLimits(f"{item.name} is {value!r}; give a finite number above 0")
