"""The story of one task, printed: what was called, what it cost, and why it went as it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from agentkit.budgets.journal import CallRecord, EventRecord, TaskRecord, all_priced
from agentkit.budgets.money import format_usd
from agentkit.cli.screen import cell, console, one_line
from agentkit.cli.summary import format_cost, format_count

_ANSWERS = {
    "landing": "landing answer",
    "summary": "a summary of earlier turns",
    "hint": "the beginning of an answer",
    "sample": "a second answer",
}
_LEFT = ("step", "tier")
_RIGHT = ("in", "cached", "written", "out", "cost", "sure")


def print_story(
    record: TaskRecord,
    calls: Sequence[CallRecord],
    events: Sequence[EventRecord],
    *,
    steps: bool = False,
) -> None:
    """Print the head of the task, a row a call, its tools where `steps`, and its events."""
    out = console()
    for line in _head(record, calls):
        out.print(cell(line))
    if calls:
        out.print(_call_table(calls))
    for line in _tool_lines(calls) if steps else ():
        out.print(cell(line))
    for event in events:
        step = f"step {event.step}" if event.step else "task"
        out.print(cell(f"{step}: {one_line(event.text, most_chars=300)}"))


def print_steps(calls: Sequence[CallRecord]) -> None:
    """Print what each call's tokens are, a column a component, and why it went to a dearer tier."""
    from agentkit.budgets.journal_query import COMPONENTS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", no_wrap=True)
    for heading in (*COMPONENTS, "output", "saved"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("escalated, for", overflow="fold")
    for call in sorted(calls, key=lambda call: call.index):
        saved = sum(call.saved_nusd.values())
        sign = "-" if saved < 0 else ""
        table.add_row(
            str(call.step),
            *(_or_dash(call.components.get(name, 0)) for name in (*COMPONENTS, "output")),
            f"{sign}{format_usd(abs(saved))}" if saved else "-",
            cell(one_line(call.escalation or "")),
        )
    console().print(table)


def _head(record: TaskRecord, calls: Sequence[CallRecord]) -> list[str]:
    limits = ", ".join(f"{key} {value}" for key, value in record.budget.items())
    lines = [
        f"task {record.task_id} in {one_line(record.scope)}: {record.outcome or 'running'}",
        f"{format_cost(calls, record.cost_nusd)} · {record.calls} calls · "
        f"{record.steps} steps · {record.escalations} escalations · budget: {limits or 'none'}",
    ]
    if record.ended_at is not None:
        lines[1] += f" · {record.ended_at - record.started_at:.1f} s"
    if record.reason:
        lines.append(f"reason: {one_line(record.reason, most_chars=500)}")
    if record.unconfirmed_nusd:
        lines.append(
            f"{format_usd(record.unconfirmed_nusd)} of it is a worst case: no usage arrived"
        )
    if record.tags:
        lines.append("tags: " + ", ".join(one_line(f"{k}={v}") for k, v in record.tags.items()))
    lines.append(f"models: {', '.join(one_line(model) for model in record.models)}")
    if record.trace_id:
        lines.append(f"trace {record.trace_id}")
    return lines


def _call_table(calls: Sequence[CallRecord]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in _LEFT:
        table.add_column(heading, no_wrap=True)
    for heading in _RIGHT:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("came to", overflow="fold")
    for call in sorted(calls, key=lambda call: call.index):
        table.add_row(*map(cell, _cells(call)))
    return table


def _cells(call: CallRecord) -> tuple[str, ...]:
    usage = call.usage
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return (
        str(call.step),
        one_line(f"{call.provider}:{call.model}", most_chars=40),
        format_count(usage.input_tokens),
        _or_dash(usage.cache_read_tokens),
        _or_dash(written),
        format_count(usage.output_tokens),
        _cost(call),
        "-" if call.confidence is None else f"{call.confidence:.2f}",
        one_line(_outcome(call)),
    )


def _tool_lines(calls: Sequence[CallRecord]) -> Iterator[str]:
    """For each call which tools it was offered, as far as that is new, and which it used."""
    before: tuple[str, ...] | None = None
    for call in sorted(calls, key=lambda call: call.index):
        offered = tuple(map(one_line, call.tools_offered))
        if not offered:
            told = "offered no tools"
        elif offered == before:
            told = f"offered the same {len(offered)} tools"
        else:
            told = f"offered {len(offered)} tools: {', '.join(offered)}"
        used = ", ".join(map(one_line, call.tools_called)) or "none"
        yield f"step {call.step}: {told}; used {used}"
        before = offered


def _cost(call: CallRecord) -> str:
    is_known = call.cost_source != "unknown" or all_priced([call])
    cost = format_usd(call.cost_nusd) if is_known else "$?"
    return cost if call.confirmed else f"≤ {cost}"


def _outcome(call: CallRecord) -> str:
    """In words: what was called, or that it was an answer, and what went wrong."""
    told = _ANSWERS.get(call.purpose, "answer")
    if call.tools_called:
        told = f"calls {', '.join(call.tools_called)}"
    if call.accepted is False:
        told = f"not accepted: {call.reason}"
    elif call.reason:
        told = f"{told}; {call.reason}"
    if call.status != "ok":
        told = f"{call.status}: {call.error}"
    return told if call.attempt == 1 else f"{told} (try {call.attempt})"


def _or_dash(tokens: Any) -> str:
    return format_count(tokens) if tokens else "-"
