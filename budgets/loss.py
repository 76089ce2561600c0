"""What a store tells of an org that it lost in part, or that was put back in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from agentkit.budgets.amount import NOTHING, Amount


@dataclass(frozen=True, kw_only=True, slots=True)
class StateLoss:
    """One step of losing an org's state and having it back.

    `lost`: this process noticed, or was told, and brought back what it knew: so many scopes and
    reservations. `reopened`: the org grants again; `orphaned` was held for reservations that nobody
    remembered, and is charged at its worst case. `before` is how the org was then: an `open` one
    stays as it is, a `missing` one is begun without limits. `seq_seen` and `seq_found` count
    changes of the org: as this process knew it, and as the store still had it.
    """

    kind: Literal["lost", "reopened"]
    org: str
    seq_seen: int
    seq_found: int
    scopes: int = 0
    reservations: int = 0
    orphaned: Amount = NOTHING
    before: Literal["closed", "open", "missing"] = "closed"


OnLoss = Callable[[StateLoss], None]


@runtime_checkable
class NoticesLoss(Protocol):
    """A store that can tell that it has forgotten something."""

    on_loss: OnLoss | None

    def reopen(self, org: str) -> StateLoss:
        """Open an org at once, by hand: whatever nobody has brought back by now is given up."""
        ...
