"""What a budget tells its owner, and what the owner may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agentkit.budgets.amount import Amount, check_limits
from agentkit.budgets.budget import LONGEST_SECONDS, Budget
from agentkit.budgets.errors import Dimension, InvalidLimit
from agentkit.budgets.money import Money

EventKind = Literal["threshold", "breach", "overrun", "forfeit", "landing", "lost", "reopened"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetEvent:
    """Something happened to a limit.

    `threshold`: settled spending crossed `fraction` of `limit`. `breach`: a reservation of `asked`
    was denied, so nothing was sent. `overrun`: a call cost more than its reservation, by `asked`.
    `forfeit`: a call was charged at its worst case, for no usage arrived. `landing`: the task gives
    its final answer from the reserve.
    `lost`: the store has forgotten a part of the org `scope`, and grants nothing there.
    `reopened`: it grants again; `asked` is what was charged for calls that nobody remembered.
    Amounts are in the unit of `dimension`: nano-USD, tokens or calls; `at_seconds` is Unix time.
    """

    kind: EventKind
    scope: str
    task_id: str | None
    dimension: Dimension
    limit: int | None
    settled: int
    held: int
    asked: int = 0
    fraction: float | None = None
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Extend:
    """Raise the limits of the task that the event belongs to."""

    usd: Money = 0
    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0

    def amount(self) -> Amount:
        """The extension as an amount; raises InvalidLimit for negative or absurd values."""
        from agentkit.budgets.money import nusd_from_usd

        if not 0 <= self.seconds <= LONGEST_SECONDS:
            raise InvalidLimit(f"an extension by {self.seconds!r} seconds; use 0, up to a year")

        limits = Budget(usd=self.usd, tokens=self.tokens).limits
        check_limits(limits._replace(calls=self.calls))
        return Amount(nusd_from_usd(self.usd), self.tokens, self.tokens, self.calls)


@dataclass(frozen=True, slots=True)
class Land:
    """Give the final answer now, from the landing reserve."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the task now, without an answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait for a person: the task pauses before its next step, and survives a restart meanwhile.

    `agent.resume(thread_id, Extend(...))`, `Land()` or `Stop()` answers. Where an agent keeps no
    checkpoints there is nothing to wait in, and the task lands.
    """


Decision = Extend | Land | Stop | Ask
OnBudget = Callable[[BudgetEvent], Decision | None]


def told(event: BudgetEvent) -> str:
    """An event as one line of a task's story."""
    if event.kind == "threshold" and event.fraction is not None:
        return f"{event.fraction:.0%} of the {event.dimension} limit of {event.scope} is spent"
    if event.kind == "lost":
        return f"the ledger of {event.scope} was lost in part; nothing is granted there"
    return f"{event.kind} in {event.scope}"


def facts(event: BudgetEvent) -> dict[str, object]:
    """An event's numbers, as the journal keeps them."""
    return {
        "scope": event.scope,
        "dimension": event.dimension,
        "limit": event.limit,
        "settled": event.settled,
        "held": event.held,
        "asked": event.asked,
        "fraction": event.fraction,
    }
