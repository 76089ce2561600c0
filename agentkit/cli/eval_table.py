"""An evaluation's report on the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agentkit.cli.screen import cell, console, one_line, say
from agentkit.evals.report import money_text

if TYPE_CHECKING:
    from agentkit.evals.comparison import Comparison
    from agentkit.evals.curve import Curve
    from agentkit.evals.report import Report, SettingFigures

_MOST_NAMED = 8
_SURE = 0.05
_NO_ANSWER = frozenset({"declined", "error", "exhausted"})


def show_report(report: Report) -> None:
    """Quality and cost by setting, failures by kind, curves in a line, and what to choose."""
    _settings(report)
    _failures(report)
    for curve in report.curves:
        _curve(curve, report.quality)
    if report.comparison is not None:
        _comparison(report.comparison)
    if report.judge_nusd:
        say(f"the judge cost {money_text(report.judge_nusd)} beside that")
    say(verdict(report))


def verdict(report: Report) -> str:
    """Which setting is the cheapest that holds the quality asked, and how sure that is."""
    asked = f"{report.quality:.0%}" if report.quality * 100 % 1 < 1e-9 else f"{report.quality:.1%}"
    if report.cheapest is None:
        best = max(report.settings, key=lambda each: each.quality, default=None)
        told = f"; the best is {best.name} with {best.quality:.1%}" if best is not None else ""
        return f"no setting reaches {asked}{told}"
    figures = report.setting(report.cheapest)
    cost = money_text(None if figures is None else figures.per_resolved_nusd)
    if report.cheapest_is_sure:
        sure = "its whole interval does"
    else:
        sure = "its interval goes below that: more cases would tell"
    return (
        f"{report.cheapest} is the cheapest that reaches {asked} ({cost} a resolved case); {sure}"
    )


def _settings(report: Report) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", overflow="fold")
    for heading in (
        "cases", "passed", "95 %", "a case", "a resolved case", "escalated", "median s",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for each in report.settings:
        table.add_row(*(cell(text) for text in _row(each)))
    console().print(table)


def _row(each: SettingFigures) -> tuple[str, ...]:
    if not each.cases:
        return (one_line(each.name), "0", *["-"] * 6)
    unknown = "" if each.is_priced else " + $?"
    return (
        one_line(each.name, most_chars=60),
        f"{each.cases:,}",
        f"{each.quality:.1%}",
        f"{each.quality_low:.1%}–{each.quality_high:.1%}",
        money_text(each.per_case_nusd) + unknown,
        money_text(each.per_resolved_nusd) + unknown,
        f"{each.escalated:.0%}" if each.escalated else "-",
        f"{each.median_seconds:.2f}",
    )


def _failures(report: Report) -> None:
    for each in report.settings:
        if each.failures:
            told = ", ".join(f"{count} {kind}" for kind, count in each.failures.items())
            say(f"{one_line(each.name, most_chars=60)}: {told}")
            _why(report, each.name)


def _why(report: Report, setting: str) -> None:
    """What most of the cases that came to no answer were told; of wrong answers the page tells."""
    reasons = Counter(
        each.detail
        for each in report.results
        if each.setting == setting and each.kind in _NO_ANSWER and each.detail
    )
    for reason, count in reasons.most_common(1):
        say(f"  {count} of them: {one_line(reason, most_chars=200)}")


def _curve(curve: Curve, quality: float) -> None:
    best = curve.cheapest(quality)
    names = f"{one_line(curve.cheap, most_chars=40)} before {one_line(curve.dear, most_chars=40)}"
    if best is None:
        say(f"{names}: no threshold reaches {quality:.1%}")
        return
    at = "escalating all" if best.threshold is None else f"a confidence of {best.threshold:.3g}"
    say(
        f"{names}: from {at}, {best.quality:.1%} for {money_text(best.per_case_nusd)} a case, "
        f"{best.escalated:.0%} escalated (chosen on these cases; `agentkit calibrate` holds some "
        "out)"
    )


def _comparison(comparison: Comparison) -> None:
    for change in comparison.settings:
        told = "more than chance" if change.p_value < _SURE else "may be chance"
        say(
            f"{one_line(change.name, most_chars=60)} beside {one_line(comparison.with_run)}: "
            f"{change.quality_before:.1%} → {change.quality_after:.1%} of {change.cases} cases "
            f"(p {change.p_value:.2g}, {told}), {money_text(change.per_case_before_nusd)} → "
            f"{money_text(change.per_case_after_nusd)} a case"
        )
        for what, cases in (("wrong", change.newly_wrong), ("right", change.newly_right)):
            if cases:
                more = f" and {len(cases) - _MOST_NAMED} more" if len(cases) > _MOST_NAMED else ""
                named = ", ".join(one_line(case, most_chars=40) for case in cases[:_MOST_NAMED])
                say(f"  newly {what}: {named}{more}")
