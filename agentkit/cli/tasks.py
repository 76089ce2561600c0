"""`agentkit tasks` and `agentkit show`: what the ledger remembers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import journal, options
from agentkit.cli.screen import emit, note
from agentkit.cli.settings import Flags, read_settings

if TYPE_CHECKING:
    from agentkit.budgets.journal import TaskRecord


def tasks(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the latest first.")] = 20,
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
    """List the latest tasks: outcome, cost, calls, tokens."""
    from agentkit.cli.assembly import is_absent, open_ledger
    from agentkit.cli.trust import require_trusted_ledger

    where = journal.where_of(
        since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome
    )  # fmt: skip
    flags = Flags(config=config, trust_config=trust_config, ledger=ledger)
    settings = read_settings(flags)
    require_trusted_ledger(settings, flags, ask=not json)
    if is_absent(settings):
        found: Sequence[TaskRecord] = ()
    else:
        with open_ledger(settings) as book:
            found = book.store.tasks(limit=limit, where=where)
    if json:
        emit([_task_facts(task) for task in found])
    elif not found:
        note(f"no tasks yet in {settings.ledger}")
    else:
        _print_tasks(found)
    return 0


def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's id, or its beginning.")],
    steps: Annotated[
        bool, typer.Option("--steps", help="Each call's tools, and its tokens by component.")
    ] = False,
    context: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEP", help="What this step sent by part, and left out, why."),
    ] = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Show one task: each call with tier, tokens, cost, tools and confidence, and its events."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.context_view import context_facts, print_context
    from agentkit.cli.stored import find_task, require_ledger
    from agentkit.cli.story import print_steps, print_story
    from agentkit.cli.trust import require_trusted_ledger

    flags = Flags(config=config, trust_config=trust_config, ledger=ledger)
    settings = read_settings(flags)
    require_trusted_ledger(settings, flags, ask=not json)
    require_ledger(settings)
    with open_ledger(settings) as book:
        record = find_task(book, task)
        calls = book.store.calls(record.task_id)
        events = book.store.events(record.task_id)
        facts = None if context is None else context_facts(context, calls, events, book.prices)
    if facts is not None:
        emit({"task_id": record.task_id, **facts}) if json else print_context(facts)
    elif json:
        emit(
            {
                **_task_facts(record),
                "calls": [call.to_dict() for call in calls],
                "events": [event.to_dict() for event in events],
            }
        )
    else:
        print_story(record, calls, events, steps=steps)
        if steps:
            print_steps(calls)
    return 0


def _task_facts(task: TaskRecord) -> dict[str, object]:
    from agentkit.budgets.money import plain_usd, usd_from_nusd

    return {**task.to_dict(), "cost_usd": plain_usd(usd_from_nusd(task.cost_nusd))}


def _print_tasks(found: Sequence[TaskRecord]) -> None:
    from rich import box
    from rich.table import Table

    from agentkit.budgets.money import format_usd
    from agentkit.cli.screen import cell, console, one_line
    from agentkit.cli.summary import format_count

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("task", "when", "outcome"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cost", "calls", "up", "in", "out"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("scope", overflow="fold")
    for task in found:
        row = (
            task.task_id,
            time.strftime("%d %b %H:%M", time.localtime(task.started_at)),
            task.outcome or "running",
            format_usd(task.cost_nusd),
            str(task.calls),
            str(task.escalations),
            format_count(task.usage.input_tokens),
            format_count(task.usage.output_tokens),
            one_line(task.scope, most_chars=60),
        )
        table.add_row(*map(cell, row))
    console().print(table)
