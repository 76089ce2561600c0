"""`agentkit models`."""

from __future__ import annotations

import typer

app = typer.Typer(help="models", rich_markup_mode=None)


@app.command()
def x() -> int:
    """To come."""
    return 0
