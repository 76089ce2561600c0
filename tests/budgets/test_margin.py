"""Margins start wide, learn, and never fall below what was seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets.margin import TokenMargins


@given(
    reports=st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 9_000)), max_size=12),
    provider=st.sampled_from(["openai", "anthropic", "somebody"]),
)
def test_bound_covers_every_report_that_was_seen(
    reports: list[tuple[int, int]], provider: str
) -> None:
    margins = TokenMargins()
    for counted, reported in reports:
        margins.learn(
            counted_tokens=counted, reported_tokens=reported, model="m", provider=provider
        )
    for counted, reported in reports:
        assert margins.bound(counted, model="m", provider=provider) >= reported


@pytest.mark.parametrize(
    ("model", "provider", "least"),
    [
        ("claude-opus-4-7", "anthropic", 1.7),
        ("gpt-5-mini", "openai", 1.2),
        ("llama-3.3", "openai", 1.5),  # at an address that speaks OpenAI's protocol
        ("gemini-3-pro", "google", 1.5),
    ],
)
def test_cold_bound_covers_published_undercounts(model: str, provider: str, least: float) -> None:
    """o200k undercounts the newest Claude by up to half; others count up to 20 % more."""
    assert TokenMargins().bound(1_000, model=model, provider=provider) >= 1_000 * least


@pytest.mark.parametrize("provider", ["anthropic", "google", "somebody"])
def test_a_margin_stays_where_the_encoding_is_not_at_hand(provider: str) -> None:
    """The next request may be in a language that counts higher."""
    margins = TokenMargins()
    cold = margins.bound(1_000, model="m", provider=provider)
    for _ in range(9):
        margins.learn(counted_tokens=1_000, reported_tokens=1_100, model="m", provider=provider)
    assert margins.bound(1_000, model="m", provider=provider) == cold
    assert margins.learned_factor(model="m", provider=provider) < 1.2 < cold / 1_000
    margins.learn(counted_tokens=1_000, reported_tokens=2_500, model="m", provider=provider)
    assert margins.bound(1_000, model="m", provider=provider) >= 2_500


def test_three_close_reports_narrow_the_margin() -> None:
    margins = TokenMargins()
    cold = margins.bound(1_000, model="gpt-5-mini", provider="openai")
    for _ in range(3):
        margins.learn(
            counted_tokens=1_000, reported_tokens=1_010, model="gpt-5-mini", provider="openai"
        )
    warm = margins.bound(1_000, model="gpt-5-mini", provider="openai")
    assert 1_010 <= warm < 1_050 < cold


def test_short_inputs_never_narrow_the_margin() -> None:
    margins = TokenMargins()
    cold = margins.bound(1_000, model="gpt-5-mini", provider="openai")
    for _ in range(9):
        margins.learn(counted_tokens=10, reported_tokens=10, model="gpt-5-mini", provider="openai")
    assert margins.bound(1_000, model="gpt-5-mini", provider="openai") == cold


def test_models_learn_apart() -> None:
    margins = TokenMargins()
    margins.learn(counted_tokens=1_000, reported_tokens=3_000, model="gpt-5", provider="openai")
    assert margins.bound(1_000, model="gpt-5", provider="openai") >= 3_000
    assert margins.bound(1_000, model="gpt-4o", provider="openai") < 1_300


def test_llama_cpp_counts_exactly() -> None:
    assert TokenMargins().bound(1_000, model="m", provider="local") == 1_000
