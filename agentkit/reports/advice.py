"""Advice: recorded traffic against each lever, in money a month, with what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.budgets.journal_query import EVERYTHING, JournalFilter
from agentkit.budgets.price import PriceBook
from agentkit.budgets.store import Store
from agentkit.reports.lever import Advice, FeatureSums, Finding, Look, Question, Silent, Traffic
from agentkit.reports.levers import LEVERS
from agentkit.reports.rollup import NO_VALUE, tags_of


@dataclass(frozen=True, kw_only=True, slots=True)
class AdviceReport:
    """What was found, the replayed first and by money within each basis."""

    days: float
    cost_nusd: int
    advice: tuple[Advice, ...]
    silent: tuple[Silent, ...]


def advise(
    store: Store,
    prices: PriceBook,
    *,
    where: JournalFilter = EVERYTHING,
    question: Question | None = None,
    levers: Sequence[Look] | None = None,
) -> AdviceReport:
    """Hold what was recorded against each lever."""
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
