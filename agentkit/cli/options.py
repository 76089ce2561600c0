"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Project file instead of the nearest agentkit.toml."
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust-config", help="Let the project file import tools and name addresses."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the answer and errors.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Repeat from cheap to dear: local:pocket, openai:gpt-5-mini …",
    ),
]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        "-t",
        metavar="MODULE:NAME",
        help="A function, tool, list or catalogue. Repeatable.",
    ),
]
Grant = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        metavar="TOOL",
        help="Let a tool write or spend: a name, a pattern or side_effect:write. Repeatable.",
    ),
]
Ask = Annotated[
    list[str] | None,
    typer.Option("--ask", metavar="TOOL", help="Wait for your consent before it. Repeatable."),
]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="System text.")]
Usd = Annotated[
    str | None,
    typer.Option(
        "--budget-usd",
        metavar="USD",
        help="Like 0.05. Default: 1, unless another limit is given or all models are local.",
    ),
]
Tokens = Annotated[
    int | None, typer.Option("--budget-tokens", metavar="N", help="Input and output together.")
]
Calls = Annotated[int | None, typer.Option("--budget-calls", metavar="N", help="Model calls.")]
Seconds = Annotated[
    float | None, typer.Option("--budget-seconds", metavar="S", help="Wall-clock seconds.")
]
LedgerAddress = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="ADDRESS",
        help="sqlite:///file.db, redis://… or memory://. Default: .agentkit/ledger.db.",
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="sqlite:///file.db, or none. Default: beside the ledger."),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Keep answers and serve them again: sqlite:///file.db, redis://… or none.",
    ),
]
Prices = Annotated[Path | None, typer.Option(metavar="FILE", help="Your own prices (TOML).")]
Trace = Annotated[
    str | None,
    typer.Option(metavar="FILE|otlp", help="Spans as JSON lines, or to an OTLP endpoint."),
]
