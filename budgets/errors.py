"""What can go wrong with a budget.

BudgetError
├── InvalidLimit          a limit, price or scope that makes no sense (also a ValueError)
├── BudgetExceeded        a reservation was denied; nothing was sent
├── BudgetTooSmall        the limit cannot even pay for the landing answer
├── PriceUnknown          money is limited and the model has no price
├── DeadlineExceeded      the task's seconds are used up
├── ScopeMissing          a reservation names a scope that the ledger does not hold
├── ReservationConflict   one reservation id, two different requests
├── ReservationUnknown    a verb names a reservation that the ledger does not hold
├── CallLost              a dead process of this task had sent a call, and it may not be repeated
├── TaskMissing           something is to be paid, and no task is there to pay it (a LookupError)
└── StoreError            the store cannot be opened or did not answer
    └── BudgetStateLost   the store knows less than it did: nothing is granted until it is whole
"""

from __future__ import annotations

from typing import Literal

Dimension = Literal["nusd", "tokens", "fresh_tokens", "calls"]


class BudgetError(Exception):
    """Parent of every error that agentkit.budgets raises."""


class InvalidLimit(BudgetError, ValueError):
    """A limit, price or scope path that cannot be meant."""


class BudgetExceeded(BudgetError):
    """A reservation was denied, so the request was never sent.

    `asked`, `available` and `limit` are in the unit of `dimension`: nano-USD, tokens or calls.
    """

    def __init__(
        self, *, scope: str, dimension: Dimension, asked: int, available: int, limit: int
    ) -> None:
        self.scope = scope
        self.dimension: Dimension = dimension
        self.asked = asked
        self.available = available
        self.limit = limit
        super().__init__(
            f"asked {_quantity(dimension, asked)}, {_quantity(dimension, max(available, 0))} left "
            f"of {_quantity(dimension, limit)} in {scope!r}; "
            "raise the limit or let the task land"
        )


class BudgetTooSmall(BudgetError):
    """The limit is below the landing reserve, so the task could never answer."""

    def __init__(self, *, dimension: Dimension, needed: int, limit: int, scope: str) -> None:
        self.dimension: Dimension = dimension
        self.needed = needed
        self.limit = limit
        self.scope = scope
        super().__init__(
            f"a budget of {_quantity(dimension, limit)} in {scope!r} is below the landing reserve: "
            f"the final answer alone may take {_quantity(dimension, needed)}; "
            "raise the limit, shorten the request, or put a cheaper model in models=[...]"
        )


class PriceUnknown(BudgetError):
    """Money is limited, and nobody knows what this model costs."""

    def __init__(self, *, model: str, provider: str) -> None:
        self.model = model
        self.provider = provider
        super().__init__(
            f"no price is known for model {model!r} of provider {provider!r}, and the budget "
            "limits money; add the model to a prices file (`agentkit prices show MODEL` says how), "
            "mark it free there, or limit tokens instead of USD"
        )


class DeadlineExceeded(BudgetError):
    """The task's seconds are used up."""

    def __init__(self, *, limit_seconds: float, elapsed_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        self.elapsed_seconds = elapsed_seconds
        super().__init__(
            f"{elapsed_seconds:.1f} s of {limit_seconds:g} s are used; "
            "raise the limit or let the task land"
        )


class ScopeMissing(BudgetError):
    """A reservation names a scope that the ledger does not hold, so it is refused."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"scope {path!r} does not exist in this ledger; open the task again, or check that "
            "every process uses the same ledger"
        )


class ReservationConflict(BudgetError):
    """The same reservation id came back with another request behind it."""

    def __init__(self, reservation_id: str) -> None:
        self.reservation_id = reservation_id
        super().__init__(
            f"reservation {reservation_id!r} exists for a different request; ids must be unique"
        )


class ReservationUnknown(BudgetError):
    """A verb names a reservation that the ledger does not hold."""

    def __init__(self, reservation_id: str) -> None:
        self.reservation_id = reservation_id
        super().__init__(f"reservation {reservation_id!r} is not in this ledger")


class CallLost(BudgetError):
    """A task is taken up whose dead process had sent calls that were never answered."""

    def __init__(self, *, task_id: str, calls: int, charged_nusd: int) -> None:
        self.task_id = task_id
        self.calls = calls
        self.charged_nusd = charged_nusd
        super().__init__(
            f"task {task_id!r} died with {_quantity('calls', calls)} sent and not answered, "
            f"charged at the worst case of {_quantity('nusd', charged_nusd)}; they may have been "
            'carried out: look, then resume with on_lost_call="repeat"'
        )


class TaskMissing(BudgetError, LookupError):
    """Something is to be paid where no task is current, so it is refused."""

    def __init__(self) -> None:
        super().__init__(
            "no task is running here, so nothing can be spent; name one, like "
            "metered(model, task), use `with spending(task):`, or wrap what a thread or a pool "
            "runs in carry(...)"
        )


class StoreError(BudgetError):
    """The store cannot be opened, or it failed; with a budget this fails closed."""


class BudgetStateLost(StoreError):
    """The store has forgotten spending of an org, or was put back in time: it grants nothing there.

    `seq_seen` is how many changes of the org this process had seen, `seq_found` how many the store
    still had. `reopens_in_seconds` is None where the org stays closed until it is opened by hand.
    """

    def __init__(
        self, *, org: str, seq_seen: int, seq_found: int, reopens_in_seconds: float | None
    ) -> None:
        self.org = org
        self.seq_seen = seq_seen
        self.seq_found = seq_found
        self.reopens_in_seconds = reopens_in_seconds
        by_hand = f"`agentkit budget reopen {org}`"
        what_next = (
            f"nobody has brought it back, so it stays closed until {by_hand} begins it anew"
            if reopens_in_seconds is None
            else f"it opens again in {reopens_in_seconds:.0f} s, once the processes that spend "
            f"there have brought back what they know, or with {by_hand}"
        )
        what = (
            f"the ledger of {org!r} was lost in part or put back in time: change {seq_found} where "
            f"{seq_seen} was seen"
            if seq_seen
            else f"the ledger of {org!r} is not there, and it must be"
        )
        super().__init__(f"{what}; nothing is granted there: {what_next}")


def _quantity(dimension: Dimension, amount: int) -> str:
    """An amount with its unit, as an error shows it."""
    if dimension == "nusd":
        from agentkit.budgets.money import format_usd

        return format_usd(amount)
    unit = {"tokens": "token", "fresh_tokens": "uncached token", "calls": "call"}[dimension]
    return f"{amount:,} {unit}{'' if amount == 1 else 's'}"
