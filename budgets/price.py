"""What a model's tokens cost: prices compiled once per model, with overrides from a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from agentkit.budgets.journal import CostSource
from agentkit.budgets.money import NUSD_PER_USD
from agentkit.budgets.usage import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelPrice

    from agentkit.budgets.price_file import PriceOverride

CacheWrite = Literal["none", "5m", "1h"]
"""Longest-lived prompt-cache write that a request asks for."""

_MTOK = 1_000_000
_RECOMPILE_SECONDS = 60.0
_TOKEN_KEYS = (
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "output_mtok",
    "output_reasoning_mtok",
)
_IN_BATCH = {"processing": "batch"}
_LOCAL_PROVIDERS = frozenset({"local", "llama.cpp"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Nano-USD per million tokens of each class, in one price band."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int

    def halved(self) -> Rates:
        """Half of each, rounded up."""
        return Rates(
            input=-(-self.input // 2),
            cache_read=-(-self.cache_read // 2),
            cache_write_5m=-(-self.cache_write_5m // 2),
            cache_write_1h=-(-self.cache_write_1h // 2),
            output=-(-self.output // 2),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """The price of one model at one date.

    `bands` are (input tokens above which the band holds, rates), from the lowest up: a request
    whose whole input passes a start pays that band for all of its tokens. `writes_by_itself` marks
    providers that write their prompt cache unasked, so that any input token may be a write.
    """

    model: str
    provider: str
    state: Literal["priced", "free", "unknown"]
    source: CostSource
    bands: tuple[tuple[int, Rates], ...] = ()
    writes_by_itself: bool = True
    per_request_nusd: int = 0
    priced_on: date | None = None
    context_window: int | None = None

    def cost_nusd(self, usage: Usage) -> int:
        """Nano-USD that `usage` costs, rounded up once; 0 where free or unknown."""
        return self.total_nusd(usage, 1)

    def total_nusd(self, usage: Usage, requests: int) -> int:
        """Nano-USD of so many requests that took `usage` together, in the band of their mean."""
        if self.state != "priced" or not requests:
            return 0
        rates = self._rates_at(usage.input_tokens / requests)
        return requests * self.per_request_nusd + _per_mtok(
            usage.fresh_input_tokens * rates.input
            + usage.cache_read_tokens * rates.cache_read
            + usage.cache_write_5m_tokens * rates.cache_write_5m
            + usage.cache_write_1h_tokens * rates.cache_write_1h
            + usage.output_tokens * rates.output
        )

    def worst_nusd(
        self, input_tokens: int, output_tokens: int, cache_write: CacheWrite = "none"
    ) -> int:
        """Most nano-USD that a request of at most these tokens can cost, in any band."""
        if self.state != "priced":
            return 0
        return self.per_request_nusd + max(
            _per_mtok(
                input_tokens * self._dearest_input(rates, cache_write)
                + output_tokens * rates.output
            )
            for rates in self._reachable(input_tokens)
        )

    def affordable_output_tokens(
        self, nusd: int, input_tokens: int, cache_write: CacheWrite = "none"
    ) -> int | None:
        """Most output tokens that keep `worst_nusd` within `nusd`; None if any number does."""
        if self.state != "priced":
            return None
        least: int | None = None
        for rates in self._reachable(input_tokens):
            left = (nusd - self.per_request_nusd) * _MTOK
            left -= input_tokens * self._dearest_input(rates, cache_write)
            if rates.output == 0:
                tokens = None if left >= 0 else -1
            else:
                tokens = left // rates.output
            if tokens is not None and (least is None or tokens < least):
                least = tokens
        return None if least is None else max(least, -1)

    def halved(self) -> Price:
        """Half of each rate: what batches cost at OpenAI and Anthropic (November 2026)."""
        bands = tuple((start, rates.halved()) for start, rates in self.bands)
        return replace(self, bands=bands)

    def _rates_at(self, input_tokens: float) -> Rates:
        rates = self.bands[0][1]
        for start, band in self.bands[1:]:
            if input_tokens > start:
                rates = band
        return rates

    def _reachable(self, input_tokens: int) -> list[Rates]:
        """Bands that an input of at most `input_tokens` can land in."""
        return [rates for start, rates in self.bands if start == 0 or input_tokens > start]

    def _dearest_input(self, rates: Rates, cache_write: CacheWrite) -> int:
        dearest = max(rates.input, rates.cache_read)
        if cache_write != "none" or self.writes_by_itself:
            dearest = max(dearest, rates.cache_write_5m)
        return max(dearest, rates.cache_write_1h) if cache_write == "1h" else dearest


class PriceBook:
    """Prices of genai-prices (https://github.com/pydantic/genai-prices), overridden by a file.

    Local models are free. A model that nobody knows is `unknown`, which is never 0.
    """

    def __init__(
        self,
        overrides: Sequence[PriceOverride] = (),
        *,
        snapshot: DataSnapshot | None = None,
    ) -> None:
        """Prices of `snapshot`, by default the table that is installed, after the `overrides`."""
        self._overrides = tuple(overrides)
        self._snapshot = snapshot
        self._compiled: dict[tuple[str, str, bool], tuple[Price, float | None]] = {}
        self._lock = threading.Lock()

    def price(self, model: str, provider: str) -> Price:
        """The price of `model` today; compiled at its first use."""
        return self._price(model, provider, in_batch=False)

    def batch_price(self, model: str, provider: str) -> Price:
        """The price of `model` in a batch: what the table says, else half of what it costs live."""
        return self._price(model, provider, in_batch=True)

    def _price(self, model: str, provider: str, *, in_batch: bool) -> Price:
        key = (model, provider, in_batch)
        compiled = self._compiled.get(key)
        if compiled is not None and (compiled[1] is None or time.monotonic() < compiled[1]):
            return compiled[0]
        with self._lock:
            price, conditional = self._compile(model, provider, in_batch)
            until = time.monotonic() + _RECOMPILE_SECONDS if conditional else None
            self._compiled[key] = (price, until)
            return price

    def _compile(self, model: str, provider: str, in_batch: bool) -> tuple[Price, bool]:
        for override in self._overrides:
            if override.matches(model, provider):
                price = override.price(model, provider)
                return price.halved() if in_batch else price, False
        if provider in _LOCAL_PROVIDERS:
            return Price(model=model, provider=provider, state="free", source="free"), False
        return _from_table(model, provider, self._snapshot, in_batch)


def _from_table(
    model: str, provider: str, snapshot: DataSnapshot | None, in_batch: bool
) -> tuple[Price, bool]:
    """The table's price and whether it depends on the time of the request."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, info = (snapshot or get_snapshot()).find_provider_model(
            model, None, provider or None, None
        )
    except LookupError:
        return Price(model=model, provider=provider, state="unknown", source="unknown"), False
    now = datetime.now(tz=UTC)
    prices = info.get_prices(now)
    told = info.get_prices(now, _IN_BATCH) if in_batch else prices
    bands = _bands(told)
    if not bands:
        return Price(model=model, provider=provider, state="unknown", source="unknown"), False
    price = Price(
        model=model,
        provider=provider,
        state="priced",
        source="table",
        bands=bands,
        per_request_nusd=_per_request_nusd(prices),
        writes_by_itself=provider != "anthropic",
        priced_on=now.date(),
        context_window=info.context_window,
    )
    if in_batch and told.__dict__ == prices.__dict__:
        price = price.halved()
    return price, in_batch or isinstance(info.prices, list)


def _bands(prices: ModelPrice) -> tuple[tuple[int, Rates], ...]:
    """Bands at every input length where some class changes its price; () where tokens have none."""
    from genai_prices.types import TieredPrices

    table: dict[str, Decimal | TieredPrices | None] = prices.__dict__
    if table.get("input_mtok") is None or table.get("output_mtok") is None:
        return ()
    starts = {0}
    for key in _TOKEN_KEYS:
        entry = table.get(key)
        if isinstance(entry, TieredPrices):
            starts |= {tier.start for tier in entry.tiers}

    def at(key: str, start: int) -> int | None:
        entry = table.get(key)
        if isinstance(entry, TieredPrices):
            usd = entry.base
            for tier in entry.tiers:
                usd = tier.price if tier.start <= start else usd
            return nusd_per_mtok(usd)
        return None if entry is None else nusd_per_mtok(entry)

    return tuple(
        (
            start,
            rates_of(
                input=at("input_mtok", start) or 0,
                output=max(at("output_mtok", start) or 0, at("output_reasoning_mtok", start) or 0),
                cache_read=at("cache_read_mtok", start),
                cache_write_5m=at("cache_write_mtok", start),
                cache_write_1h=at("cache_write_1h_mtok", start),
            ),
        )
        for start in sorted(starts)
    )


def _per_request_nusd(prices: ModelPrice) -> int:
    per_thousand = prices.__dict__.get("requests_kcount")
    return nusd_per_mtok(per_thousand / 1000) if isinstance(per_thousand, Decimal) else 0


def _per_mtok(nusd_times_mtok: int) -> int:
    """Rounded up: a bound must not fall short by a fraction."""
    return -(-nusd_times_mtok // _MTOK)


def nusd_per_mtok(usd: Decimal) -> int:
    """Nano-USD per million tokens, rounded up."""
    return int((usd * NUSD_PER_USD).to_integral_value(rounding="ROUND_CEILING"))


def rates_of(
    *,
    input: int,
    output: int,
    cache_read: int | None = None,
    cache_write_5m: int | None = None,
    cache_write_1h: int | None = None,
) -> Rates:
    """Rates; classes that are not priced apart cost what plain input does.

    A missing one-hour write price beside a five-minute one is taken as twice the input, the dearest
    published ratio (Anthropic, November 2026).
    """
    write = input if cache_write_5m is None else cache_write_5m
    hour = max(write, 2 * input) if write > input else input
    return Rates(
        input=input,
        output=output,
        cache_read=input if cache_read is None else cache_read,
        cache_write_5m=write,
        cache_write_1h=hour if cache_write_1h is None else cache_write_1h,
    )
