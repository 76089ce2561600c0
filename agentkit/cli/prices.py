"""`agentkit prices`."""

from __future__ import annotations

import typer

app = typer.Typer(help="prices", rich_markup_mode=None)


@app.command()
def x() -> int:
    """To come."""
    return 0
