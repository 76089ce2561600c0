"""`agentkit tools`: what tool servers changed, and taking it."""

from __future__ import annotations

import typer

from agentkit.cli import pins

app = typer.Typer(help="Tools of servers: what changed since it was pinned.", no_args_is_help=True)
app.command()(pins.pins)
app.command()(pins.accept)
