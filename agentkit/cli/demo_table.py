"""The demo on the screen: a table that grows, sums, and what would have gone to a missing tier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from agentkit.budgets.money import format_usd, nusd_from_usd, plain_usd
from agentkit.cli.screen import cell, console, one_line
from agentkit.cli.summary import format_count, result_facts
from agentkit.demo.performance import MOST_USD, Shown

_COLUMNS: tuple[tuple[str, int, JustifyMethod], ...] = (
    ("request", 26, "left"),
    ("call, and what it came to", 0, "left"),
    ("outcome", 10, "left"),
    ("tokens", 6, "right"),
    ("cost", 7, "right"),
    ("ms", 5, "right"),
)
"""Name, width in characters (0: what is left), side."""
_LEFT_OUT_IF_NARROW = ("tokens", "ms")
_NARROW_WIDTH = 100
_GAP = 3
_LEAST_WIDTH = 24
_COLOURS = {"resolved": "green", "answered": "yellow", "landed": "cyan"}


class LiveTable:
    """A table that grows on the screen: each row is printed once, when it is known."""

    def __init__(self) -> None:
        self._screen = console()
        narrow = self._screen.width < _NARROW_WIDTH
        self._columns = [c for c in _COLUMNS if not (narrow and c[0] in _LEFT_OUT_IF_NARROW)]
        fixed = sum(width + _GAP for _, width, _ in self._columns if width)
        self._flexible = max(_LEAST_WIDTH, self._screen.width - fixed - _GAP)
        self._screen.print(self._table(head=True))

    def add(self, shown: Shown) -> None:
        """Print the row of a request that has ended."""
        table = self._table(head=False)
        cells = _cells(shown)
        table.add_row(*(cells[name] for name, _, _ in self._columns))
        self._screen.print(table)

    def _table(self, *, head: bool) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=head)
        for name, width, justify in self._columns:
            table.add_column(name, width=width or self._flexible, justify=justify, overflow="fold")
        return table


def print_closing(
    shown: Sequence[Shown], *, seconds: float, frontier: Sequence[str], missing: str
) -> None:
    """Print what the requests came to, what was landed, and which needed a dearer tier."""
    screen = console()

    def line(text: str = "") -> None:
        screen.print(cell(text), soft_wrap=True)

    line(_sums(shown, seconds))
    line(_judgement(shown))
    going = [row for row in shown if (row.escalated if frontier else row.doubts)]
    if going:
        head = f"went up to {', '.join(frontier)}" if frontier else "would go up a tier"
        line()
        line(f"{len(going)} {head}:")
        for row in going:
            line(f"  {row.request.text}: {one_line(row.doubts[0])}")
    if not frontier:
        line(f"No tier is above the pocket model here, so nothing went up: {missing}.")
    bounded = [row for row in shown if row.outcome in ("landed", "exhausted", "refused")]
    if bounded:
        line()
        line(f"{len(bounded)} ran into a budget that was made too small:")
        for row in bounded:
            line(f"  {row.request.text}: {row.outcome}; {one_line(_reason(row), most_chars=300)}")


def demo_facts(
    shown: Sequence[Shown], *, seconds: float, frontier: Sequence[str], missing: str
) -> dict[str, object]:
    """All of it as JSON types."""
    return {
        "requests": [_facts(row) for row in shown],
        "sums": {
            "requests": len(shown),
            "outcomes": dict(Counter(row.outcome for row in shown)),
            "right_tool": sum(row.as_intended for row in shown),
            "cost_usd": plain_usd(
                sum((row.result.cost_usd for row in shown if row.result), Decimal())
            ),
            "seconds": round(seconds, 3),
            "local_model_seconds": round(sum(row.local_seconds for row in shown), 3),
        },
        "frontier": list(frontier),
        "missing_tier": missing or None,
    }


def _cells(shown: Shown) -> dict[str, Text]:
    result = shown.result
    text = _call(shown)
    answer = result.answer if result and result.answer else _why_none(shown)
    text += f"{' → ' if text else ''}{answer}"
    usage = result.usage if result else None
    outcome = Text(shown.outcome, style=_COLOURS.get(shown.outcome, "red"))
    if shown.doubts and shown.outcome in ("resolved", "answered"):
        outcome.append(" ↑" if shown.escalated else " ?", style="yellow")
    return {
        "request": cell(shown.request.text),
        "call, and what it came to": cell(one_line(text, most_chars=300)),
        "outcome": outcome,
        "tokens": cell(format_count(usage.total_tokens) if usage else "0"),
        "cost": cell(format_usd(nusd_from_usd(result.cost_usd)) if result else "$0"),
        "ms": cell(f"{shown.seconds * 1000:.0f}"),
    }


def _call(shown: Shown) -> str:
    if shown.tool is None:
        return ""
    arguments = " ".join(f"{name}={value!r}" for name, value in shown.arguments.items())
    return f"{shown.tool} {arguments}"


def _why_none(shown: Shown) -> str:
    return shown.doubts[-1] if shown.doubts else _reason(shown).partition("; ")[0]


def _reason(shown: Shown) -> str:
    if shown.result is None:
        return shown.refusal
    return shown.result.reason or "no answer"


def _sums(shown: Sequence[Shown], seconds: float) -> str:
    results = [row.result for row in shown if row.result]
    cost = sum(nusd_from_usd(result.cost_usd) for result in results)
    calls = sum(result.calls for result in results)
    read = sum(result.usage.input_tokens for result in results)
    written = sum(result.usage.output_tokens for result in results)
    local = sum(row.local_seconds for row in shown)
    paid = f" (limit ${MOST_USD})" if cost else ""
    return (
        f"{len(shown)} requests in {seconds:.1f} s, {local:.1f} s of it in the local model · "
        f"{format_usd(cost)}{paid} · {calls} calls · {format_count(read)} in, "
        f"{format_count(written)} out"
    )


def _judgement(shown: Sequence[Shown]) -> str:
    outcomes = Counter(row.outcome for row in shown)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    right = sum(row.as_intended for row in shown)
    return (
        f"{told} · {right} of {len(shown)} with the tool that fits (none, where none does) · "
        "resolved: the answer holds what it should; ?: the model was unsure"
    )


def _facts(shown: Shown) -> dict[str, object]:
    return {
        "request": shown.request.text,
        "fitting_tool": shown.request.tool,
        "tool": shown.tool,
        "arguments": dict(shown.arguments),
        "found": shown.found,
        "right_tool": shown.as_intended,
        "doubts": list(shown.doubts),
        "seconds": round(shown.seconds, 4),
        "refusal": shown.refusal or None,
        "result": None if shown.result is None else result_facts(shown.result),
    }
