"""Replays recorded calls with a prompt cache that they did not use, by the provider's rules."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from agentkit.budgets.counterfactual import LEAST_CACHED_TOKENS
from agentkit.budgets.journal_query import CallSums, JournalFilter
from agentkit.budgets.price import Price, PriceBook
from agentkit.budgets.store import Store
from agentkit.budgets.usage import Usage
from agentkit.memory.cache_rules import cache_rules

_MINUTES_5, _HOUR = 300_000, 3_600_000
_MOST_REFRESHES = 24

WARMING_TAG = "warming"
"""On every task that only kept a prefix warm, whatever its other tags say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheReplay:
    """What caching would have made of the calls of one feature and model.

    `prefix_nusd` is saved with the system text and tools cached, `transcript_nusd` beyond that with
    the growing transcript too, `hour_nusd` in all with one-hour writes. `hits` of `calls` found
    their prefix in the cache.
    """

    calls: int = 0
    hits: int = 0
    cost_nusd: int = 0
    prefix_nusd: int = 0
    transcript_nusd: int = 0
    hour_nusd: int = 0
    prefix_tokens: int = 0

    @property
    def five_minutes_nusd(self) -> int:
        """All that five-minute writes save; of the transcript only where that saves at all."""
        return self.prefix_nusd + max(0, self.transcript_nusd)

    def times(self, factor: float) -> CacheReplay:
        """The same for `factor` times as many calls like these."""
        if factor == 1:
            return self
        money = ("cost_nusd", "prefix_nusd", "transcript_nusd", "hour_nusd")
        return replace(self, **{name: round(getattr(self, name) * factor) for name in money})


def break_even_hit_rate(price: Price) -> float | None:
    """The share of reads from which on caching pays: below it, writes cost more than reads save."""
    if not price.bands:
        return None
    rates = price.bands[0][1]
    extra, saved = rates.cache_write_5m - rates.input, rates.input - rates.cache_read
    return extra / (extra + saved) if extra + saved > 0 else None


def replay(store: Store, prices: PriceBook, where: JournalFilter) -> CacheReplay:
    """The calls of `where`, which are of one model, in the order of time, billed with a cache."""
    groups = store.sum_calls(("at", "task", "model", "prefix", "confirmed"), where)
    if not groups:
        return CacheReplay()
    provider, _, model = str(groups[0].key[2]).partition(":")
    price = prices.price(model, provider)
    least = _least_cached(model, provider)
    short, long = _Cache(least, price, _MINUTES_5), _Cache(least, price, _HOUR)
    cost = prefix = both = hour = tokens = 0
    for (at, task, _, name, confirmed), sums in groups:
        if not confirmed:
            continue
        parts = prefix_tokens(sums)
        tokens += parts
        cost += sums.cost_nusd
        stable, whole = short.bill(int(at), str(task), str(name), parts, sums)
        prefix, both = prefix + stable, both + whole
        hour += min(long.bill(int(at), str(task), str(name), parts, sums))
    return CacheReplay(
        calls=len(groups),
        hits=short.hits,
        cost_nusd=cost,
        prefix_nusd=cost - prefix,
        transcript_nusd=prefix - both,
        hour_nusd=cost - hour,
        prefix_tokens=tokens // len(groups),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Warming:
    """What keeping a prefix warm would have brought: `refreshes` requests after its last use, one
    each five minutes. `saves_nusd` is what they avoid less what they cost; `kept` of `gaps` pauses
    longer than five minutes were bridged.
    """

    refreshes: int = 0
    saves_nusd: int = 0
    kept: int = 0
    gaps: int = 0


def warming(store: Store, prices: PriceBook, where: JournalFilter) -> Warming:
    """The number of refreshes that would have paid best on the calls of `where`, of one model.

    A refresh reads the prefix, and so keeps it for another five minutes; a call after a pause that
    it bridged reads what it would have written anew. Nobody knows while waiting whether a call will
    come, so every pause pays for its refreshes, the longest ones in vain. Refreshes that were
    made are no traffic.
    """
    groups = [
        group
        for group in store.sum_calls(("at", "task", "model", "prefix", "tags"), where)
        if not is_refresh(group.key[4])
    ]
    if not groups:
        return Warming()
    provider, _, model = str(groups[0].key[2]).partition(":")
    price = prices.price(model, provider)
    least = _least_cached(model, provider)
    last: dict[str, tuple[int, int]] = {}
    pauses: list[tuple[int, int]] = []
    for (at, _, _, name, _), sums in groups:
        tokens = prefix_tokens(sums)
        if tokens < least:
            continue
        before = last.get(str(name))
        if before is not None and int(at) - before[0] > _MINUTES_5:
            pauses.append((int(at) - before[0], tokens))
        last[str(name)] = (int(at), tokens)
    ends = [tokens for _, tokens in last.values()]
    return max(
        (_warmed(price, pauses, ends, refreshes) for refreshes in range(1, _MOST_REFRESHES + 1)),
        key=lambda found: found.saves_nusd,
    )


def _warmed(
    price: Price, pauses: list[tuple[int, int]], ends: list[int], refreshes: int
) -> Warming:
    saves = kept = 0
    for pause, tokens in pauses:
        needed = -(-pause // _MINUTES_5) - 1
        read = price.cost_nusd(Usage(input_tokens=tokens, cache_read_tokens=tokens))
        written = 0 if price.writes_by_itself else tokens
        anew = price.cost_nusd(Usage(input_tokens=tokens, cache_write_5m_tokens=written))
        saves -= min(needed, refreshes) * read
        if needed <= refreshes:
            saves += anew - read
            kept += 1
    for tokens in ends:
        read = price.cost_nusd(Usage(input_tokens=tokens, cache_read_tokens=tokens))
        saves -= refreshes * read
    return Warming(refreshes=refreshes, saves_nusd=saves, kept=kept, gaps=len(pauses))


class _Cache:
    """A provider's cache as the calls would have filled it."""

    def __init__(self, least_tokens: int, price: Price, ttl_ms: int) -> None:
        self._price = price
        self._ttl_ms = ttl_ms
        self._least = least_tokens
        self._prefixes: dict[str, int] = {}
        self._tasks: dict[str, tuple[int, int]] = {}
        self.hits = 0

    def bill(
        self, at: int, task: str, prefix: str, prefix_tokens: int, sums: CallSums
    ) -> tuple[int, int]:
        """The call's cost with its prefix cached, and with its whole transcript cached."""
        total = sums.input_tokens
        if not total or not sums.cost_nusd:
            return sums.cost_nusd, sums.cost_nusd
        is_hit = self._prefixes.get(prefix, 0) > at
        self._prefixes[prefix] = at + self._ttl_ms
        self.hits += is_hit
        stable = min(prefix_tokens, total) if prefix_tokens >= self._least else 0
        read = stable if is_hit else 0
        with_prefix = self._cost(sums, read, stable - read)
        seen, until = self._tasks.get(task, (0, 0))
        self._tasks[task] = (total, at + self._ttl_ms)
        if total < self._least:
            return with_prefix, with_prefix
        read = max(read, min(seen, total) if until > at and seen >= self._least else 0)
        return with_prefix, self._cost(sums, read, total - read)

    def _cost(self, sums: CallSums, read: int, written: int) -> int:
        hour = self._ttl_ms == _HOUR
        if self._price.writes_by_itself:
            written = 0
        return self._price.cost_nusd(
            Usage(
                input_tokens=sums.input_tokens,
                cache_read_tokens=read,
                cache_write_5m_tokens=0 if hour else written,
                cache_write_1h_tokens=written if hour else 0,
                output_tokens=sums.output_tokens,
            )
        )


def _least_cached(model: str, provider: str) -> int:
    """The shortest prefix that is cached; of a stranger's model, what most take."""
    return cache_rules(model, provider).least_tokens or LEAST_CACHED_TOKENS


def is_refresh(tags: str | int) -> bool:
    """True for the calls of a task that only kept a prefix warm, by the key of its tags."""
    found: dict[str, str] = json.loads(tags) if isinstance(tags, str) and tags else {}
    return WARMING_TAG in found


def prefix_tokens(sums: CallSums) -> int:
    """System text and tools as the provider counts them: our count, scaled by what it reports."""
    ours = sums.system + sums.tools
    counted = ours + sums.summary + sums.history + sums.observations + sums.user
    return ours * sums.input_tokens // counted if counted else 0
