"""`agentkit export`: the journal's calls as JSON lines or Parquet, tasks as fine-tuning files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import opened, where_of
from agentkit.cli.screen import emit, note


def export(
    kind: Annotated[
        Literal["jsonl", "parquet", "distill"],
        typer.Argument(help="jsonl or parquet: calls. distill: fine-tuning files."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Default for jsonl: stdout. For distill a folder."
        ),
    ] = None,
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    outcome: journal.OutcomeOption = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="distill: where texts are. Default: by the ledger."),
    ] = None,
    tools: options.Tools = None,
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="distill: an evaluation's cases, for their tools."),
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="distill: put before each example.")
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="distill: take this out as well. Repeatable."),
    ] = None,
    redaction: Annotated[
        bool,
        typer.Option("--redaction/--no-redaction", help="distill: mails, phones, cards, keys."),
    ] = True,
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="distill: held back for validation.")
    ] = 0.1,
    force: Annotated[
        bool, typer.Option("--force", help="distill: write over what is there.")
    ] = False,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Write every recorded call, one a line or row, with its task's outcome; or, with `distill`,
    resolved tasks as chat JSON lines to fine-tune a model on.

    No message contents are in the journal: calls have none, and `distill` reads the checkpoints.
    """
    from agentkit.reports.export import write_jsonl, write_parquet

    if kind == "distill" and outcome is None:
        outcome = "resolved"
    where = where_of(
        since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome
    )  # fmt: skip
    if kind != "jsonl" and out is None:
        wanted = "a folder: --out distilled" if kind == "distill" else "a file: --out calls.parquet"
        raise typer.BadParameter(f"{kind} needs {wanted}")
    if kind == "distill" and out is not None:
        from agentkit.cli.distill import export_distilled

        return export_distilled(
            out, where, checkpoint=checkpoint, tools=tools or (), cases=cases, system=system or "",
            redact=redact or (), redaction=redaction, validation=validation, force=force,
            ledger=ledger, config=config, trust_config=trust_config, as_json=json,
        )  # fmt: skip
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        if out is None:
            write_jsonl(book.store, sys.stdout, where)
            return 0
        if kind == "parquet":
            written = write_parquet(book.store, out, where)
        else:
            with out.open("w", encoding="utf-8") as file:
                written = write_jsonl(book.store, file, where)
    if json:
        emit({"file": str(out), "calls": written})
    else:
        note(f"{written:,} calls written to {out}")
    return 0
