"""A report as one HTML file: no script, nothing from elsewhere, everything in it escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

from agentkit.evals.comparison import SettingChange
from agentkit.evals.curve import Curve
from agentkit.evals.drawing import Axis, Mark, axis_around, bars, line, plane
from agentkit.evals.report import Report, SettingFigures, money_text
from agentkit.private_file import write_private

_MOST_CASES = 500
_LONGEST_TEXT = 240


def write_page(report: Report, path: Path) -> int:
    """Write the page to `path` and return its size in bytes.

    The file appears whole or not at all, readable by its owner alone: it holds what models said.
    """
    text = page_of(report).encode("utf-8", "replace")
    write_private(path, text)
    return len(text)


def page_of(report: Report) -> str:
    """The document."""
    style = files("agentkit.evals").joinpath("static/report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{report.facts.get('name', 'cases')} · run {report.run.number}"
    body = "\n".join(_sections(report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<header><div><h1>{escape(title)}</h1>{_head(report)}</div></header>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    began = datetime.fromtimestamp(report.run.started_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [f"{report.facts.get('cases', 0)} cases", f"begun {began}"]
    if report.facts.get("judge"):
        facts.append(f"judge {report.facts['judge']} ({money_text(report.judge_nusd)})")
    if report.missing:
        facts.append(f"{report.missing} trials are missing")
    return (
        f'<p class="note">{escape(" · ".join(facts))}</p><p class="verdict">{_verdict(report)}</p>'
    )


def _verdict(report: Report) -> str:
    asked = _percent(report.quality)
    figures = None if report.cheapest is None else report.setting(report.cheapest)
    if figures is None:
        best = max(report.settings, key=lambda each: each.quality, default=None)
        if best is None:
            return "Nothing was tried."
        return (
            f"No setting reaches {asked}. The best is <strong>{escape(best.name)}</strong> with "
            f"{best.quality:.1%}."
        )
    sure = (
        "Its whole interval does."
        if report.cheapest_is_sure
        else "Its interval goes below that: more cases would tell."
    )
    return (
        f"<strong>{escape(figures.name)}</strong> is the cheapest setting that reaches {asked}: "
        f"{money_text(figures.per_resolved_nusd)} a resolved case. {sure}"
    )


def _sections(report: Report) -> Iterator[str]:
    yield _section("Settings", _settings(report), note="Intervals hold 95 % (Wilson; Fieller).")
    tried = [each for each in report.settings if each.cases]
    if tried:
        yield _section(
            "Quality over cost", _plane(report, tried), half=True,
            note="Money a case; the dashed line is the quality asked.",
        )  # fmt: skip
        yield _section("Failures by kind", _failures(tried), half=True)
    for curve in report.curves:
        yield from _curve(curve, report.quality)
    if report.comparison is not None:
        rows = [_change(change) for change in report.comparison.settings]
        heads = ("setting", "before", "after", "p", "newly wrong", "newly right", "cost a case")
        yield _section(
            f"Beside {report.comparison.with_run}", _table(heads, rows, numbers=(1, 2, 3))
        )
    yield _cases(report)


def _settings(report: Report) -> str:
    heads = (
        "setting", "cases", "passed", "95 %", "cost a case", "cost a resolved case", "95 %",
        "escalated", "median s",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for each in report.settings:
        unknown = "" if each.is_priced else " + $?"
        rows.append(
            (
                escape(each.name), f"{each.cases:,}", f"{each.quality:.1%}",
                f"{each.quality_low:.1%} to {each.quality_high:.1%}",
                money_text(each.per_case_nusd) + unknown,
                money_text(each.per_resolved_nusd) + unknown, _range(each),
                f"{each.escalated:.0%}", f"{each.median_seconds:.2f}",
            )
        )  # fmt: skip
    best = [n for n, each in enumerate(report.settings) if each.name == report.cheapest]
    return _table(heads, rows, numbers=range(1, 9), best=best)


def _range(each: SettingFigures) -> str:
    if each.per_resolved_range is None or not each.cost_nusd:
        return "–"
    low, high = each.per_resolved_range
    return f"{money_text(low)} to {'any' if high is None else money_text(high)}"


def _plane(report: Report, tried: Sequence[SettingFigures]) -> str:
    marks = [
        Mark(
            name=each.name, x=each.per_case_nusd, y=each.quality, low=each.quality_low,
            high=each.quality_high,
        )
        for each in tried
    ]  # fmt: skip
    x = axis_around([0.0, *(mark.x for mark in marks)], money_text, floor=0.0, unit=1.0)
    heights = [report.quality, *(mark.low for mark in marks), *(mark.high for mark in marks)]
    y = Axis(least=max(0.0, min(heights) - 0.03), most=1.0, told=_percent)
    return plane(marks, x, y, asked=report.quality, label="quality over cost a case")


def _failures(tried: Sequence[SettingFigures]) -> str:
    kinds = sorted({kind for each in tried for kind in each.failures})
    if not kinds:
        return '<p class="note">Nothing failed.</p>'
    counts = {kind: {each.name: each.failures.get(kind, 0) for each in tried} for kind in kinds}
    keys = "".join(
        f'<li><svg width="10" height="10" aria-hidden="true"><rect width="10" height="10" rx="3" '
        f'fill="var(--m{place % 8})"/></svg> {escape(kind)}</li>'
        for place, kind in enumerate(kinds)
    )
    return f'{bars(counts, "failures by kind")}<ul class="keys">{keys}</ul>'


def _curve(curve: Curve, quality: float) -> Iterator[str]:
    """Two charts over the threshold: what quality and what cost each would have given."""
    known = [point for point in curve.points if point.threshold is not None]
    best = curve.cheapest(quality)
    chosen = None if best is None else best.threshold
    x = axis_around([point.threshold or 0.0 for point in known], lambda value: f"{value:.3g}")
    names = f"{curve.cheap} before {curve.dear}"
    note = "Answers of at least this confidence are taken, the others passed on."
    if best is not None:
        note += (
            f" The cheapest that reaches {_percent(quality)} takes from "
            f"{'none' if chosen is None else f'{chosen:.3g}'}: {best.quality:.1%} for "
            f"{money_text(best.per_case_nusd)} a case, {best.escalated:.0%} passed on. It was "
            "chosen on these cases; agentkit calibrate holds some out."
        )
    shares = [(point.threshold or 0.0, point.quality) for point in known]
    heights = axis_around([quality, *(height for _, height in shares)], _percent, floor=0.0)
    y = Axis(least=heights.least, most=min(1.0, heights.most), told=_percent)
    yield _section(
        f"Quality by threshold: {names}", half=True, note=note,
        body=line(shares, x, y, asked=quality, chosen=chosen, label="quality by threshold"),
    )  # fmt: skip
    costs = [(point.threshold or 0.0, point.per_case_nusd) for point in known]
    y = axis_around([0.0, *(height for _, height in costs)], money_text, floor=0.0, unit=1.0)
    yield _section(
        f"Cost by threshold: {names}", half=True, note="Money a case, wasted attempts included.",
        body=line(costs, x, y, kind="cost", chosen=chosen, label="cost a case by threshold"),
    )  # fmt: skip


def _change(change: SettingChange) -> tuple[str, ...]:
    return (
        escape(change.name),
        f"{change.quality_before:.1%}",
        f"{change.quality_after:.1%}",
        f"{change.p_value:.2g}",
        f'<span class="bad">{_names(change.newly_wrong)}</span>',
        f'<span class="good">{_names(change.newly_right)}</span>',
        f"{money_text(change.per_case_before_nusd)} to {money_text(change.per_case_after_nusd)}",
    )


def _names(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - 20} more" if len(cases) > 20 else ""
    return escape(", ".join(cases[:20]) + more) if cases else "–"


def _cases(report: Report) -> str:
    failed = [result for result in report.results if not result.passed]
    rows = [
        (
            f'<span class="mono">{escape(result.case_id)}</span>',
            escape(result.setting),
            escape(str(result.kind)),
            escape(_short(result.detail)),
            escape(_short(result.answer)),
        )
        for result in failed[:_MOST_CASES]
    ]
    left = len(failed) - len(rows)
    note = f"{len(failed)} failures" + (f", the first {len(rows)} of them" if left else "")
    heads = ("case", "setting", "kind", "why", "answer")
    table = _table(heads, rows, texts=(3, 4)) if rows else ""
    opened = " open" if len(rows) <= 20 else ""
    body = f"<details{opened}><summary>{note}</summary>{table}</details>" if rows else ""
    return _section("Cases that failed", body or '<p class="note">None did.</p>')


def _section(title: str, body: str, *, note: str = "", half: bool = False) -> str:
    kind = ' class="half"' if half else ""
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{told}{body}</section>"


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    texts: Sequence[int] = (),
    best: Sequence[int] = (),
) -> str:
    """A table of cells that are HTML already."""

    def kind(place: int) -> str:
        named = "number" if place in numbers else "text" if place in texts else "name"
        return f' class="{named}"' if named != "name" or place == 0 else ""

    head = "".join(f"<th{kind(n)}>{escape(text)}</th>" for n, text in enumerate(heads))
    body = "".join(
        ('<tr class="best">' if row in best else "<tr>")
        + "".join(f"<td{kind(n)}>{text}</td>" for n, text in enumerate(cells))
        + "</tr>"
        for row, cells in enumerate(rows)
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _short(text: str) -> str:
    line_ = " ".join(text.split())
    return line_ if len(line_) <= _LONGEST_TEXT else line_[: _LONGEST_TEXT - 1] + "…"


def _percent(share: float) -> str:
    return f"{share:.0%}" if abs(share * 100 - round(share * 100)) < 1e-6 else f"{share:.1%}"
