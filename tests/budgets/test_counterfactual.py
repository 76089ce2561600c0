"""What levers saved is what the provider would have billed without them, losses included."""

from __future__ import annotations

from agentkit.budgets import Price, Usage
from agentkit.budgets.counterfactual import (
    saved_by_prompt_cache,
    saved_by_routing,
    saved_by_sparing,
)
from agentkit.budgets.price import Rates

_RATES = Rates(input=10, cache_read=1, cache_write_5m=12, cache_write_1h=20, output=50)
_PRICE = Price(
    model="m", provider="anthropic", state="priced", source="table",
    bands=((0, Rates(**{k: getattr(_RATES, k) * 10**6 for k in _RATES.__slots__})),),
)  # fmt: skip


def test_reads_save_and_writes_that_nobody_reads_cost() -> None:
    read = Usage(input_tokens=2000, cache_read_tokens=1500, output_tokens=10)
    assert saved_by_prompt_cache(_PRICE, read) == 1500 * 9
    written = Usage(input_tokens=2000, cache_write_5m_tokens=1500, output_tokens=10)
    assert saved_by_prompt_cache(_PRICE, written) == -1500 * 2


def test_a_cheap_answer_that_was_turned_down_only_cost() -> None:
    usage = Usage(input_tokens=2000, output_tokens=10)
    assert (
        saved_by_routing(_PRICE, usage, cost_nusd=77, seen_tokens=0, turned_down=True) == -77
    )  # fmt: skip


def test_the_dearest_tier_would_have_read_the_step_before() -> None:
    usage = Usage(input_tokens=2000, output_tokens=10)
    fresh = saved_by_routing(_PRICE, usage, cost_nusd=0, seen_tokens=0, turned_down=False)
    warm = saved_by_routing(_PRICE, usage, cost_nusd=0, seen_tokens=1500, turned_down=False)
    assert (fresh, warm) == (2000 * 10 + 500, 500 * 10 + 1500 + 500)


def test_what_was_spared_is_billed_as_it_would_have_been() -> None:
    plain = Usage(input_tokens=2000, output_tokens=10)
    assert saved_by_sparing(_PRICE, plain, 3000, seen_tokens=0) == 3000 * 10
    warm = Usage(input_tokens=2000, cache_read_tokens=1900, output_tokens=10)
    assert saved_by_sparing(_PRICE, warm, 3000, seen_tokens=4900) == 3000


def test_a_prefix_written_anew_counts_against_what_was_left_out() -> None:
    """100 tokens fewer, for which 2,000 that had been cached were written again."""
    anew = Usage(input_tokens=2000, cache_write_5m_tokens=2000, output_tokens=10)
    with_them = 2000 * 1 + 100 * 12
    assert saved_by_sparing(_PRICE, anew, 100, seen_tokens=2000) == with_them - 2000 * 12
