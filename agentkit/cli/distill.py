"""`agentkit export distill`: recorded tasks as fine-tuning files."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import opened, where_of
from agentkit.cli.screen import emit, note, say
from agentkit.cli.settings import Settings, anchored, sqlite_file
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.journal import TaskRecord
    from agentkit.checkpoint import Checkpointer
    from agentkit.evals.distill import Distilled, ToolsOf


def distill(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="For the two files.")],
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    outcome: Annotated[
        str, typer.Option(metavar="OUTCOME", help="Only tasks that ended so.")
    ] = "resolved",
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where texts are. Default: beside the ledger."),
    ] = None,
    tools: options.Tools = None,
    cases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An evaluation's cases, for their tools.")
    ] = None,
    system: Annotated[str, typer.Option(metavar="TEXT", help="Put before each example.")] = "",
    redact: Annotated[
        list[str] | None, typer.Option(metavar="REGEX", help="Take this out as well. Repeatable.")
    ] = None,
    redaction: Annotated[
        bool, typer.Option("--redaction/--no-redaction", help="Mails, phones, cards, keys.")
    ] = True,
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="Held back for validation.")
    ] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Write resolved tasks as chat JSON lines with tools, to fine-tune a model on.

    What was said is read from the checkpoints, for the ledger holds no contents.
    """
    from agentkit.evals.distill import Distillation
    from agentkit.evals.distill import distill as write
    from agentkit.evals.redaction import Redactor

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome)
    redactor = Redactor(redact or (), builtin=redaction)
    with opened(ledger, config, trust_config, ask=not json) as (settings, book):
        plan = Distillation(
            where=where,
            tools_of=_tools_of(tools or (), cases),
            system=system,
            validation=validation,
            redactor=redactor,
        )
        with _saver(settings, checkpoint) as saver:
            found = write(plan, store=book.store, saver=saver, folder=out, force=force)
    if json:
        emit(_facts(found))
    else:
        _show(found)
    return 0


def _tools_of(references: Sequence[str], cases: Path | None) -> ToolsOf:
    """The tools that flags name, or those of the case that a task was."""
    from agentkit.cli.tool_reference import load_tools
    from agentkit.evals.case import read_cases

    flagged: Sequence[Mapping[str, Any]] = (
        load_tools(references, Path.cwd()).openai_schemas() if references else ()
    )
    by_case = {case.id: case.tools for case in read_cases(cases)} if cases is not None else {}

    def tools_of(task: TaskRecord) -> Sequence[Mapping[str, Any]]:
        own = by_case.get(task.tags.get("case", ""))
        return own or flagged

    return tools_of


@contextmanager
def _saver(settings: Settings, address: str | None) -> Generator[Checkpointer]:
    """The checkpoints that are there; looking must not make any. Raises ConfigError."""
    from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer

    named = anchored(address, Path.cwd()) if address else settings.checkpoint
    file = None if named is None else sqlite_file(named)
    if named is None or file is None or not file.is_file():
        raise ConfigError(
            f"there are no checkpoints{f' at {named}' if named else ''}, and only they hold what "
            "was said: run agents with checkpoint='sqlite:///...', and name that with --checkpoint "
            "(for an evaluation sqlite:///.agentkit/evals/NAME.checkpoints.db)"
        )
    saver = open_checkpointer(named)
    try:
        yield saver
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"checkpoints at {named} cannot be read: {error}") from error
    finally:
        if isinstance(saver, ThreadedSqliteSaver):
            saver.conn.close()


def _facts(found: Distilled) -> dict[str, object]:
    return {
        "tasks": found.tasks,
        "examples": dict(found.examples),
        "left_out": dict(found.left_out),
        "redacted": dict(found.redacted),
        "files": dict(found.files),
    }


def _show(found: Distilled) -> None:
    for part, count in found.examples.items():
        say(f"{found.files[part]}: {count:,} examples")
    for reason, count in found.left_out.items():
        hint = "; name them with --tools or --cases" if reason == "unknown tools" else ""
        note(f"{count:,} tasks left out: {reason}{hint}")
    marks = ", ".join(f"{count:,} {kind}" for kind, count in found.redacted.items())
    note(f"redacted: {marks or 'nothing was found'}; look at the files before they leave you")
