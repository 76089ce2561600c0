"""The line that moves while a task runs."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentkit.budgets.money import format_usd
from agentkit.cli.screen import cell, error_console, one_line
from agentkit.cli.summary import format_count

if TYPE_CHECKING:
    from agentkit.run import OnProgress, Progress


@contextmanager
def live_line(*, wanted: bool) -> Generator[OnProgress | None]:
    """What to pass as `on_progress`; None where stderr is no terminal, or not wanted."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return

    with error_console().status(cell("starting")) as status:
        yield lambda progress: status.update(cell(_told(progress)))


def _told(progress: Progress) -> str:
    what = one_line(progress.tier, most_chars=60)
    doing = f"runs {what}" if progress.phase == "acting" else what
    tokens = (
        f"{format_count(progress.input_tokens)} in / {format_count(progress.output_tokens)} out"
    )
    spent = format_usd(progress.cost_nusd)
    if progress.limit_nusd is not None:
        spent += f" of {format_usd(progress.limit_nusd)}"
    elif progress.limit_tokens is not None:
        used = progress.input_tokens + progress.output_tokens
        spent += f" · {used:,} of {progress.limit_tokens:,} tokens"
    return f"step {progress.step} · {doing} · {tokens} · {spent}"
