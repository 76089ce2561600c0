"""`agentkit demo`: real requests through the pocket model, and what each cost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import emit
from agentkit.cli.settings import anchored

if TYPE_CHECKING:
    from agentkit.demo.performance import Shown

_FRONTIER = (
    ("OPENAI_API_KEY", "openai:gpt-5-mini", "openai"),
    ("ANTHROPIC_API_KEY", "anthropic:claude-haiku-4-5", "anthropic"),
)


def demo(
    ledger: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where its tasks are kept.")
    ] = "memory://",
    local_only: Annotated[
        bool, typer.Option("--local-only", help="Escalate to nobody, even with a key.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Run about twenty everyday requests through the shipped pocket model and working tools.

    Nothing leaves this machine, unless OPENAI_API_KEY or ANTHROPIC_API_KEY is set: then what the
    pocket model cannot do goes to a frontier model, for 0.25 USD at most in all.
    """
    from pathlib import Path

    from agentkit.budgets.ledger import Ledger
    from agentkit.cli.demo_table import LiveTable, demo_facts, print_closing
    from agentkit.demo.performance import perform

    frontier, missing = frontier_here(wanted=not local_only)
    book = Ledger(anchored(ledger, Path.cwd()))
    started = time.perf_counter()
    shown: list[Shown] = []
    try:
        if json:
            shown.extend(perform(book, frontier))
        else:
            table = LiveTable()
            for row in perform(book, frontier):
                shown.append(row)
                table.add(row)
    finally:
        book.close()
    seconds = time.perf_counter() - started
    if json:
        emit(demo_facts(shown, seconds=seconds, frontier=frontier, missing=missing))
    else:
        print_closing(shown, seconds=seconds, frontier=frontier, missing=missing)
    return 0


def frontier_here(*, wanted: bool) -> tuple[Sequence[str], str]:
    """The frontier tier that can be used here, and if there is none what to do to get one."""
    from agentkit.cli.checks import extra_version

    for variable, model, extra in _FRONTIER:
        if wanted and os.environ.get(variable):
            if extra_version(f"langchain-{extra}") is not None:
                return [model], ""
            return [], f'{variable} is set; pip install "agentkit[{extra}]" to use {model}'
    return [], _add_key()


def _add_key() -> str:
    choices = " or ".join(f"{variable} ({model})" for variable, model, _ in _FRONTIER)
    return f"set {choices} and run it again"
