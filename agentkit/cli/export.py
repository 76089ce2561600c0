"""`agentkit export`: the journal's calls as JSON lines or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import opened, where_of
from agentkit.cli.screen import emit, note


def export(
    kind: Annotated[Literal["jsonl", "parquet"], typer.Argument(help="jsonl or parquet.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default for jsonl: stdout.")
    ] = None,
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
    """Write every recorded call, one a line or row, with its task's outcome.

    No message contents are in the journal, so none are exported.
    """
    from agentkit.reports.export import write_jsonl, write_parquet

    where = where_of(
        since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome
    )  # fmt: skip
    if kind == "parquet" and out is None:
        raise typer.BadParameter("parquet needs a file: --out calls.parquet")
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
