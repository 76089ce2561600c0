"""What recorded calls would cost at other prices, like those of a newer table."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.journal_query import EVERYTHING, JournalFilter
from agentkit.budgets.price import Price, PriceBook
from agentkit.budgets.store import Store
from agentkit.budgets.usage import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceChange:
    """One recorded model: its price in force and the other one, and its calls' cost at both."""

    model: str
    provider: str
    calls: int
    recorded_nusd: int
    now: Price
    other: Price
    now_nusd: int
    other_nusd: int

    @property
    def is_changed(self) -> bool:
        """True where the two prices bill differently."""
        return (self.now.state, self.now.bands) != (self.other.state, self.other.bands)


def price_changes(
    store: Store, now: PriceBook, other: PriceBook, where: JournalFilter = EVERYTHING
) -> list[PriceChange]:
    """Every model that was called, the dearest first."""
    found: list[PriceChange] = []
    for (named,), sums in store.sum_calls(("model",), where, measures="basic"):
        provider, _, model = str(named).partition(":")
        if not model:
            continue
        usage = Usage(
            input_tokens=sums.input_tokens, cache_read_tokens=sums.cache_read_tokens,
            cache_write_5m_tokens=sums.cache_write_5m_tokens,
            cache_write_1h_tokens=sums.cache_write_1h_tokens, output_tokens=sums.output_tokens,
        )  # fmt: skip
        prices = [book.price(model, provider) for book in (now, other)]
        found.append(
            PriceChange(
                model=model, provider=provider, calls=sums.calls, recorded_nusd=sums.cost_nusd,
                now=prices[0], other=prices[1],
                now_nusd=prices[0].total_nusd(usage, sums.calls),
                other_nusd=prices[1].total_nusd(usage, sums.calls),
            )
        )  # fmt: skip
    return sorted(found, key=lambda change: -change.recorded_nusd)
