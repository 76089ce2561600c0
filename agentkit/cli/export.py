"""`agentkit export`: the journal's calls as JSON lines or Parquet, tasks as fine-tuning files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import journal, options
from agentkit.cli.distill import distill
from agentkit.cli.journal import opened, where_of
from agentkit.cli.screen import emit, note

app = typer.Typer(
    help="Recorded calls and tasks as files.", rich_markup_mode=None, no_args_is_help=True
)
app.command()(distill)


@app.command()
def jsonl(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: stdout.")
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
    """Write every recorded call as a line of JSON, with its task's outcome; no message contents."""
    from agentkit.reports.export import write_jsonl

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome)
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        if out is None:
            write_jsonl(book.store, sys.stdout, where)
            return 0
        with out.open("w", encoding="utf-8") as file:
            written = write_jsonl(book.store, file, where)
    return _tell(out, written, as_json=json)


@app.command()
def parquet(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Like calls.parquet.")],
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
    """Write every recorded call as a row, with its task's outcome; no message contents."""
    from agentkit.reports.export import write_parquet

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model, outcome=outcome)
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        written = write_parquet(book.store, out, where)
    return _tell(out, written, as_json=json)


def _tell(out: Path, written: int, *, as_json: bool) -> int:
    if as_json:
        emit({"file": str(out), "calls": written})
    else:
        note(f"{written:,} calls written to {out}")
    return 0
