"""Prices: bands, cache writes, rounding, overrides, and the states free and unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets import (
    Budget,
    InvalidLimit,
    Price,
    PriceBook,
    PriceUnknown,
    Usage,
    read_price_file,
)
from agentkit.budgets.price import CacheWrite, Rates

_BOOK = PriceBook()


def _banded(*bands: tuple[int, tuple[int, int, int, int, int]]) -> Price:
    """Bands of nano-USD per million: input, cache read, 5 min write, 1 h write, output."""
    return Price(
        model="m",
        provider="p",
        state="priced",
        source="table",
        bands=tuple(
            (
                start,
                Rates(
                    input=each[0],
                    cache_read=each[1],
                    cache_write_5m=each[2],
                    cache_write_1h=each[3],
                    output=each[4],
                ),
            )
            for start, each in bands
        ),
    )


_BANDED = _banded((0, (1_000, 100, 1_250, 2_000, 5_000)), (200, (2_000, 200, 2_500, 4_000, 7_500)))


def _usd(price: Price, usage: Usage) -> Decimal:
    return Decimal(price.cost_nusd(usage)) / 10**9


@pytest.mark.parametrize(
    ("model", "provider", "usage", "usd"),
    [
        ("claude-sonnet-4-5", "anthropic", Usage(input_tokens=1_000, output_tokens=100), "0.0045"),
        (
            "claude-sonnet-4-5",
            "anthropic",
            Usage(input_tokens=10_000, cache_read_tokens=8_000, cache_write_5m_tokens=1_000),
            "0.00915",
        ),
        (
            "claude-opus-4-5",
            "anthropic",
            Usage(input_tokens=1_000, cache_write_1h_tokens=1_000, output_tokens=1),
            "0.010025",
        ),
        (
            "gpt-5",
            "openai",
            Usage(
                input_tokens=2_000, cache_read_tokens=1_000, output_tokens=50, reasoning_tokens=40
            ),
            "0.001875",
        ),
    ],
)
def test_published_prices(model: str, provider: str, usage: Usage, usd: str) -> None:
    """Prices that the providers published, as of November 2026."""
    assert _usd(_BOOK.price(model, provider), usage) == Decimal(usd)


def test_long_input_pays_its_band_for_every_token() -> None:
    assert _BANDED.cost_nusd(Usage(input_tokens=200, output_tokens=1_000)) == 6  # 0.2 + 5
    assert _BANDED.cost_nusd(Usage(input_tokens=201, output_tokens=1_000)) == 8  # 0.402 + 7.5


def test_many_requests_pay_the_band_of_their_mean() -> None:
    price = PriceBook().price("claude-sonnet-4-5", "anthropic")
    usage = Usage(input_tokens=100_000, output_tokens=10)
    together = Usage(input_tokens=1_000_000, output_tokens=100)
    assert price.total_nusd(together, 10) == 10 * price.cost_nusd(usage)
    assert price.total_nusd(together, 4) == price.cost_nusd(together)
    assert price.total_nusd(Usage(), 0) == 0


def test_cost_is_rounded_up_once() -> None:
    price = _banded((0, (1, 1, 1, 1, 1)))
    assert price.cost_nusd(Usage(input_tokens=1, output_tokens=1)) == 1
    assert price.cost_nusd(Usage()) == 0
    assert price.cost_nusd(Usage(input_tokens=1_000_000, output_tokens=1)) == 2


@st.composite
def _usages(draw: st.DrawFn) -> Usage:
    plain, read, five, hour, output = (draw(st.integers(0, 150)) for _ in range(5))
    return Usage(
        input_tokens=plain + read + five + hour,
        cache_read_tokens=read,
        cache_write_5m_tokens=five,
        cache_write_1h_tokens=hour,
        output_tokens=output,
    )


@given(usage=_usages(), more=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_worst_case_bounds_every_usage_below_it(usage: Usage, more: tuple[int, int]) -> None:
    worst = _BANDED.worst_nusd(usage.input_tokens + more[0], usage.output_tokens + more[1], "1h")
    assert _BANDED.cost_nusd(usage) <= worst


@given(
    nusd=st.integers(0, 20),
    input_tokens=st.integers(0, 500),
    write=st.sampled_from(["none", "5m", "1h"]),
)
def test_affordable_output_is_exact(nusd: int, input_tokens: int, write: CacheWrite) -> None:
    """One more token would pass the money."""
    tokens = _BANDED.affordable_output_tokens(nusd, input_tokens, write)
    assert tokens is not None
    assert tokens < 0 or _BANDED.worst_nusd(input_tokens, tokens, write) <= nusd
    assert _BANDED.worst_nusd(input_tokens, tokens + 1, write) > nusd


def test_bound_covers_a_cache_write_that_nobody_asked_for() -> None:
    """gpt-5.6 writes its cache by itself, at 1.25 times the input; Claude only when told to."""
    assert _BANDED.worst_nusd(100_000, 0) == 250
    claude = _BOOK.price("claude-sonnet-4-5", "anthropic")
    assert claude.worst_nusd(1_000, 0) == 3_000_000
    assert claude.worst_nusd(1_000, 0, "5m") == 3_750_000
    assert claude.worst_nusd(1_000, 0, "1h") == 6_000_000


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-5", "openai"),
        ("gpt-4o", "openai"),
        ("gpt-4.1-mini", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("claude-haiku-4-5", "anthropic"),
        ("gemini-2.5-pro", "google"),
        ("deepseek-chat", "deepseek"),
    ],
)
@pytest.mark.parametrize("input_tokens", [10, 199_999, 200_000, 200_001, 300_000])
def test_agrees_with_genai_prices(model: str, provider: str, input_tokens: int) -> None:
    """Never below the table's own calculation, and within one nano-USD of it."""
    import genai_prices

    usage = Usage(
        input_tokens=input_tokens, cache_read_tokens=input_tokens // 3, output_tokens=1_234
    )
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            output_tokens=usage.output_tokens,
        ),
        model_ref=model,
        provider_id=provider,
        genai_request_timestamp=datetime.now(tz=UTC),
    )
    exact = (theirs.total_price * 10**9).to_integral_value(rounding=ROUND_CEILING)
    assert exact <= _BOOK.price(model, provider).cost_nusd(usage) <= exact + 1


def test_local_models_are_free() -> None:
    price = _BOOK.price("pocket", "local")
    assert (price.state, price.cost_nusd(Usage(input_tokens=9))) == ("free", 0)
    assert price.affordable_output_tokens(0, 1_000_000) is None


def test_unknown_model_is_unknown_and_says_how_to_price_it() -> None:
    price = _BOOK.price("nobody-knows-1", "openai")
    assert (price.state, price.source) == ("unknown", "unknown")
    assert "add the model to a prices file" in str(
        PriceUnknown(model=price.model, provider=price.provider)
    )


def test_only_a_money_limit_needs_a_price() -> None:
    assert Budget(usd=1).limits_money
    assert not Budget(tokens=1).limits_money
    assert not Budget(usd=1, unknown_price="allow").limits_money


def test_price_is_compiled_once() -> None:
    assert _BOOK.price("gpt-5", "openai") is _BOOK.price("gpt-5", "openai")


def _write(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_prices_file_comes_before_the_table(tmp_path: Path) -> None:
    overrides = read_price_file(
        _write(
            tmp_path,
            """
            [[price]]
            model = "gpt-5"
            provider = "openai"
            input = "1.5"
            cache_read = 0.25
            output = 3

            [[price]]
            model = "mine"
            free = true
            """,
        )
    )
    book = PriceBook(overrides)
    mine = book.price("gpt-5", "openai")
    assert mine.source == "override"
    usage = Usage(input_tokens=3_000, cache_read_tokens=1_000, output_tokens=1_000)
    assert _usd(mine, usage) == Decimal("0.00625")
    assert book.price("gpt-5", "azure").source == "table"
    assert book.price("mine", "anything").state == "free"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[price]]\nmodel = 'm'\n", "give both input and output"),
        ("[[price]]\nmodel = 'm'\ninput = -1\noutput = 1\n", "greater than or equal to 0"),
        ("[[price]]\nmodel = 'm'\ninput = nan\noutput = 1\n", "finite"),
        ("[[price]]\nmodel = ''\nfree = true\n", "at least 1 character"),
        ("[[price]]\nmodel = 'm'\nfree = true\nhalf = 1\n", "half: Extra inputs"),
        ("prices = 3\n", "prices: Extra inputs"),
        ("[[price]\n", "cannot be read"),
        ("x" * 1_000_001, "over 1 MB"),
    ],
)
def test_bad_prices_file_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(InvalidLimit, match=complaint) as caught:
        read_price_file(path)
    assert "prices.toml" in str(caught.value)


def test_missing_prices_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidLimit, match="cannot be read"):
        read_price_file(tmp_path / "none.toml")


def test_binary_prices_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidLimit, match="cannot be read"):
        read_price_file(path)
