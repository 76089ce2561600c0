"""Options and output that the commands over the journal share."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from agentkit.cli.screen import cell, console, emit, note, say
from agentkit.cli.settings import Flags, Settings, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.journal_query import JournalFilter
    from agentkit.budgets.ledger import Ledger

Shape = Literal["table", "json", "csv"]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Like 7d, 24h, 30m, or 2026-11-01."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="As --since; excluded.")]
ScopeOption = Annotated[
    str | None, typer.Option("--scope", metavar="PATH", help="At or below this scope.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="Only with this tag. Repeatable."),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Only calls of this model.")
]
OutcomeOption = Annotated[
    str | None, typer.Option("--outcome", metavar="OUTCOME", help="Only tasks that ended so.")
]

_SPAN = re.compile(r"(\d{1,6})([mhdw])\Z")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def where_of(
    *,
    since: str | None = None,
    until: str | None = None,
    scope: str | None = None,
    tags: Sequence[str] | None = None,
    model: str | None = None,
    outcome: str | None = None,
) -> JournalFilter:
    """The filter that the options ask for; raises ConfigError."""
    from agentkit.budgets.journal import Outcome
    from agentkit.budgets.journal_query import JournalFilter

    if outcome is not None and outcome not in get_args(Outcome):
        raise ConfigError(
            f"--outcome {outcome[:40]!r}: use {', '.join(get_args(Outcome))}"
        )  # fmt: skip
    return JournalFilter(
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        scope=scope.rstrip("/") if scope else None,
        model=model,
        outcome=cast("Outcome | None", outcome),
        tags=tags_of(tags),
    )


def tags_of(tags: Sequence[str] | None) -> dict[str, str]:
    """The tags in `--tag` options; raises ConfigError."""
    found: dict[str, str] = {}
    for tag in tags or ():
        name, mark, value = tag.partition("=")
        if not mark or not name:
            raise ConfigError(f"--tag {tag[:60]!r} has no '='; write it like --tag feature=refunds")
        found[name] = value
    return found


def moment(text: str | None, option: str) -> float | None:
    """Unix time of `7d` ago, or of a date or time; without an offset it is UTC."""
    if text is None:
        return None
    span = _SPAN.match(text)
    if span is not None:
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} {text[:40]!r} is no time; write it like 7d, 24h, 30m or 2026-11-01"
        ) from error
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


@contextmanager
def opened(
    ledger: str | None, config: Path | None, trust_config: bool, *, ask: bool
) -> Generator[tuple[Settings, Ledger]]:
    """The settings and the ledger that they name, which must exist; raises ConfigError."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger
    from agentkit.cli.trust import require_trusted_ledger

    flags = Flags(config=config, trust_config=trust_config, ledger=ledger)
    settings = read_settings(flags)
    require_trusted_ledger(settings, flags, ask=ask)
    require_ledger(settings)
    with open_ledger(settings) as book:
        yield settings, book


def usd(nusd: float) -> str:
    """An amount for JSON: exact for whole nano-USD."""
    from agentkit.budgets.money import plain_usd, usd_from_nusd

    return plain_usd(usd_from_nusd(round(nusd)))


def money(nusd: float | None) -> str:
    """An amount for people."""
    from agentkit.budgets.money import format_usd

    if nusd is None:
        return "-"
    if nusd < 0:
        return f"-{money(-nusd)}"
    return format_usd(round(nusd))


def show_rows(
    rows: Sequence[Mapping[str, object]],
    headings: Mapping[str, str],
    shape: Shape,
    *,
    texts: int = 1,
    empty: str = "nothing was recorded that fits",
    shown: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Rows as a table, JSON or CSV. `shown` are the same rows for people; the first `texts` columns
    are words, the rest numbers."""
    if shape == "json":
        emit(list(rows))
    elif shape == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(headings)
        writer.writerows([guarded(row[name]) for name in headings] for row in rows)
        say(out.getvalue().rstrip("\n"))
    elif not rows:
        note(empty)
    else:
        _print_table(
            shown or [{k: str(v) for k, v in row.items()} for row in rows], headings, texts
        )


def guarded(value: object) -> object:
    """A value for CSV that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _print_table(
    rows: Sequence[Mapping[str, str]], headings: Mapping[str, str], texts: int
) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings.values()):
        if place < texts:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(cell(row[name]) for name in headings))
    console().print(table)
