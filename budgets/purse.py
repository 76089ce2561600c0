"""What a subtask takes from its parent: held there from the start, charged when the subtask ends.

The subtask's calls are held and settled in its own scope, under its own limits; its parent, and all
above, hold what those limits allow. At its end they are charged what it spent, and have the rest
back. Each extension is one more reservation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkit.budgets.amount import DIMENSIONS, NOTHING, Amount, Limits
from agentkit.budgets.errors import InvalidLimit, ReservationUnknown
from agentkit.budgets.scope import scope_chain
from agentkit.budgets.store import Denial, denied

if TYPE_CHECKING:
    from agentkit.budgets.ledger import Ledger

_SUFFIX = ".purse."
_TASK_MARK = "/~"
_LEASES = 2
"""A purse outlives the calls of its subtask, so that what they took is known when it ends."""
_LONGEST_SECONDS = 86_400.0


class Purse:
    """The reservations of one subtask in its parent's scopes."""

    def __init__(self, ledger: Ledger, *, task_id: str, scope: str, count: int = 0) -> None:
        self._ledger = ledger
        self._task_id = task_id
        self._chain = purse_chain(scope)
        self.count = count

    def take(self, amount: Amount) -> None:
        """Hold `amount` in the parent and all above; raises BudgetExceeded with nothing held."""
        reservation_id = f"{self._task_id}{_SUFFIX}{self.count + 1}"
        lease = self._ledger.lease_seconds * _LEASES
        answer = self._ledger.try_reserve(reservation_id, amount, self._chain, lease_seconds=lease)
        if isinstance(answer, Denial):
            self._ledger.announcer.breach(answer)
            raise denied(answer)
        self.count += 1
        self._ledger.heartbeat.begin(
            reservation_id, self, lease_seconds=lease, longest_seconds=_LONGEST_SECONDS
        )

    def settle(self, spent: Amount) -> Amount:
        """Charge the parent what the subtask spent in all; returns what was new of it.

        Earlier charges stay: only what they leave of `spent` is charged now.
        """
        left, new = spent, NOTHING
        for number in range(1, self.count + 1):
            reservation_id = f"{self._task_id}{_SUFFIX}{number}"
            self._ledger.heartbeat.end(reservation_id)
            try:
                ended = self._ledger.settle(reservation_id, left)
            except ReservationUnknown:  # long settled and forgotten: its share is charged again
                continue
            if ended.before != "settled":
                new = new.plus(ended.charged)
            left = left.minus(ended.charged)
            left = Amount(*(max(0, each) for each in left))
        return new


def purse_of(limits: Limits, room: Limits) -> Amount:
    """What a subtask with `limits` takes where `room` is left.

    Raises InvalidLimit where something is limited above and not in the subtask: what it may take of
    that could not be held.
    """
    tokens = limits.tokens
    fresh = limits.fresh_tokens if limits.fresh_tokens is not None else tokens
    taken = limits._replace(fresh_tokens=fresh)
    for dimension, wanted, left in zip(DIMENSIONS, taken, room, strict=True):
        if wanted is None and left is not None:
            raise InvalidLimit(
                f"{dimension} are limited above this subtask, with {left:,} left; say how many it "
                "may take, in subtask(budget=Budget(usd=..., tokens=..., calls=...))"
            )
    return Amount(*(each or 0 for each in taken))


def purse_chain(scope: str) -> Sequence[str]:
    """The scopes that a subtask under `scope` takes from: its parent's, and those above it.

    A parent that is a subtask itself has taken what it has: then it is the only one.
    """
    return (scope,) if scope.count(_TASK_MARK) > 1 else scope_chain(scope)


def is_purse(reservation_id: str) -> bool:
    """True for what a subtask took, false for a call."""
    return _SUFFIX in reservation_id
