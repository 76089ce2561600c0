"""`agentkit view`: the page of costs, served on this machine or written as one file."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import emit, note, one_line, say
from agentkit.cli.settings import Flags, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.store import Store
    from agentkit.cli.settings import Settings
    from agentkit.view.book import CostBook
    from agentkit.view.story import TaskStories, TextsOf

_DAY_SECONDS = 86_400.0


def view(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page as one file, and end.")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, help="Only tasks of the last so many days."),
    ] = None,
    calls: Annotated[
        int,
        typer.Option(min=0, help="With --out: open tasks up to so many calls, the latest first."),
    ] = 20_000,
    contents: Annotated[
        bool, typer.Option("--contents", help="Show what was said, where checkpoints kept it.")
    ] = False,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="0 takes any free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")
    ] = True,
    ledger: options.LedgerAddress = None,
    checkpoint: options.Checkpoint = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Show what every task cost, and why, on a page that only this machine can open."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger
    from agentkit.cli.trust import require_trusted_ledger
    from agentkit.view.story import TaskStories

    flags = Flags(config=config, trust_config=trust_config, ledger=ledger, checkpoint=checkpoint)
    settings = read_settings(flags)
    require_trusted_ledger(settings, flags, ask=not json)
    require_ledger(settings)
    since = None if days is None else time.time() - days * _DAY_SECONDS
    with open_ledger(settings) as book:
        figures = _figures(book.store, settings, since)
        with _texts(settings) if contents else nullcontext() as texts:
            stories = TaskStories(book.store, texts)
            if out is not None:
                return _write(figures, stories, out, calls=calls, as_json=json)
            return _serve(figures, stories, port=port, browser=browser and not json, as_json=json)


@contextmanager
def _texts(settings: Settings) -> Generator[TextsOf]:
    """The texts in the checkpoints beside the ledger; raises ConfigError where there are none."""
    from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
    from agentkit.cli.settings import sqlite_file
    from agentkit.view.texts import CheckpointTexts

    file = None if settings.checkpoint is None else sqlite_file(settings.checkpoint)
    if settings.checkpoint is None or file is None or not file.exists():
        raise ConfigError(
            "--contents reads checkpoints, and there are none here; name them under [checkpoint] "
            "in agentkit.toml or with --checkpoint sqlite:///file.db"
        )
    saver = open_checkpointer(settings.checkpoint)
    try:
        yield CheckpointTexts(saver)
    finally:
        if isinstance(saver, ThreadedSqliteSaver):
            saver.conn.close()


def _figures(store: Store, settings: Settings, since: float | None) -> CostBook:
    from agentkit.cli.alerts import day_budget, rules_of
    from agentkit.view.alarms import alarms
    from agentkit.view.book import CostBook

    rules, day_usd = rules_of(settings), day_budget(settings)
    return CostBook(
        store,
        name=_shown(settings.ledger),
        alerts=lambda: alarms(store, rules, now=time.time(), day_usd=day_usd),
        since=since,
    )


def _shown(address: str) -> str:
    """An address without what may be a password."""
    kind, mark, rest = address.partition("://")
    return one_line(f"{kind}{mark}{rest.rpartition('@')[2]}" if kind != "sqlite" else rest[1:])


def _write(figures: CostBook, stories: TaskStories, out: Path, *, calls: int, as_json: bool) -> int:
    from agentkit.view.report_file import write_report

    try:
        size = write_report(figures, stories, out, most_calls=calls)
    except OSError as error:
        raise ConfigError(
            f"{str(out)!r} cannot be written ({error.strerror or error}); name another file"
        ) from error
    if as_json:
        emit({"file": str(out), "bytes": size, "tasks": figures.size})
    else:
        say(f"{out}: {figures.size} tasks, {size / 1e6:.1f} MB; open it in a browser")
    return 0


def _serve(
    figures: CostBook, stories: TaskStories, *, port: int, browser: bool, as_json: bool
) -> int:
    import threading

    from agentkit.view.server import PageServer

    try:
        server = PageServer(figures, stories, port=port)
    except OSError as error:
        raise ConfigError(
            f"port {port} cannot be used ({error.strerror or error}); --port 0 takes a free one"
        ) from error
    threading.Thread(target=figures.packed, daemon=True).start()
    with server:
        if as_json:
            emit({"url": server.url})
        else:
            say(server.url)
            note("only this machine can open it, with that address; Ctrl-C ends it")
        if browser:
            _open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            note("")
    return 0


def _open(url: str) -> None:
    """In the person's browser, where there is one."""
    import webbrowser

    try:
        webbrowser.open(url)
    except webbrowser.Error as error:
        note(f"no browser was found ({error}); open the address yourself")
