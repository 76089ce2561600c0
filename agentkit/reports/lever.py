"""What a lever looks at, and what it may say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agentkit.budgets.journal_query import CallSums, JournalFilter
from agentkit.budgets.price import PriceBook
from agentkit.budgets.store import Store
from agentkit.reports.rollup import NO_VALUE

Basis = Literal["replayed", "assumed"]
MONTH_DAYS = 30
_CALLS_REPLAYED = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One lever for one feature. `saves_nusd` is over what was recorded, `month_nusd` over 30 days
    like it. `basis` is `replayed` where recorded calls were billed anew, `assumed` where the figure
    rests on the assumption that is told. `setting` is what the lever would be set to, like the
    lifetime of a cache entry or a model."""

    lever: str
    feature: str
    saves_nusd: int
    month_nusd: int
    basis: Basis
    found: str
    assumption: str
    against: str
    setting: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Silent:
    """A lever about which the records say nothing, and why."""

    lever: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What the user can tell that records do not: which tag marks what can wait, what an own
    machine costs an hour and produces a second, what preparing a tuned model costs."""

    can_wait: tuple[str, str] = ("wait", "yes")
    host_usd_an_hour: float | None = None
    host_tokens_a_second: float | None = None
    tuning_usd: float = 2_000.0
    least_month_usd: float = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What the levers look at: sums by feature and model, and by tags where those matter."""

    store: Store
    prices: PriceBook
    where: JournalFilter
    question: Question
    days: float
    until: float
    cost_nusd: int
    features: Mapping[tuple[str, str], FeatureSums]

    def month(self, nusd: float) -> int:
        """A sum over what was recorded as one of 30 days."""
        return round(nusd * MONTH_DAYS / self.days)

    def of(self, feature: str, model: str) -> JournalFilter:
        """The calls of one feature and model."""
        tags = self.where.tags if feature == NO_VALUE else {**self.where.tags, "feature": feature}
        return replace(self.where, tags=tags, model=model)

    def latest(self, where: JournalFilter, calls: int) -> tuple[JournalFilter, float]:
        """The latest where there are many calls, and how many times as many there are in all."""
        times = max(1.0, calls / _CALLS_REPLAYED)
        if times == 1:
            return where, 1.0
        return replace(where, since=self.until - self.days * 86_400 / times), times

    def advice(
        self, lever: str, feature: str, saves_nusd: int, *, basis: Basis, found: str,
        assumption: str, against: str, setting: str = "",
    ) -> Advice:  # fmt: skip
        """A piece of advice with its sum for a month."""
        return Advice(
            lever=lever, feature=feature, saves_nusd=saves_nusd,
            month_nusd=self.month(saves_nusd), basis=basis, found=found, assumption=assumption,
            against=against, setting=setting,
        )  # fmt: skip


@dataclass(kw_only=True, slots=True)
class FeatureSums:
    """Sums of one feature on one model, without calls whose usage never arrived."""

    sums: CallSums = field(default_factory=CallSums)
    waiting: CallSums = field(default_factory=CallSums)
    resolved_calls: int = 0
    ended_calls: int = 0


Finding = Advice | Silent
Look = Callable[[Traffic], Sequence[Finding]]
