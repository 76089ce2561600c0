"""Budgets, limits, scopes and money as people write them, sensible or not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentkit.budgets import Amount, Budget, InvalidLimit, Limits, Scope, Usage
from agentkit.budgets.amount import check_limits
from agentkit.budgets.money import LARGEST_AMOUNT, format_usd, nusd_from_usd, usd_from_nusd
from agentkit.budgets.scope import Window, scope_chain


@given(st.integers(0, LARGEST_AMOUNT))
def test_money_survives_the_round_trip(nusd: int) -> None:
    usd = usd_from_nusd(nusd)
    assert nusd_from_usd(usd) == nusd_from_usd(str(usd)) == nusd


@pytest.mark.parametrize(
    ("usd", "nusd"),
    [("0.05", 50_000_000), (0.1, 100_000_000), (3, 3_000_000_000), ("1e-9", 1), (Decimal(0), 0)],
)
def test_money_is_read_exactly(usd: Decimal | str | float, nusd: int) -> None:
    assert nusd_from_usd(usd) == nusd


@pytest.mark.parametrize(
    ("usd", "complaint"),
    [
        ("abc", "not an amount"),
        ("nan", "not an amount"),
        ("inf", "not an amount"),
        (True, "not an amount"),
        (-1, "0 or more"),
        ("-1e-9", "0 or more"),
        ("1e-10", "nine decimals"),
        ("0.1234567891", "nine decimals"),
        ("9007199.254740993", "largest limit"),
        ("1e900000000", "largest limit"),
        ("1e999999999999999999999", "not an amount"),
    ],
)
def test_money_that_cannot_be_meant(usd: str | float, complaint: str) -> None:
    with pytest.raises(InvalidLimit, match=complaint):
        nusd_from_usd(usd)


@pytest.mark.parametrize(
    ("nusd", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (50_000, "$0.00005"),
        (13_200_000, "$0.0132"),
        (50_000_000, "$0.05"),
        (1_234_500_000_000, "$1,234.50"),
        (-5_000_000, "$-0.005"),
    ],
)
def test_money_is_shown_for_people(nusd: int, shown: str) -> None:
    assert format_usd(nusd) == shown


def test_budget_limits_are_in_ledger_units() -> None:
    assert Budget(usd="0.05", tokens=40_000, calls=30).limits == Limits(
        nusd=50_000_000, tokens=40_000, calls=30
    )
    assert Budget(tokens=9, count_cached=False).limits == Limits(fresh_tokens=9)
    assert Budget().limits == Limits()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"usd": "-1"}, "0 or more"),
        ({"tokens": -1}, "negative"),
        ({"tokens": 2**53 + 1}, r"above 2\*\*53"),
        ({"calls": -3}, "negative"),
        ({"calls": 0}, "cannot answer"),
        ({"seconds": 0}, "more than 0"),
        ({"seconds": float("nan")}, "more than 0"),
        ({"seconds": float("inf")}, "up to a year"),
        ({"thresholds": [0.5, 0]}, "shares above 0"),
        ({"thresholds": [1.5]}, "up to 1"),
        ({"thresholds": [float("nan")]}, "shares above 0"),
    ],
)
def test_budget_that_cannot_be_meant(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidLimit, match=complaint):
        Budget(**options)


@pytest.mark.parametrize(
    "options",
    [{"tokens": "many"}, {"tokens": 1.5}, {"seconds": "soon"}, {"unknown_price": "guess"}],
)
def test_budget_of_the_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Budget(**options)


def test_budget_knows_no_other_names() -> None:
    options: dict[str, Any] = {"dollars": 5}
    with pytest.raises(TypeError, match="dollars"):
        Budget(**options)


def test_budget_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Budget(tokens=5), "tokens", 6)  # noqa: B010  # types forbid it as well


@pytest.mark.parametrize("limits", [Limits(nusd=-1), Limits(calls=2**53 + 1), Limits(tokens=True)])
def test_limits_that_cannot_be_meant(limits: Limits) -> None:
    with pytest.raises(InvalidLimit):
        check_limits(limits)


@pytest.mark.parametrize(
    "path",
    ["", "/", "acme/", "/acme", "a//b", "a b", "acme\n", "a\x00", "x" * 129, "{acme}"],
)
def test_path_that_is_no_scope(path: str) -> None:
    with pytest.raises(InvalidLimit, match="segments are 1 to 128"):
        scope_chain(path)


def test_tree_has_a_deepest_level() -> None:
    assert len(scope_chain("/".join("abcdefghijkl"))) == 12
    with pytest.raises(InvalidLimit, match="at most 12"):
        scope_chain("/".join("abcdefghijklm"))


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "../../etc/passwd", "", "/etc/passwd"])
def test_time_zone_that_does_not_exist(timezone: str) -> None:
    with pytest.raises(InvalidLimit, match="Europe/Berlin"):
        Scope(path="acme", window="day", timezone=timezone)


def test_window_and_thresholds_of_a_scope_are_checked() -> None:
    with pytest.raises(InvalidLimit, match="'total', 'day' or 'month'"):
        Scope(path="acme", window="week")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(InvalidLimit, match="share"):
        Scope(path="acme", thresholds=(2.0,))


@given(
    at_seconds=st.integers(1_577_836_800, 2_051_222_400),
    window=st.sampled_from(["day", "month"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_window_key_never_goes_back(at_seconds: int, window: Window, timezone: str) -> None:
    scope = Scope(path="acme", window=window, timezone=timezone)
    assert scope.window_key(at_seconds) <= scope.window_key(at_seconds + 3_600)


def test_usage_adds_up_by_class() -> None:
    one = Usage(input_tokens=5, cache_read_tokens=2, output_tokens=3, reasoning_tokens=1)
    assert one + one == Usage(
        input_tokens=10, cache_read_tokens=4, output_tokens=6, reasoning_tokens=2
    )
    assert (one.fresh_input_tokens, one.total_tokens) == (3, 8)


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": -1},
        {"output_tokens": -1},
        {"input_tokens": 5, "cache_write_5m_tokens": -1},
        {"input_tokens": 5, "cache_read_tokens": 6},
        {"output_tokens": 1, "reasoning_tokens": 2},
    ],
)
def test_usage_that_cannot_be(counts: dict[str, int]) -> None:
    with pytest.raises(InvalidLimit):
        Usage(**counts)


def test_amounts_add_and_compare_by_dimension() -> None:
    assert Amount(5, 1).plus(Amount(1, 1)).minus(Amount(2, 2)) == Amount(4, 0)
    assert Amount(5, 1).excess_over(Amount(3, 4)) == Amount(2, 0)
    assert Limits(nusd=5).least(Limits(nusd=3, calls=1)) == Limits(nusd=3, calls=1)
