"""Why a task cost what it did: its causes in order of money, and what to turn next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.budgets.counterfactual import LEAST_CACHED_TOKENS
from agentkit.budgets.journal import CallRecord, TaskRecord
from agentkit.budgets.journal_query import COMPONENTS
from agentkit.budgets.price import Price, PriceBook
from agentkit.budgets.usage import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A part of a task's cost. The causes of a task add up to it, but for `overlaps`, which are
    told beside: a view of the same money from another side."""

    name: str
    nusd: int
    told: str
    overlaps: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class NextLever:
    """What would have saved most on this task, and under which assumption."""

    name: str
    saves_nusd: int
    assumption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """The causes, the dearest first, and the next lever, None where none would save."""

    cost_nusd: int
    causes: tuple[Cause, ...]
    lever: NextLever | None


def why(task: TaskRecord, calls: Sequence[CallRecord], prices: PriceBook) -> Why:
    """The causes of a task's cost, from its calls."""
    cost = sum(call.cost_nusd for call in calls)
    found = [*_by_component(calls, prices), *_wasted(calls)]
    return Why(
        cost_nusd=cost,
        causes=tuple(sorted((c for c in found if c.nusd), key=lambda c: -c.nusd)),
        lever=_lever(task, calls, prices),
    )


def _by_component(calls: Sequence[CallRecord], prices: PriceBook) -> list[Cause]:
    """The cost of each part of the requests and of the output; rounding goes to the output."""
    sums: dict[str, int] = {}
    for call in calls:
        for name, nusd in _divided(call, prices).items():
            sums[name] = sums.get(name, 0) + nusd
    return [Cause(name=name, nusd=nusd, told=_TOLD[name]) for name, nusd in sums.items()]


def _divided(call: CallRecord, prices: PriceBook) -> dict[str, int]:
    price = prices.price(call.model, call.provider)
    output = min(call.cost_nusd, price.cost_nusd(Usage(output_tokens=call.usage.output_tokens)))
    parts = {name: call.components.get(name, 0) for name in COMPONENTS}
    whole = sum(parts.values())
    if not call.confirmed:
        return {"unconfirmed": call.cost_nusd}
    if not whole:
        return {"input": call.cost_nusd - output, "output": output}
    money = call.cost_nusd - output
    shares: dict[str, int] = {name: money * tokens // whole for name, tokens in parts.items()}
    return {**shares, "output": output + money - sum(shares.values())}


def _wasted(calls: Sequence[CallRecord]) -> list[Cause]:
    down = sum(call.cost_nusd for call in calls if call.accepted is False)
    again = sum(call.cost_nusd for call in calls if call.attempt > 1)
    dear = sum(call.cost_nusd for call in calls if call.escalation is not None)
    aid = sum(call.cost_nusd for call in calls if call.purpose in ("hint", "sample"))
    return [
        Cause(name="aids", nusd=aid, told="hints and second answers", overlaps=True),
        Cause(name="turned_down", nusd=down, told="answers that were not accepted", overlaps=True),
        Cause(name="retries", nusd=again, told="calls that were tried again", overlaps=True),
        Cause(name="escalations", nusd=dear, told="a dearer tier was asked instead", overlaps=True),
    ]


def _lever(task: TaskRecord, calls: Sequence[CallRecord], prices: PriceBook) -> NextLever | None:
    del task
    found = [_cached(calls, prices), _pruned(calls, prices), _shorter(calls, prices)]
    best = max((lever for lever in found if lever), key=lambda each: each.saves_nusd, default=None)
    return best if best is not None and best.saves_nusd > 0 else None


def _cached(calls: Sequence[CallRecord], prices: PriceBook) -> NextLever | None:
    """Each step reads the step before from the cache, and writes what is new."""
    saved = 0
    seen: dict[str, int] = {}
    for call in calls:
        price = prices.price(call.model, call.provider)
        before = seen.get(call.model, 0)
        seen[call.model] = call.usage.input_tokens
        if price.state != "priced" or call.usage.cache_read_tokens or not call.confirmed:
            continue
        saved += price.cost_nusd(call.usage) - price.cost_nusd(
            with_cache(call.usage, before, price)
        )
    return NextLever(
        name="prompt_cache",
        saves_nusd=saved,
        assumption="steps follow each other within five minutes, and nothing before the newest "
        "message changes",
    )


def with_cache(usage: Usage, seen_tokens: int, price: Price) -> Usage:
    """The same request with the `seen_tokens` of the one before read from the provider's cache."""
    total = usage.input_tokens
    read = min(seen_tokens, total) if seen_tokens >= LEAST_CACHED_TOKENS else 0
    written = total - read if total >= LEAST_CACHED_TOKENS and not price.writes_by_itself else 0
    return Usage(
        input_tokens=total,
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


OBSERVATIONS_KEPT = 0.4
"""What pruning at production keeps of observations (docs/pruning.md, LiveMCPBench)."""
OUTPUT_KEPT = 0.7
"""What is left of answers that are asked to be short: an assumption, to be tried."""


def _pruned(calls: Sequence[CallRecord], prices: PriceBook) -> NextLever | None:
    money = sum(_divided(call, prices).get("observations", 0) for call in calls)
    return NextLever(
        name="pruning",
        saves_nusd=round(money * (1 - OBSERVATIONS_KEPT)),
        assumption=f"observations are pruned to {OBSERVATIONS_KEPT:.0%} where they are produced",
    )


def _shorter(calls: Sequence[CallRecord], prices: PriceBook) -> NextLever | None:
    money = sum(_divided(call, prices).get("output", 0) for call in calls)
    return NextLever(
        name="shorter_output",
        saves_nusd=round(money * (1 - OUTPUT_KEPT)),
        assumption=f"answers are asked to be {1 - OUTPUT_KEPT:.0%} shorter",
    )


_TOLD = {
    "system": "the system text, sent with every call",
    "tools": "the tool definitions, sent with every call",
    "summary": "summaries of what is no longer sent",
    "history": "what was said before, sent again with every call",
    "observations": "what tools returned, sent again with every call",
    "user": "the request",
    "output": "what the models wrote",
    "input": "the requests (recorded before their parts were)",
    "unconfirmed": "worst cases: no usage arrived",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One line of a comparison of two tasks: the same cause in both."""

    name: str
    first_nusd: int
    second_nusd: int

    @property
    def nusd(self) -> int:
        """How much more the second costs."""
        return self.second_nusd - self.first_nusd


def compare(first: Why, second: Why) -> list[Difference]:
    """The causes of two tasks side by side, the largest difference first."""
    sides = [{cause.name: cause.nusd for cause in each.causes} for each in (first, second)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    found = [
        Difference(name=name, first_nusd=sides[0].get(name, 0), second_nusd=sides[1].get(name, 0))
        for name in names
    ]
    return sorted(found, key=lambda line: -abs(line.nusd))
