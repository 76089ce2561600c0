"""Money at the surface: exact, and as people read it."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from agentkit.budgets.money import LARGEST_AMOUNT, format_usd, nusd_from_usd, usd_from_nusd


@pytest.mark.parametrize(
    ("nusd", "text"), [(0, "0"), (4_802_200, "0.0048022"), (1_500_000_000, "1.5")]
)
def test_usd_has_no_zeros_at_the_end(nusd: int, text: str) -> None:
    assert str(usd_from_nusd(nusd)) == text
    assert nusd_from_usd(usd_from_nusd(nusd)) == nusd


def test_usd_is_exact_whatever_precision_the_program_works_with() -> None:
    with localcontext() as context:
        context.prec = 3
        usd = usd_from_nusd(LARGEST_AMOUNT)
    assert usd == Decimal("9007199.254740992")


def test_a_nano_usd_is_not_rounded_to_nothing() -> None:
    assert format_usd(1) == "$0.000000001"
