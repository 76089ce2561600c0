"""`agentkit models`: what can be a tier here; `models pull` and `models quantize`."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.quantize import quantize
from agentkit.cli.screen import cell, console, emit, error_console, note, one_line, say

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS_VARIABLE = "AGENTKIT_MODELS"
HUB_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  the name of a variable, not a secret

app = typer.Typer(
    help="What can be a tier here.", rich_markup_mode=None, invoke_without_command=True
)


@app.callback()
def models(context: typer.Context, json: options.Json = False) -> int:
    """List the models that are here: shipped, pulled, and providers whose package and key are."""
    if context.invoked_subcommand is not None:
        return 0
    found = list(_found())
    if json:
        emit(found)
        return 0
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("model", "ready", "what"):
        table.add_column(heading, overflow="fold")
    for entry in found:
        ready = "yes" if entry["ready"] else "no"
        cells = (str(entry["model"]), ready, str(entry["detail"]))
        table.add_row(*(cell(one_line(text)) for text in cells))
    console().print(table)
    return 0


@app.command()
def pull(
    address: Annotated[str, typer.Argument(metavar="hf:OWNER/REPO/FILE.gguf")],
    json: options.Json = False,
) -> int:
    """Fetch a GGUF file from the Hugging Face hub; a second run goes on where the first was cut.

    It is kept in AGENTKIT_MODELS, or in the user's cache folder, with its sha256 beside it.
    """
    from agentkit.models.pull import HUB
    from agentkit.models.pull import pull as fetch

    with _bar(wanted=not json) as progress:
        path = fetch(
            address,
            folder=models_folder(),
            token=os.environ.get(TOKEN_VARIABLE),
            progress=progress,
            endpoint=os.environ.get(HUB_VARIABLE) or HUB,
        )
    if json:
        emit({"path": str(path), "model": f"local:{path}", "bytes": path.stat().st_size})
    else:
        say(f"local:{path}")
    return 0


app.command()(quantize)


def models_folder() -> Path | None:
    """The folder that the user names for models; None for the default."""
    named = os.environ.get(MODELS_VARIABLE)
    return Path(named).expanduser() if named else None


def _found() -> Iterator[dict[str, object]]:
    from agentkit.cli.checks import extra_version, key_is_set

    local = extra_version("llama-cpp-python") is not None
    needs = "" if local else '; needs pip install "agentkit[local]"'
    yield {"model": "local:pocket", "ready": local, "detail": f"shipped with agentkit{needs}"}
    for path in _pulled():
        size = f"{path.stat().st_size / 1e6:,.0f} MB"
        yield {"model": f"local:{path}", "ready": local, "detail": f"pulled, {size}{needs}"}
    for provider, variable in (("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")):
        installed = extra_version(f"langchain-{provider}") is not None
        missing = [] if installed else [f'pip install "agentkit[{provider}]"']
        if not key_is_set(provider):
            missing.append(f"set {variable}")
        detail = "package and key are here" if not missing else f"needs: {', '.join(missing)}"
        yield {"model": f"{provider}:MODEL", "ready": not missing, "detail": detail}


def _pulled() -> list[Path]:
    from agentkit.models.pull import default_folder

    folder = models_folder() or default_folder()
    return sorted(folder.rglob("*.gguf")) if folder.is_dir() else []


@contextmanager
def _bar(*, wanted: bool) -> Generator[Callable[[int, int | None], None] | None]:
    """A progress callback of (bytes so far, bytes in all)."""
    if not wanted or not sys.stderr.isatty():
        if wanted:
            note("downloading; this may take a while")
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    with Progress(
        BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=error_console()
    ) as bar:
        task = bar.add_task("download", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
