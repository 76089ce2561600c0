"""`agentkit alerts` and `agentkit metrics`: rules over the journal, here and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import opened
from agentkit.cli.screen import cell, console, emit, note, say
from agentkit.cli.settings import Flags, Settings, read_settings

if TYPE_CHECKING:
    from agentkit.reports.alert import Rule
    from agentkit.reports.alert_check import Firing

FIRING = 4
app = typer.Typer(help="Alert rules.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Alert rules over what was recorded: checked here, or exported."""


@app.command()
def check(
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="WHEN", help="As of then, like 2d or 2026-11-01.")
    ] = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Check every rule; exit with 4 where one fires, and say which tasks and what to do."""
    from agentkit.reports.alert_check import check_alerts

    now = journal.moment(at, "--at")
    with opened(ledger, config, trust_config, ask=not json) as (settings, book):
        found = check_alerts(
            book.store,
            now=time.time() if now is None else now,
            rules=rules_of(settings),
            scope=scope,
            tags=journal.tags_of(tag),
            day_usd=day_budget(settings),
        )
    if json:
        emit([_facts(firing) for firing in found])
    elif not found:
        note("no rule fires")
    else:
        _print(found)
    return FIRING if found else 0


@app.command("list")
def list_rules(config: options.Config = None, json: options.Json = False) -> int:
    """List the rules in force, with their thresholds and floors, as agentkit.toml may set them."""
    rules = rules_of(read_settings(Flags(config=config)))
    rows = [
        {"rule": rule.name, "watches": rule.summary, "threshold": f"{rule.threshold:g}",
         "floor": f"{rule.floor:g} {rule.floor_unit}"}
        for rule in rules
    ]  # fmt: skip
    headings = {
        "rule": "rule",
        "watches": "fires where",
        "threshold": "threshold",
        "floor": "floor",
    }
    journal.show_rows(rows, headings, "json" if json else "table", texts=2, shown=rows)
    return 0


@app.command()
def export(
    what: Annotated[Literal["prometheus", "grafana"], typer.Argument(help="Rules or dashboard.")],
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Write the same rules as a Prometheus rule file, or a Grafana dashboard over their series.

    `agentkit metrics` prints the series.
    """
    from agentkit.reports.prometheus import dashboard, rule_file

    rules = rules_of(read_settings(Flags(config=config)))
    text = rule_file(rules) if what == "prometheus" else dashboard(rules)
    if json:
        emit({"kind": what, "text": text})
    else:
        say(text.rstrip("\n"))
    return 0


def metrics(
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Print the series that the alert rules use, in Prometheus' text format.

    For node_exporter's textfile collector, or anything that serves a file over HTTP.
    """
    from agentkit.reports.prometheus import exposition, samples

    with opened(ledger, config, trust_config, ask=False) as (settings, book):
        found = samples(book.store, day_usd=day_budget(settings))
    if json:
        emit([{"name": s.name, "labels": dict(s.labels), "value": s.value} for s in found])
    else:
        say(exposition(found).rstrip("\n"))
    return 0


def rules_of(settings: Settings) -> Sequence[Rule]:
    """The rules in force, as agentkit.toml sets them."""
    from agentkit.reports.alert_check import RuleChange, rules_in_force

    section = settings.project.alerts
    return rules_in_force(
        {
            name: RuleChange(threshold=change.threshold, floor=change.floor, off=change.off)
            for name, change in section.changes()
        }
    )


def day_budget(settings: Settings) -> float | None:
    """USD a day in agentkit.toml, for where no scope has a limit for a day."""
    day = settings.project.alerts.day_usd
    return None if day is None else float(day)


def _facts(firing: Firing) -> dict[str, object]:
    rule = firing.rule
    return {
        "rule": rule.name, "severity": rule.severity, "summary": rule.summary,
        "labels": dict(firing.labels), "value": firing.value, "threshold": rule.threshold,
        "tasks": list(firing.tasks), "todo": rule.todo,
    }  # fmt: skip


def _print(found: Sequence[Firing]) -> None:
    out = console()
    for firing in found:
        rule = firing.rule
        which = " ".join(f"{name}={value}" for name, value in firing.labels.items())
        out.print(cell(f"{rule.severity} {rule.name}{f' [{which}]' if which else ''}: "
                       f"{rule.summary} (now {firing.value:.4g})"))  # fmt: skip
        if firing.tasks:
            out.print(cell(f"  tasks: {', '.join(firing.tasks)}"))
        out.print(cell(f"  do: {rule.todo}"))
