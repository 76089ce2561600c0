"""The closing line and the sums by tier."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agentkit.budgets.budget import Budget
from agentkit.budgets.journal import CallRecord, CostSource
from agentkit.budgets.money import plain_usd
from agentkit.budgets.usage import Usage
from agentkit.cli.summary import by_tier, closing_line, format_count, result_facts
from agentkit.result import TaskResult


def _call(
    index: int, tier: int, provider: str, cost_nusd: int, *, source: CostSource = "table"
) -> CallRecord:
    return CallRecord(
        call_id=f"c{index}",
        task_id="t",
        scope="s",
        step=index,
        index=index,
        tier=tier,
        model="m",
        provider=provider,
        usage=Usage(input_tokens=100, cache_read_tokens=40, output_tokens=10),
        cost_nusd=cost_nusd,
        cost_source=source,
    )


def _result(*records: CallRecord, unconfirmed: str = "0") -> TaskResult:
    usage = Usage()
    for record in records:
        usage = usage + record.usage
    return TaskResult(
        outcome="answered",
        answer="a",
        reason=None,
        cost_usd=Decimal(sum(record.cost_nusd for record in records)).scaleb(-9),
        unconfirmed_usd=Decimal(unconfirmed),
        usage=usage,
        calls=len(records),
        steps=len(records),
        escalations=0,
        task_id="t",
        thread_id="t",
        trace_id="",
        records=records,
    )


FRONTIER = _call(2, 1, "openai", 12_500_000)
LOCAL = _call(1, 0, "local", 0, source="free")


def test_line_tells_money_tiers_and_cache() -> None:
    line = closing_line(_result(LOCAL, FRONTIER), Budget(usd="0.05"))

    assert line == "$0.0125 of $0.05 (25%) · local 1 / frontier 1 · 200 in (40% cached)"


def test_line_tells_every_limit_that_was_set() -> None:
    line = closing_line(_result(FRONTIER), Budget(tokens=440, calls=3))

    assert line == (
        "$0.0125 · 110 of 440 tokens (25%) · 1 of 3 calls · frontier 1 · 100 in (40% cached)"
    )


def test_cached_tokens_are_left_out_where_the_budget_does() -> None:
    line = closing_line(_result(FRONTIER), Budget(tokens=140, count_cached=False))

    assert "70 of 140 tokens (50%)" in line


def test_unknown_price_is_never_zero() -> None:
    unknown = _call(1, 0, "acme", 0, source="unknown")

    assert closing_line(_result(unknown), Budget()).startswith("$? (price unknown) · ")
    assert closing_line(_result(unknown, FRONTIER), Budget()).startswith("$0.0125 + $? · ")


def test_worst_cases_are_told_apart() -> None:
    line = closing_line(_result(FRONTIER, unconfirmed="0.01"), Budget(usd=1))

    assert "$0.0125 (at most: $0.01 of it without a usage report) of $1 (1%)" in line


def test_run_without_calls_says_so() -> None:
    assert closing_line(_result(), Budget(usd=1)) == "$0 of $1 (0%) · no calls · 0 in"


@pytest.mark.parametrize(
    ("tokens", "shown"), [(0, "0"), (999, "999"), (1000, "1.0k"), (18_449, "18.4k"),
                          (999_949, "999.9k"), (999_950, "1.0M"), (1_250_000, "1.2M")],
)  # fmt: skip
def test_counts_are_short(tokens: int, shown: str) -> None:
    assert format_count(tokens) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0E-9", "0"), ("0.050000000", "0.05"), ("1E-9", "0.000000001")],
)
def test_usd_has_no_exponent(usd: str, shown: str) -> None:
    assert plain_usd(Decimal(usd)) == shown


def test_sums_by_tier_add_up() -> None:
    again = _call(3, 1, "openai", 500_000)

    tiers = by_tier([FRONTIER, LOCAL, again])

    assert [(tier["model"], tier["calls"], tier["cost_usd"]) for tier in tiers] == [
        ("local:m", 1, "0"),
        ("openai:m", 2, "0.013"),
    ]


def test_result_as_json_types_has_plain_money() -> None:
    facts = result_facts(_result(LOCAL))

    assert (facts["cost_usd"], facts["unconfirmed_usd"]) == ("0", "0")
