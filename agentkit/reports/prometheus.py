"""The alert rules and their series as Prometheus takes them, and a Grafana dashboard over them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.store import Store
from agentkit.reports.alert import RULES, Rule
from agentkit.reports.expression import promql
from agentkit.reports.rollup import NO_VALUE
from agentkit.reports.series import (
    BUDGET_USED,
    CACHED,
    CALLS,
    COST,
    COUNTERS,
    DAY_BUDGET,
    ESCALATIONS,
    GAUGES,
    INPUT,
    RESOLVED,
    TASKS,
    USER_COST,
    Counter,
    Labels,
    Vector,
    Window,
    budgets_used,
    day_budget_usd,
)

_USERS_NAMED = 100
OTHERS = "(other)"
"""Stands for the users beyond the hundred who cost most: labels must stay few."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One line of the exposition."""

    name: str
    labels: Mapping[str, str]
    value: float

    @property
    def series(self) -> str:
        """The name with its labels, as Prometheus writes it."""
        if not self.labels:
            return self.name
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in self.labels.items())
        return f"{self.name}{{{inside}}}"


def samples(
    store: Store, *, until: float | None = None, day_usd: float | None = None
) -> list[Sample]:
    """All series as they stood at `until` (Unix time), or as they stand."""
    window = Window(store, JournalFilter(until=until))
    found: list[Sample] = []
    for counter in COUNTERS:
        sums = window.sums(counter, counter.labels)
        found += _samples(counter, _few(sums) if counter is USER_COST else sums)
    for labels, share in sorted(budgets_used(store).items()):
        named: dict[str, str] = dict(zip(BUDGET_USED.labels, labels, strict=True))
        found.append(Sample(name=BUDGET_USED.name, labels=named, value=share))
    day = day_usd if day_usd is not None else day_budget_usd(store)
    if day is not None:
        found.append(Sample(name=DAY_BUDGET.name, labels={}, value=day))
    return found


def exposition(found: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format 0.0.4."""
    helps = {each.name: (each.help, "counter") for each in COUNTERS}
    helps |= {each.name: (each.help, "gauge") for each in GAUGES}
    lines: list[str] = []
    seen = ""
    for sample in found:
        if sample.name != seen:
            seen = sample.name
            told, kind = helps[seen]
            lines += [f"# HELP {seen} {told}", f"# TYPE {seen} {kind}"]
        lines.append(f"{sample.series} {sample.value!r}")
    return "\n".join(lines) + "\n"


def rule_file(rules: Sequence[Rule] = RULES) -> str:
    """A rule file for Prometheus (YAML) with the same conditions that are checked locally."""
    lines = ["groups:", "  - name: agentkit", "    rules:"]
    for rule in rules:
        which = " ".join(f"{{{{ $labels.{name} }}}}" for name in rule.by)
        summary = f"{rule.summary}{f' ({which})' if which else ''}"
        expression = promql(rule.condition(rule.threshold, rule.floor))
        lines += [
            f"      - alert: {alert_name(rule)}",
            f"        expr: {json.dumps(expression)}",
            f"        labels: {{severity: {rule.severity}, rule: {rule.name}}}",
            "        annotations:",
            f"          summary: {json.dumps(summary)}",
            f"          description: {json.dumps(f'{rule.todo}. Tasks: `{_look(rule)}`')}",
        ]
    return "\n".join(lines) + "\n"


def alert_name(rule: Rule) -> str:
    """Like `AgentkitDailySpend`."""
    return "Agentkit" + "".join(part.capitalize() for part in rule.name.split("_"))


def dashboard(rules: Sequence[Rule] = RULES) -> str:
    """A Grafana dashboard (JSON): the key figures, then what each rule measures and its bound."""
    panels: list[dict[str, object]] = [
        _panel("Spend by feature, USD an hour", f"sum by (feature) (increase({COST.name}[1h]))"),
        _panel("Spend by model, USD an hour", f"sum by (model) (increase({COST.name}[1h]))"),
        _panel("Dearest users, USD a day", f"topk(10, increase({USER_COST.name}[1d]))"),
        _panel(
            "USD a task and a resolved task, over a week",
            f"sum(increase({COST.name}[7d])) / sum(increase({TASKS.name}[7d]))",
            f"sum(increase({COST.name}[7d])) / sum(increase({RESOLVED.name}[7d]))",
        ),
        _panel(
            "Cached share of input",
            f"sum(increase({CACHED.name}[1h])) / sum(increase({INPUT.name}[1h]))",
        ),
        _panel(
            "Escalated share of calls",
            f"sum by (feature) (increase({ESCALATIONS.name}[1d])) "
            f"/ sum by (feature) (increase({CALLS.name}[1d]))",
        ),
    ]
    panels += [
        _panel(f"Alert: {rule.name}", promql(rule.measured), note=rule.summary) for rule in rules
    ]
    for place, panel in enumerate(panels):
        panel["id"] = place + 1
        panel["gridPos"] = {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)}
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return json.dumps(
        {
            "title": "agentkit",
            "uid": "agentkit",
            "schemaVersion": 39,
            "time": {"from": "now-14d", "to": "now"},
            "templating": {"list": [source]},
            "panels": panels,
        },
        indent=2,
    )


def _panel(title: str, *expressions: str, note: str = "") -> dict[str, object]:
    where = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "title": title,
        "description": note,
        "type": "timeseries",
        "datasource": where,
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "datasource": where}
            for place, expression in enumerate(expressions)
        ],
    }


def _look(rule: Rule) -> str:
    """The command that lists the tasks behind a rule."""
    named = {"feature": "--tag feature={}", "user": "--tag user={}", "model": "--model {}"}
    which = [
        named[name].format(f"{{{{ $labels.{name} }}}}") for name in rule.by if name in named
    ]  # fmt: skip
    return " ".join(["agentkit top", f"--since {rule.hours:g}h", *which])


def _samples(counter: Counter, sums: Vector) -> list[Sample]:
    return [
        Sample(name=counter.name, labels=dict(zip(counter.labels, labels, strict=True)), value=sum_)
        for labels, sum_ in sorted(sums.items())
    ]


def _few(sums: Vector) -> Vector:
    """The users who cost most by name, the rest together."""
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    few: dict[Labels, float] = dict(ranked[:_USERS_NAMED])
    rest = sum(value for _, value in ranked[_USERS_NAMED:])
    return {**few, (OTHERS,): rest} if rest else few


def _escaped(text: str) -> str:
    return (text or NO_VALUE).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
