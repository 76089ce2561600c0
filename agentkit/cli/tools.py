"""`agentkit tools`: what there is, what a request is offered, and what tool servers changed."""

from __future__ import annotations

import typer

from agentkit.cli import offers, pins

app = typer.Typer(
    help="Tools: which there are, which a request is offered, what changed since it was pinned.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.command("list")(offers.list_tools)
app.command()(offers.search)
app.command()(offers.explain)
app.command()(pins.pins)
app.command()(pins.accept)
