"""How far an evaluation is, while it runs."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentkit.cli.screen import error_console, note

if TYPE_CHECKING:
    from agentkit.evals.case_result import CaseResult
    from agentkit.evals.evaluation import OnBegin
    from agentkit.evals.results import RunRecord
    from agentkit.evals.runner import OnResult


@contextmanager
def progress(*, wanted: bool) -> Generator[tuple[OnBegin | None, OnResult | None]]:
    """A bar on a terminal, a line elsewhere, nothing where it is not wanted."""
    if not wanted:
        yield None, None
        return
    if not sys.stderr.isatty():
        yield _told_begin, None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from agentkit.budgets.money import format_usd

    shown = TextColumn("{task.fields[passed]} passed · {task.fields[spent]}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), shown, TimeRemainingColumn())
    sums = {"passed": 0, "spent": 0}
    with Progress(*columns, console=error_console()) as bar:
        task = bar.add_task("cases", total=None, passed=0, spent="$0")

        def begin(_run: RunRecord, whole: int, stored: int) -> None:
            bar.update(task, total=whole, completed=stored)

        def result(each: CaseResult) -> None:
            sums["passed"] += each.passed
            sums["spent"] += each.cost_nusd + each.judge_nusd
            spent = format_usd(sums["spent"])
            bar.update(task, advance=not each.stopped, passed=sums["passed"], spent=spent)

        yield begin, result


def _told_begin(run: RunRecord, whole: int, stored: int) -> None:
    went_on = f", {stored} of them stored before" if stored else ""
    note(f"run {run.number}: {whole} trials{went_on}")
