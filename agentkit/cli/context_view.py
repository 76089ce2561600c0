"""`agentkit show TASK --context STEP`: what a step sent, by part, and what it left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentkit.errors import NotResumable

if TYPE_CHECKING:
    from agentkit.budgets.journal import CallRecord, Component, EventRecord
    from agentkit.budgets.price import PriceBook

_PARTS: tuple[Component, ...] = ("system", "tools", "summary", "history", "observations", "user")
_ALIKE = 0.25
"""Counts that differ by less, as a share of what was reported, need no word."""
_TOLD = ("context_rewritten", "summary_failed", "cache_missed")


def context_facts(
    step: int, calls: Sequence[CallRecord], events: Sequence[EventRecord], prices: PriceBook
) -> dict[str, Any]:
    """The calls of a step by part, what they left out, and what was decided about its context.

    Raises NotResumable where the task has no such step.
    """
    found = [call for call in sorted(calls, key=lambda call: call.index) if call.step == step]
    if not found:
        steps = sorted({call.step for call in calls})
        there = f"it has steps {steps[0]} to {steps[-1]}" if steps else "it made no call"
        raise NotResumable(f"the task has no call at step {step}; {there}")
    left_out: Any = []
    for event in events:
        if event.kind == "context" and event.step <= step:
            left_out = event.data.get("left_out", [])
    return {
        "step": step,
        "calls": [_call_facts(call, prices) for call in found],
        "left_out": left_out,
        "events": [e.to_dict() for e in events if e.kind in _TOLD and e.step == step],
    }


def print_context(facts: dict[str, Any]) -> None:
    """Print what `context_facts` found."""
    from agentkit.cli.screen import cell, console, one_line

    out = console()
    for call in facts["calls"]:
        out.print(cell(one_line(_heading(call), most_chars=200)))
        if call["parts"]:
            out.print(_table(call["parts"]))
            if (note := _count_note(call)) is not None:
                out.print(cell(note))
    for part in facts["left_out"]:
        out.print(
            cell(
                one_line(
                    f"left out: {part.get('messages')} messages ({part.get('tokens')} tokens) of "
                    f"{part.get('what')}: {part.get('why')}",
                    most_chars=200,
                )
            )
        )
    if not facts["left_out"]:
        out.print(cell("nothing was left out"))
    for event in facts["events"]:
        out.print(cell(one_line(str(event["text"]), most_chars=300)))


def _call_facts(call: CallRecord, prices: PriceBook) -> dict[str, Any]:
    """Parts in tokens by our count; their money is the input's cost in proportion."""
    parts = {name: call.components.get(name, 0) for name in _PARTS}
    counted = sum(parts.values())
    cost = _input_nusd(call, prices)
    return {
        "call_id": call.call_id,
        "purpose": call.purpose,
        "model": f"{call.provider}:{call.model}",
        "input_tokens": call.usage.input_tokens,
        "cache_read_tokens": call.usage.cache_read_tokens,
        "input_nusd": cost,
        "parts": {
            name: {
                "tokens": tokens,
                "share": round(tokens / counted, 4),
                "nusd": None if cost is None else round(cost * tokens / counted),
            }
            for name, tokens in parts.items()
            if tokens
        },
    }


def _input_nusd(call: CallRecord, prices: PriceBook) -> int | None:
    """What the input side cost: the call without what its output costs today."""
    price = prices.price(call.model, call.provider)
    if call.cost_source == "unknown" or price.state == "unknown":
        return None
    silent = replace(call.usage, output_tokens=0, reasoning_tokens=0)
    output = price.cost_nusd(call.usage) - price.cost_nusd(silent)
    return max(0, call.cost_nusd - output)


def _heading(call: dict[str, Any]) -> str:
    from agentkit.budgets.money import format_usd

    cost = "$?" if call["input_nusd"] is None else format_usd(call["input_nusd"])
    return (
        f"{call['purpose']} to {call['model']}: {call['input_tokens']:,} tokens in, "
        f"{call['cache_read_tokens']:,} of them from the cache, {cost}"
    )


def _count_note(call: dict[str, Any]) -> str | None:
    """Why the parts add up to something else than the model reported, where it is much."""
    counted = sum(part["tokens"] for part in call["parts"].values())
    reported = call["input_tokens"]
    if not reported or abs(counted - reported) <= _ALIKE * reported:
        return None
    return (
        f"the parts are counted before they are sent, {counted:,} in all; "
        f"{call['model']} has its own form for them, of {reported:,}"
    )


def _table(parts: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    from agentkit.budgets.money import format_usd

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part", no_wrap=True)
    for heading in ("tokens", "share", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, part in parts.items():
        cost = "$?" if part["nusd"] is None else format_usd(part["nusd"])
        table.add_row(name, f"{part['tokens']:,}", f"{part['share']:.0%}", cost)
    return table
