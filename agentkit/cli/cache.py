"""`agentkit cache`: what is kept, what it saved, and what should be forgotten."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, one_line, say

if TYPE_CHECKING:
    from agentkit.memory.cache import CacheEntry, CachePolicy, ResponseCache

_MOST_ROWS = 50
_SQLITE = "sqlite:///"

app = typer.Typer(help="Kept answers.", rich_markup_mode=None, no_args_is_help=True)

Address = Annotated[
    str, typer.Option("--at", metavar="ADDRESS", help="sqlite:///cache.db or redis://….")
]
Tenant = Annotated[
    str | None, typer.Option(metavar="NAME", help="The first part of a scope, like acme.")
]
Tag = Annotated[str | None, typer.Option(metavar="KEY:VALUE", help="Like feature:faq.")]


@app.callback()
def _group() -> None:
    """Answers that are kept, what they saved, and what should be forgotten."""


@app.command("list")
def list_entries(
    at: Address,
    tenant: Tenant = None,
    tag: Tag = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at the most.")] = _MOST_ROWS,
    contents: Annotated[bool, typer.Option(help="Show the questions, too.")] = False,
    json: options.Json = False,
) -> int:
    """List kept answers, the latest first, with their hits and what they saved."""
    with _open(at) as cache:
        totals = cache.store.totals()
        entries = cache.store.find(tenant=tenant, tag=tag, limit=limit)
    rows = [_row(entry, contents) for entry in entries]
    if json:
        emit({"totals": totals._asdict(), "entries": rows})
        return 0
    if rows:
        _table(rows, contents)
    say(
        f"{totals.entries} kept, {totals.size_bytes / 1024:.0f} KiB, {totals.hits} hits, "
        f"saved ${totals.saved_nusd / 1e9:.6f}"
    )
    return 0


@app.command()
def wrong(
    hit: Annotated[str, typer.Argument(metavar="ID", help="The hit's id, from `agentkit show`.")],
    at: Address,
    max_wrong: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="The share that was promised.")
    ] = 0.01,
    json: options.Json = False,
) -> int:
    """Report a hit by meaning as wrong: its tenant's threshold rises over it where it must."""
    from agentkit.memory.cache import CachePolicy

    with _open(at, CachePolicy(max_wrong=max_wrong, threshold=0.0)) as cache:
        threshold = cache.wrong(hit)
    if json:
        emit({"hit_id": hit, "threshold_at_least": threshold})
    else:
        say(f"noted; this tenant's questions must now be alike by at least {threshold:.4f}")
    return 0


@app.command()
def forget(
    at: Address,
    tenant: Tenant = None,
    tag: Tag = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="A document that answers were made from.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Forget the answers that fit all that is named."""
    if tenant is None and tag is None and source is None:
        raise typer.BadParameter("name --tenant, --tag or --source")
    with _open(at) as cache:
        removed = cache.forget(tag=tag, source=source, tenant=tenant)
    if json:
        emit({"forgotten": removed})
    else:
        say(f"{removed} forgotten")
    return 0


@contextmanager
def _open(address: str, policy: CachePolicy | None = None) -> Generator[ResponseCache]:
    from agentkit.memory.cache import CacheError, CachePolicy, ResponseCache

    file = Path(address.removeprefix(_SQLITE))
    if address.startswith(_SQLITE) and not file.exists():
        raise CacheError(f"there is no cache at {address}; an agent with cache=… makes it")
    cache = ResponseCache(address, policy=policy or CachePolicy())
    try:
        yield cache
    finally:
        cache.close()


def _row(entry: CacheEntry, contents: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "id": entry.entry_id,
        "tenant": entry.tenant,
        "tags": ", ".join(entry.tags),
        "hits": entry.hits,
        "saved_usd": f"{entry.saved_nusd / 1e9:.9f}",
        "kept_at": entry.kept_at,
        "expires_at": entry.expires_at,
        "bytes": entry.size_bytes,
    }
    return row | ({"question": entry.question} if contents else {})


def _table(rows: list[dict[str, object]], contents: bool) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    names = ["id", "tenant", "hits", "saved_usd", "tags", *(["question"] if contents else [])]
    for name in names:
        table.add_column(name, justify="right" if name in ("hits", "saved_usd") else "left")
    for row in rows:
        table.add_row(*(cell(one_line(str(row[name]), most_chars=60)) for name in names))
    console().print(table)
