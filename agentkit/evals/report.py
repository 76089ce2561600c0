"""What a run says: quality and cost of every setting, and the cheapest that is good enough."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from agentkit.budgets.money import NUSD_PER_USD, plain_usd, usd_from_nusd
from agentkit.evals.case_result import CaseResult
from agentkit.evals.comparison import Comparison
from agentkit.evals.curve import Curve, curves_of
from agentkit.evals.interval import wilson
from agentkit.evals.results import RunRecord
from agentkit.reports.unit_cost import fieller_range


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingFigures:
    """One setting over the cases that it was tried on; money in nano-USD.

    `quality` is the share that passed, with its 95 % interval. `per_resolved_nusd` is all that the
    setting cost over the cases that passed, None where none did; `is_priced` is False where a price
    was not known, so that the costs are too low.
    """

    name: str
    cases: int
    passed: int
    quality: float
    quality_low: float
    quality_high: float
    mean_score: float
    cost_nusd: int
    per_case_nusd: float
    per_resolved_nusd: float | None
    per_resolved_range: tuple[float, float | None] | None
    is_priced: bool
    escalated: float
    median_seconds: float
    input_tokens: int
    output_tokens: int
    failures: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types, money in USD."""
        low, high = self.per_resolved_range or (None, None)
        return {
            "name": self.name,
            "cases": self.cases,
            "passed": self.passed,
            "quality": round(self.quality, 4),
            "quality_interval": [round(self.quality_low, 4), round(self.quality_high, 4)],
            "mean_score": round(self.mean_score, 4),
            "cost_usd": usd_text(self.cost_nusd),
            "cost_per_case_usd": usd_text(self.per_case_nusd),
            "cost_per_resolved_usd": usd_text(self.per_resolved_nusd),
            "cost_per_resolved_interval_usd": [usd_text(low), usd_text(high)],
            "is_priced": self.is_priced,
            "escalated": round(self.escalated, 4),
            "median_seconds": round(self.median_seconds, 4),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "failures": dict(self.failures),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A run in figures. `cheapest` is the setting that resolves cases at the least cost among those
    whose quality reaches `quality`; `cheapest_is_sure` where its whole interval does."""

    run: RunRecord
    quality: float
    settings: tuple[SettingFigures, ...]
    curves: tuple[Curve, ...]
    results: tuple[CaseResult, ...]
    cheapest: str | None = None
    cheapest_is_sure: bool = False
    judge_nusd: int = 0
    stopped: int = 0
    missing: int = 0
    comparison: Comparison | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def setting(self, name: str) -> SettingFigures | None:
        """The figures of one setting."""
        return next((each for each in self.settings if each.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types; cases without what was said in them."""
        return {
            "name": self.facts.get("name"),
            "run": self.run.number,
            "started_at": self.run.started_at,
            "ended_at": self.run.ended_at,
            "quality_asked": self.quality,
            "cheapest": self.cheapest,
            "cheapest_is_sure": self.cheapest_is_sure,
            "missing": self.missing,
            "stopped": self.stopped,
            "judge_usd": usd_text(self.judge_nusd),
            "settings": [each.to_dict() for each in self.settings],
            "curves": [each.to_dict() for each in self.curves],
            "comparison": None if self.comparison is None else asdict(self.comparison),
            "results": [_row(result) for result in self.results],
        }


def report_of(
    run: RunRecord,
    results: Sequence[CaseResult],
    *,
    settings: Sequence[str],
    cases: int,
    quality: float,
    comparison: Comparison | None = None,
) -> Report:
    """The report over what a run has so far; what the run's money cut short is left out."""
    whole = [result for result in results if not result.stopped]
    figures = tuple(
        figures_of(name, [result for result in whole if result.setting == name])
        for name in settings
    )
    cheapest = cheapest_of(figures, quality)
    return Report(
        run=run,
        quality=quality,
        settings=figures,
        curves=curves_of(settings, whole),
        results=tuple(whole),
        cheapest=None if cheapest is None else cheapest.name,
        cheapest_is_sure=cheapest is not None and cheapest.quality_low >= quality,
        judge_nusd=sum(result.judge_nusd for result in whole),
        stopped=len(results) - len(whole),
        missing=cases * len(settings) - len(whole),
        comparison=comparison,
        facts=run.facts,
    )


def figures_of(name: str, results: Sequence[CaseResult]) -> SettingFigures:
    """The figures of one setting's results."""
    count = len(results)
    passed = [result for result in results if result.passed]
    low, high = wilson(len(passed), count)
    cost = sum(result.cost_nusd for result in results)
    failures = Counter(str(result.kind) for result in results if not result.passed)
    return SettingFigures(
        name=name,
        cases=count,
        passed=len(passed),
        quality=len(passed) / count if count else 0.0,
        quality_low=low,
        quality_high=high,
        mean_score=statistics.fmean(result.score for result in results) if count else 0.0,
        cost_nusd=cost,
        per_case_nusd=cost / count if count else 0.0,
        per_resolved_nusd=cost / len(passed) if passed else None,
        per_resolved_range=fieller_range(
            tasks=count,
            cost=cost,
            cost_squares=float(sum(result.cost_nusd**2 for result in results)),
            resolved=len(passed),
            cost_of_resolved=sum(result.cost_nusd for result in passed),
        ),
        is_priced=not any(result.unpriced for result in results),
        escalated=sum(result.escalations > 0 for result in results) / count if count else 0.0,
        median_seconds=statistics.median(result.seconds for result in results) if count else 0.0,
        input_tokens=sum(result.input_tokens for result in results),
        output_tokens=sum(result.output_tokens for result in results),
        failures=dict(failures.most_common()),
    )


def cheapest_of(figures: Sequence[SettingFigures], quality: float) -> SettingFigures | None:
    """The setting of the least cost per resolved case among those that reach `quality`."""
    good = [each for each in figures if each.cases and each.quality >= quality and each.is_priced]
    return min(good, key=lambda each: each.per_resolved_nusd or 0.0, default=None)


def usd_text(nusd: float | None) -> str | None:
    """An amount for JSON."""
    return None if nusd is None else plain_usd(usd_from_nusd(round(nusd)))


def money_text(nusd: float | None) -> str:
    """An amount for people, with three significant digits: cases cost less than a cent."""
    if nusd is None:
        return "–"
    if abs(nusd) >= NUSD_PER_USD:
        return f"${nusd / NUSD_PER_USD:,.2f}"
    return f"${Decimal(f'{nusd / NUSD_PER_USD:.3g}'):f}"


def _row(result: CaseResult) -> dict[str, Any]:
    return {
        "setting": result.setting,
        "case": result.case_id,
        "passed": result.passed,
        "score": round(result.score, 4),
        "kind": result.kind,
        "outcome": result.outcome,
        "cost_usd": usd_text(result.cost_nusd),
        "confidence": result.confidence,
        "task_id": result.task_id,
    }
