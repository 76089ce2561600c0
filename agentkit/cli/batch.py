"""`agentkit batch`: what waits, what is under way at the providers, and changing its course."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.leases import refuse_memory, trusted
from agentkit.cli.screen import cell, console, emit, note, printable, say

if TYPE_CHECKING:
    from agentkit.batch import Batch, BatchLane, Progress, Seeded

_MOST_ROWS = 50

app = typer.Typer(help="Work that can wait.", rich_markup_mode=None, no_args_is_help=True)

BatchId = Annotated[str, typer.Argument(metavar="ID", help="From `agentkit batch list`.")]


@app.callback()
def _group() -> None:
    """Requests that wait, the batches that they are in, and changing their course."""


@app.command("list")
def list_batches(
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    limit: Annotated[int, typer.Option(min=1, help="Batches at the most.")] = _MOST_ROWS,
    json: options.Json = False,
) -> int:
    """List what waits by queue, and the batches, the latest first."""
    with _lane(ledger, config, trust_config, ask=not json) as lane:
        queues = lane.store.queues()
        batches = lane.store.batches(limit=limit)
        progress = lane.progress()
        seeded = lane.seeded(since=time.time() - lane.policy.keep_seconds)
    if json:
        emit(
            {
                "queues": [queue._asdict() for queue in queues],
                "batches": [_facts(batch) for batch in batches],
                "requests": asdict(progress),
                "seeded": asdict(seeded),
            }
        )
        return 0
    for queue in queues:
        age = time.time() - queue.oldest_at
        say(f"{queue.requests} requests wait for {printable(queue.queue)}, since {age:.0f} s")
    if batches:
        _print(batches)
    say(_line(progress))
    if seeded.seeds:
        say(_balance(seeded))
    return 0


@app.command()
def show(
    batch: BatchId,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    limit: Annotated[int, typer.Option(min=1, help="Requests at the most.")] = _MOST_ROWS,
    json: options.Json = False,
) -> int:
    """Show one batch and what became of its requests, without their contents."""
    with _lane(ledger, config, trust_config, ask=not json) as lane:
        found = _found(lane, batch)
        items = lane.store.items(batch_id=found.batch_id, limit=limit)
    rows = [
        {
            "id": item.item_id, "key": item.key, "task_id": item.task_id, "state": item.state,
            "attempts": item.attempts, "deadline": item.deadline, "error": item.error,
        }
        for item in items
    ]  # fmt: skip
    if json:
        emit({**_facts(found), "items": rows})
        return 0
    _print([found])
    for row in rows:
        error = f", {row['error']}" if row["error"] else ""
        say(printable(f"{row['key'] or row['id']}: {row['state']}{error}"))
    return 0


@app.command()
def cancel(
    batch: BatchId,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """End a batch; what is done by then is billed and kept."""
    with _lane(ledger, config, trust_config, ask=not json, connect=True) as lane:
        _found(lane, batch)
        ended = lane.cancel(batch)
    if json:
        emit({"batch_id": batch, "state": None if ended is None else ended.state})
    else:
        say("it has ended already" if ended is None else f"{batch} is {ended.state}")
    return 0


@app.command()
def retry(
    batch: BatchId,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Queue again what a job's batch did not answer; its money is held anew."""
    with _lane(ledger, config, trust_config, ask=not json) as lane:
        _found(lane, batch)
        queued = lane.retry(batch)
    if json:
        emit({"batch_id": batch, "queued": queued})
    else:
        say(f"{queued} requests queued again; `agentkit batch flush` sends them")
    return 0


@app.command()
def flush(
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Go on until something has become of every request.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Send what waits now, and go on with what is under way: results are stored and settled."""
    with _lane(ledger, config, trust_config, ask=not json, connect=True) as lane:
        pause = lane.tick(flush=True)
        while wait and not lane.progress().is_done:
            if not json:
                note(_line(lane.progress()))
            time.sleep(max(pause, 0.05))
            pause = lane.tick(flush=True)
        progress, batches = lane.progress(), lane.store.batches(limit=_MOST_ROWS)
    if json:
        emit({"requests": asdict(progress), "batches": [_facts(batch) for batch in batches]})
    else:
        say(_line(progress))
    return 0


@contextmanager
def _lane(
    ledger: str | None,
    config: Path | None,
    trust_config: bool,
    *,
    ask: bool,
    connect: bool = False,
) -> Generator[BatchLane]:
    from agentkit.batch import BatchLane
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger

    settings = trusted(ledger, config, trust_config, ask=ask)
    refuse_memory(settings)
    require_ledger(settings)
    with open_ledger(settings) as book:
        lane = BatchLane(book)
        if connect:
            from agentkit.batch.accounts import connect as connected

            connected(lane)
        yield lane


def _found(lane: BatchLane, batch_id: str) -> Batch:
    from agentkit.errors import NotResumable

    batch = lane.store.batch(batch_id)
    if batch is None:
        raise NotResumable(
            f"no batch is called {printable(batch_id)!r}; `agentkit batch list` lists them"
        )
    return batch


def _facts(batch: Batch) -> dict[str, object]:
    kept = batch.to_dict()
    return {name: value for name, value in kept.items() if name not in ("others", "due_at")}


def _line(progress: Progress) -> str:
    return ", ".join(f"{count} {name}" for name, count in asdict(progress).items())


def _balance(seeded: Seeded) -> str:
    from agentkit.cli.journal import money

    what = "1 prefix" if seeded.seeds == 1 else f"{seeded.seeds} prefixes"
    asked = seeded.reads + seeded.misses
    return (
        f"{what} seeded for {money(seeded.spent_nusd)}; of {asked} requests {seeded.reads} read "
        f"what was, which saved {money(seeded.saved_nusd)}"
    )


def _print(batches: list[Batch]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("batch", "state", "done", "requests", "at the provider", "error"):
        table.add_column(name, justify="right" if name in ("done", "requests") else "left")
    for batch in batches:
        texts = (
            batch.batch_id,
            batch.state,
            str(batch.answered),
            str(batch.requests),
            batch.provider_id or "",
            batch.error or "",
        )
        table.add_row(*(cell(text) for text in texts))
    console().print(table)
