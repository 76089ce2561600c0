"""`agentkit report`, `unit-costs`, `top` and `savings`: sums of the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import money, opened, show_rows, usd, where_of
from agentkit.cli.screen import note, one_line, say

if TYPE_CHECKING:
    from agentkit.budgets.journal_query import CallSums
    from agentkit.budgets.ledger import Ledger
    from agentkit.reports.rollup import ReportRow
    from agentkit.reports.unit_cost import UnitCost

_MOST_ESCALATED = 0.3
_MOST_ROWS = 200
_SUMS = {
    "calls": "calls", "cost": "cost", "unconfirmed": "worst case", "unknown_calls": "$?",
    "input_tokens": "in", "cached": "cached", "output_tokens": "out", "escalations": "up",
}  # fmt: skip
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="NAMES",
        help="model, day, hour, scope, outcome, source, tier, purpose, status, task, or any tag; "
        "several with commas.",
    ),
]
Shape = Annotated[
    Literal["table", "json", "csv", "focus"],
    typer.Option("--format", help="focus: the columns of FOCUS 1.2, one row a meter, as CSV."),
]


def report(
    by: By = "model",
    shape: Shape = "table",
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    outcome: journal.OutcomeOption = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Sum what calls cost by any dimensions; every report adds up to the ledger.

    A focus export divides costs among meters, by day and model; --by names the tags it keeps.
    """
    names = [name.strip() for name in by.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("--by names nothing; write it like --by feature,model")
    where = where_of(
        since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome
    )  # fmt: skip
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        if shape == "focus":
            _say_focus(book, by, where)
            return 0
        from agentkit.reports.rollup import report as summed

        rows = summed(book.store, names, where)
    headings = {**{name: name for name in names}, **_SUMS}
    facts = [{**dict(zip(names, row.values, strict=True)), **_facts(row.sums)} for row in rows]
    shown = [
        {**_named(names, row), **_shown(row.sums)} for row in [*rows[:_MOST_ROWS], _total(rows)]
    ]
    show_rows(facts, headings, "json" if json else shape, texts=len(names), shown=shown)
    if shape == "table" and not json and len(rows) > _MOST_ROWS:
        note(f"and {len(rows) - _MOST_ROWS} more rows; --format csv or --json has all of them")
    if shape == "table" and not json:
        _note_escalations(_total(rows).sums)
    return 0


def unit_costs(
    by: Annotated[str, typer.Option("--by", metavar="TAG", help="A tag.")] = "feature",
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """What a task costs, a resolved one (all spend over those resolved, with Fieller's 95 %
    interval), and a successful one (resolved or answered)."""
    from agentkit.reports.unit_cost import overall
    from agentkit.reports.unit_cost import unit_costs as found

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model)
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        units = found(book.store, by, where)
        whole = overall(book.store, where)
    rows = [*units, whole] if len(units) > 1 else units
    headings = {
        "name": by, "tasks": "tasks", "resolved": "resolved", "cost": "cost",
        "per_task": "a task", "per_resolved": "a resolved task", "range": "95 % between",
        "per_success": "a success",
    }  # fmt: skip
    show_rows(
        [_unit_facts(unit) for unit in units], headings, "json" if json else "table",
        shown=[_unit_shown(unit) for unit in rows],
    )  # fmt: skip
    return 0


def top(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 10,
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    outcome: journal.OutcomeOption = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """The tasks that cost most."""
    where = where_of(
        since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome
    )  # fmt: skip
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        rows: list[dict[str, str]] = []
        facts: list[dict[str, object]] = []
        for group in book.store.sum_calls(("task",), where, measures="basic", dearest=limit):
            task_id = str(group.key[0])
            task = book.store.task(task_id)
            told = {
                "task": task_id,
                "outcome": (task.outcome or "running") if task else "?",
                "feature": one_line(task.tags.get("feature", "-"), most_chars=40) if task else "-",
                "scope": one_line(task.scope, most_chars=60) if task else "-",
            }
            rows.append({**told, **_shown(group.sums)})
            facts.append({**told, **_facts(group.sums)})
    headings = {
        "task": "task",
        "outcome": "outcome",
        "feature": "feature",
        "scope": "scope",
        **_SUMS,
    }
    show_rows(facts, headings, "json" if json else "table", texts=4, shown=rows)
    return 0


def savings(
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """What each lever saved, as billed; below zero where it cost more than it saved."""
    from agentkit.reports.saving import savings as found

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model)
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        rows = found(book.store, where)
    facts = [
        {"lever": r.lever, "saved_usd": usd(r.saved_nusd), "without_usd": usd(r.without_nusd),
         "how": r.how}
        for r in rows
    ]  # fmt: skip
    shown = [
        {"lever": r.lever, "how": r.how, "saved_usd": money(r.saved_nusd),
         "without_usd": money(r.without_nusd)}
        for r in rows
    ]  # fmt: skip
    headings = {
        "lever": "lever", "how": "against", "saved_usd": "saved", "without_usd": "bill without it",
    }  # fmt: skip
    empty = "no lever has moved the bill of what fits"
    show_rows(facts, headings, "json" if json else "table", texts=2, shown=shown, empty=empty)
    return 0


def _say_focus(book: Ledger, by: str, where: object) -> None:
    from agentkit.budgets.journal_query import JournalFilter
    from agentkit.reports.focus import DEFAULT_TAGS, focus_csv, focus_rows

    if not isinstance(where, JournalFilter):
        raise TypeError("a filter is meant")
    tags = DEFAULT_TAGS if by == "model" else tuple(by.split(","))
    tags = tuple(tag for tag in tags if tag not in ("model", "day", "source", "confirmed"))
    say(focus_csv(focus_rows(book.store, book.prices, tags=tags, where=where)).rstrip("\n"))


def _total(rows: list[ReportRow]) -> ReportRow:
    from agentkit.budgets.journal_query import CallSums
    from agentkit.reports.rollup import ReportRow

    whole = CallSums()
    for row in rows:
        whole = whole.plus(row.sums)
    return ReportRow(values=("total",), sums=whole)


def _note_escalations(sums: CallSums) -> None:
    """Say that the cheap model is too small where it gives way too often."""
    asked = sums.calls - sums.escalations
    if asked > 0 and sums.escalations > _MOST_ESCALATED * asked:
        note(
            f"{sums.escalations} of {asked} answers were given to a dearer tier: above "
            f"{_MOST_ESCALATED:.0%} the cheap model is too small, or asked for too much "
            "(docs/cascade.md)"
        )


def _named(names: list[str], row: ReportRow) -> dict[str, str]:
    values = [*row.values, *[""] * len(names)]
    return {name: one_line(values[place], most_chars=60) for place, name in enumerate(names)}


def _facts(sums: CallSums) -> dict[str, object]:
    return {
        "calls": sums.calls, "cost": usd(sums.cost_nusd), "cost_nusd": sums.cost_nusd,
        "unconfirmed": usd(sums.unconfirmed_nusd), "unknown_calls": sums.unknown_calls,
        "input_tokens": sums.input_tokens, "cached": sums.cache_read_tokens,
        "cache_writes": sums.cache_write_5m_tokens + sums.cache_write_1h_tokens,
        "output_tokens": sums.output_tokens, "escalations": sums.escalations,
    }  # fmt: skip


def _shown(sums: CallSums) -> dict[str, str]:
    from agentkit.cli.summary import format_count

    cached = sums.cache_read_tokens / sums.input_tokens if sums.input_tokens else 0.0
    return {
        "calls": f"{sums.calls:,}", "cost": _cost(sums),
        "unconfirmed": money(sums.unconfirmed_nusd) if sums.unconfirmed_nusd else "-",
        "unknown_calls": f"{sums.unknown_calls:,}" if sums.unknown_calls else "-",
        "input_tokens": format_count(sums.input_tokens), "cached": f"{cached:.0%}",
        "output_tokens": format_count(sums.output_tokens),
        "escalations": f"{sums.escalations:,}" if sums.escalations else "-",
    }  # fmt: skip


def _cost(sums: CallSums) -> str:
    """A cost; what nobody knows is never 0."""
    if not sums.unknown_calls:
        return money(sums.cost_nusd)
    return f"{money(sums.cost_nusd)} + $?" if sums.cost_nusd else "$?"


def _unit_facts(unit: UnitCost) -> dict[str, object]:
    low, high = unit.resolved_range_nusd or (None, None)
    return {
        "name": unit.name, "tasks": unit.tasks, "resolved": unit.resolved,
        "successful": unit.successful, "cost": usd(unit.cost_nusd),
        "per_task": usd(unit.per_task_nusd), "per_resolved": _or_none(unit.per_resolved_nusd),
        "range": [_or_none(low), _or_none(high)], "per_success": _or_none(unit.per_success_nusd),
    }  # fmt: skip


def _unit_shown(unit: UnitCost) -> dict[str, str]:
    if unit.resolved_range_nusd is None:
        between = "-"
    else:
        low, high = unit.resolved_range_nusd
        between = f"{money(low)} and {money(high) if high is not None else 'any'}"
    return {
        "name": one_line(unit.name, most_chars=60), "tasks": f"{unit.tasks:,}",
        "resolved": f"{unit.resolved:,}", "cost": money(unit.cost_nusd),
        "per_task": money(unit.per_task_nusd), "per_resolved": money(unit.per_resolved_nusd),
        "range": between, "per_success": money(unit.per_success_nusd),
    }  # fmt: skip


def _or_none(nusd: float | None) -> str | None:
    return None if nusd is None else usd(nusd)
