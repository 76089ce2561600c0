"""`agentkit why` and `agentkit diff`: what drove the cost of one task, or made two differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.journal import money, opened, show_rows, usd
from agentkit.cli.routes_told import routes_of, told_route
from agentkit.cli.screen import cell, console, emit, one_line

if TYPE_CHECKING:
    from agentkit.budgets.journal import TaskRecord
    from agentkit.budgets.ledger import Ledger
    from agentkit.reports.cause import Why

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="A task's id, or its beginning.")]


def why(
    task: TaskId,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """What drove a task's cost, the lever that would have saved most, and each tier's decisions."""
    from agentkit.reports.decided import decided

    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        record, found = _why(book, task)
        events = book.store.events(record.task_id)
    routes, decisions = routes_of(events), decided(events)
    if json:
        told = [asdict(each) for each in decisions]
        emit({**_facts(record, found), "routes": routes, "decisions": told})
        return 0
    out = console()
    out.print(
        cell(f"task {record.task_id}: {record.outcome or 'running'}, {money(found.cost_nusd)}")
    )
    for route in routes:
        out.print(cell(one_line(told_route(route), most_chars=300)))
    for cause in found.causes:
        share = cause.nusd / found.cost_nusd if found.cost_nusd else 0.0
        beside = "  (of the above)" if cause.overlaps else ""
        out.print(
            cell(f"{money(cause.nusd):>10}  {share:4.0%}  {cause.name}: {cause.told}{beside}")
        )
    if found.lever is None:
        out.print(cell("no lever here would have saved anything"))
    else:
        saved = money(found.lever.saves_nusd)
        out.print(cell(f"next lever: {found.lever.name} would save {saved} of it, if "
                       f"{found.lever.assumption}"))  # fmt: skip
    for each in decisions:
        out.print(cell(one_line(each.told, most_chars=400)))
    return 0


def diff(
    first: TaskId,
    second: Annotated[str, typer.Argument(metavar="TASK", help="The task to compare it with.")],
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Compare two tasks: where the second costs more or less than the first."""
    from agentkit.reports.cause import compare

    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        one, why_one = _why(book, first)
        two, why_two = _why(book, second)
    lines = compare(why_one, why_two)
    if json:
        emit(
            {
                "first": _facts(one, why_one),
                "second": _facts(two, why_two),
                "differences": [
                    {"name": line.name, "first_usd": usd(line.first_nusd),
                     "second_usd": usd(line.second_nusd), "more_usd": usd(line.nusd)}
                    for line in lines
                ],
            }
        )  # fmt: skip
        return 0
    shown = [
        {"name": line.name, "first": money(line.first_nusd), "second": money(line.second_nusd),
         "more": f"{'+' if line.nusd > 0 else ''}{money(line.nusd)}"}
        for line in lines
    ]  # fmt: skip
    whole = why_two.cost_nusd - why_one.cost_nusd
    shown.append(
        {"name": "cost", "first": money(why_one.cost_nusd), "second": money(why_two.cost_nusd),
         "more": f"{'+' if whole > 0 else ''}{money(whole)}"}
    )  # fmt: skip
    shown += [
        {"name": name, "first": str(a), "second": str(b), "more": f"{b - a:+d}"}
        for name, a, b in (
            ("calls", one.calls, two.calls),
            ("steps", one.steps, two.steps),
            ("escalations", one.escalations, two.escalations),
            ("input tokens", one.usage.input_tokens, two.usage.input_tokens),
            ("output tokens", one.usage.output_tokens, two.usage.output_tokens),
        )
    ]
    headings = {"name": "", "first": one.task_id, "second": two.task_id, "more": "difference"}
    show_rows(shown, headings, "table", shown=shown)
    return 0


def _why(book: Ledger, wanted: str) -> tuple[TaskRecord, Why]:
    from agentkit.cli.stored import find_task
    from agentkit.reports.cause import why as found

    record = find_task(book, wanted)
    return record, found(record, book.store.calls(record.task_id), book.prices)


def _facts(record: TaskRecord, found: Why) -> dict[str, object]:
    lever = found.lever
    return {
        "task_id": record.task_id,
        "outcome": record.outcome,
        "cost_usd": usd(found.cost_nusd),
        "causes": [
            {"name": c.name, "usd": usd(c.nusd), "told": c.told, "overlaps": c.overlaps}
            for c in found.causes
        ],
        "next_lever": None
        if lever is None
        else {
            "name": lever.name,
            "saves_usd": usd(lever.saves_nusd),
            "assumption": lever.assumption,
        },
    }
