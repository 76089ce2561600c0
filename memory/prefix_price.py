"""What the input side of a request costs, by what of it the provider still has in its cache."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from agentkit.budgets.price import Price
from agentkit.memory.cache_rules import CacheRules, Ttl

_MTOK = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixPrice:
    """Nano-USD a token: plain, read from the cache, written to it, and of output.

    For a local model the unit is one token of prefill, and reading is free. `least_tokens` as in
    CacheRules. All are 0 where the price is not known.
    """

    plain: float
    read: float
    write: float
    output: float
    least_tokens: int

    def call(self, tokens: int, *, warm: int) -> float:
        """Nano-USD of an input of `tokens` whose first `warm` are in the cache."""
        if tokens < self.least_tokens:
            return self.plain * tokens
        if warm < self.least_tokens:
            warm = 0
        return self.read * warm + self.write * (tokens - warm)

    def steady(self, tokens: int) -> float:
        """The most that a prefix of `tokens` costs a call, be it while it is too short to cache."""
        if tokens >= self.least_tokens:
            return self.read * tokens
        return max(self.plain, self.write) * self.least_tokens


def prefix_price(
    price: Price, rules: CacheRules, *, input_tokens: int, ttl: Ttl = "5m"
) -> PrefixPrice:
    """The prices of `price` in the band of `input_tokens`, under `rules`."""
    if rules.how == "prefill":
        return PrefixPrice(plain=1.0, read=0.0, write=1.0, output=1.0, least_tokens=0)
    if price.state != "priced":
        return PrefixPrice(plain=0.0, read=0.0, write=0.0, output=0.0, least_tokens=0)
    rates = price.bands[0][1]
    for start, band in price.bands[1:]:
        rates = band if input_tokens > start else rates
    writes = {"5m": rates.cache_write_5m, "1h": rates.cache_write_1h}
    cached = rules.how in ("breakpoints", "automatic")
    return PrefixPrice(
        plain=_each(rates.input),
        read=_each(rates.cache_read if cached else rates.input),
        write=_each(writes[ttl] if rules.how == "breakpoints" else rates.input),
        output=_each(rates.output),
        least_tokens=rules.least_tokens if cached else 0,
    )


def _each(nusd_per_mtok: int) -> float:
    return float(Fraction(nusd_per_mtok, _MTOK))
