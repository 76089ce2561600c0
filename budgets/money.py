"""Money as integers of nano-USD; `Decimal` only at the surface."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation

from agentkit.budgets.errors import InvalidLimit

NUSD_PER_USD = 1_000_000_000
LARGEST_AMOUNT = 2**53
"""Largest limit accepted: beyond it JSON readers and Lua numbers lose integers."""

_EXACT = Context(prec=40)
_LARGEST_USD = Decimal(LARGEST_AMOUNT).scaleb(-9)

Money = Decimal | str | int | float
"""USD as callers write it; a float is read through its shortest decimal form."""


def nusd_from_usd(usd: Money) -> int:
    """Nano-USD in `usd`, exactly.

    Raises InvalidLimit for what is not a finite, non-negative number, is finer than one nano-USD,
    or passes 2**53 nano-USD (about 9 million USD).
    """
    try:
        amount = Decimal(str(usd))
    except InvalidOperation as error:
        raise InvalidLimit(f"{usd!r} is not an amount of USD; write it like '0.05'") from error
    if not amount.is_finite():
        raise InvalidLimit(f"{usd!r} is not an amount of USD; write it like '0.05'")
    if isinstance(usd, bool) or amount < 0:
        raise InvalidLimit(f"an amount of USD cannot be {usd!r}; it must be 0 or more")
    if amount > _LARGEST_USD:
        raise InvalidLimit(
            f"{usd!r} USD is more than the largest limit, {usd_from_nusd(LARGEST_AMOUNT)} USD; "
            "leave the limit out to have none"
        )
    if (amount and amount.adjusted() < -9) or amount != round(amount, 9):
        raise InvalidLimit(f"{usd!r} USD is finer than a nano-USD; use at most nine decimals")
    return int(amount.scaleb(9))


def usd_from_nusd(nusd: int) -> Decimal:
    """USD in `nusd`, exactly, with no zeros at the end."""
    return _EXACT.divide(Decimal(nusd), Decimal(NUSD_PER_USD))


def plain_usd(usd: Decimal) -> str:
    """An amount for JSON: no exponent and no trailing zeros."""
    return f"{usd.normalize():f}" if usd else "0"


def format_usd(nusd: int) -> str:
    """`nusd` for people: four significant decimals below a dollar, never rounded to nothing."""
    usd = usd_from_nusd(nusd)
    if nusd == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    if abs(usd) >= Decimal("0.0001"):
        return f"${usd:.4f}".rstrip("0")
    return f"${usd.normalize():f}"
