"""Advice: recorded traffic against each lever, in money a month, with what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agentkit.budgets.journal_query import EVERYTHING, CallSums, JournalFilter
from agentkit.budgets.price import PriceBook
from agentkit.budgets.store import Store
from agentkit.reports.rollup import NO_VALUE, tags_of

Basis = Literal["replayed", "assumed"]
MONTH_DAYS = 30


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
class AdviceReport:
    """What was found, the replayed first and by money within each basis."""

    days: float
    cost_nusd: int
    advice: tuple[Advice, ...]
    silent: tuple[Silent, ...]


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


def advise(
    store: Store,
    prices: PriceBook,
    *,
    where: JournalFilter = EVERYTHING,
    question: Question | None = None,
    levers: Sequence[Look] | None = None,
) -> AdviceReport:
    """Hold what was recorded against each lever."""
    from agentkit.reports.levers import LEVERS

    question = question or Question()
    traffic = _read(store, prices, where, question)
    found: list[Finding] = []
    if traffic.features:
        for look in LEVERS if levers is None else levers:
            found += look(traffic)
    least = question.least_month_usd * 1e9
    advice = [each for each in found if isinstance(each, Advice) and each.month_nusd >= least]
    return AdviceReport(
        days=traffic.days,
        cost_nusd=traffic.cost_nusd,
        advice=tuple(
            sorted(advice, key=lambda a: (a.basis != "replayed", -a.month_nusd, a.lever, a.feature))
        ),
        silent=tuple(each for each in found if isinstance(each, Silent)),
    )


def _read(store: Store, prices: PriceBook, where: JournalFilter, question: Question) -> Traffic:
    name, value = question.can_wait
    features: dict[tuple[str, str], FeatureSums] = {}
    cost = 0
    groups = store.sum_calls(("tags", "model", "outcome", "confirmed"), where)
    for (tags_key, model, outcome, confirmed), sums in groups:
        cost += sums.cost_nusd
        if not confirmed:
            continue
        tags = tags_of(str(tags_key))
        key = (tags.get("feature") or NO_VALUE, str(model))
        entry = features.setdefault(key, FeatureSums())
        entry.sums = entry.sums.plus(sums)
        entry.ended_calls += sums.calls if outcome else 0
        entry.resolved_calls += sums.calls if outcome == "resolved" else 0
        if tags.get(name) == value:
            entry.waiting = entry.waiting.plus(sums)
    hours = [int(group.key[0]) for group in store.sum_calls(("hour",), where, measures="basic")]
    until = (max(hours) + 1) * 3600.0 if hours else 0.0
    days = max(1.0, (max(hours) - min(hours) + 1) / 24) if hours else 1.0
    return Traffic(
        store=store,
        prices=prices,
        where=where,
        question=question,
        days=days,
        until=until,
        cost_nusd=cost,
        features=features,
    )
