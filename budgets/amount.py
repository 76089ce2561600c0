"""What a reservation asks and a limit bounds: money, tokens, uncached tokens, calls."""

from __future__ import annotations

from typing import NamedTuple

from agentkit.budgets.errors import Dimension, InvalidLimit
from agentkit.budgets.money import LARGEST_AMOUNT
from agentkit.budgets.usage import Usage

DIMENSIONS: tuple[Dimension, ...] = ("nusd", "tokens", "fresh_tokens", "calls")


class Amount(NamedTuple):
    """A vector over the four dimensions; integers of 0 or more."""

    nusd: int = 0
    tokens: int = 0
    fresh_tokens: int = 0
    calls: int = 0

    def plus(self, other: Amount) -> Amount:
        """The sum, dimension by dimension."""
        return Amount(
            self[0] + other[0], self[1] + other[1], self[2] + other[2], self[3] + other[3]
        )

    def minus(self, other: Amount) -> Amount:
        """The difference, dimension by dimension; may be negative."""
        return Amount(
            self[0] - other[0], self[1] - other[1], self[2] - other[2], self[3] - other[3]
        )

    def excess_over(self, other: Amount) -> Amount:
        """How far this passes `other`, 0 where it does not."""
        return Amount(*(max(0, a - b) for a, b in zip(self, other, strict=True)))


class Limits(NamedTuple):
    """A bound per dimension; None bounds nothing."""

    nusd: int | None = None
    tokens: int | None = None
    fresh_tokens: int | None = None
    calls: int | None = None

    def least(self, other: Limits) -> Limits:
        """The tighter bound of the two, dimension by dimension."""
        pairs = zip(self, other, strict=True)
        return Limits(*(b if a is None else a if b is None else min(a, b) for a, b in pairs))


NOTHING = Amount()
UNLIMITED = Limits()


def check_limits(limits: Limits) -> Limits:
    """`limits` unchanged; raises InvalidLimit for a negative or absurd bound."""
    for dimension, limit in zip(DIMENSIONS, limits, strict=True):
        if limit is None:
            continue
        if isinstance(limit, bool) or limit < 0:
            raise InvalidLimit(f"a limit of {limit!r} {dimension} is negative; use 0 or more")
        if limit > LARGEST_AMOUNT:
            raise InvalidLimit(
                f"a limit of {limit:,} {dimension} is above 2**53; leave it out to have none"
            )
    return limits


def check_amount(amount: Amount) -> Amount:
    """`amount` unchanged; raises InvalidLimit where it is negative or no store could sum it."""
    if min(amount) < 0 or max(amount) > LARGEST_AMOUNT:
        raise InvalidLimit(f"{amount!r} cannot be held or charged; use 0 to 2**53 each")
    return amount


def amount_of(usage: Usage, *, cost_nusd: int, calls: int = 1) -> Amount:
    """What one call takes from its scopes."""
    total = usage.total_tokens
    return Amount(cost_nusd, total, total - usage.cache_read_tokens, calls)
