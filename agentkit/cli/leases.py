"""`agentkit budget leases`: open reservations, and ending one by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, note, one_line, printable, say
from agentkit.cli.settings import Flags, Settings, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.amount import Amount
    from agentkit.budgets.journal import CallRecord
    from agentkit.budgets.ledger import Ledger
    from agentkit.budgets.store import Settlement

_LOOKED_THROUGH = 100_000

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


def trusted(ledger: str | None, config: Path | None, trust_config: bool, *, ask: bool) -> Settings:
    """The settings in force, once their ledger may be opened; raises ConfigError."""
    from agentkit.cli.trust import require_trusted_ledger

    flags = Flags(config=config, trust_config=trust_config, ledger=ledger)
    settings = read_settings(flags)
    require_trusted_ledger(settings, flags, ask=ask)
    return settings


def refuse_memory(settings: Settings) -> None:
    """Raises ConfigError for a ledger that would forget what is set at once."""
    if settings.ledger.startswith("memory://"):
        raise ConfigError(
            "a memory:// ledger ends with its process; use --ledger sqlite:///file.db"
        )


@app.callback()
def leases(
    context: typer.Context,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """List open reservations: what each may cost at worst, and the seconds left of its lease."""
    from agentkit.cli.assembly import is_absent, open_ledger

    if context.invoked_subcommand is not None:
        if ledger or config or trust_config:
            raise typer.BadParameter("write options after `resolve`, so that they count for it")
        return 0
    settings = trusted(ledger, config, trust_config, ask=not json)
    found: list[tuple[str, Amount, float]] = []
    if not is_absent(settings):
        with open_ledger(settings) as book:
            found = book.store.held(_LOOKED_THROUGH)
    if json:
        emit([_facts(*lease) for lease in found])
    elif found:
        _print(found)
    else:
        note("no open reservations")
    return 0


@app.command()
def resolve(
    lease: Annotated[str, typer.Argument(metavar="ID", help="The whole id of the reservation.")],
    settle_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Charge what the provider billed.")
    ] = None,
    forfeit: Annotated[bool, typer.Option("--forfeit", help="Charge the worst case.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Charge nothing: the request never left.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, the request never left.")] = False,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """End an open reservation by hand, in one of three ways."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger

    if (settle_usd is not None) + forfeit + release != 1:
        raise typer.BadParameter("name one of --settle-usd USD, --forfeit, --release")
    if release and not yes:
        raise typer.BadParameter(
            "--release gives the money back, right only where the request provably never left; "
            "add --yes if so, else use --forfeit"
        )
    settings = trusted(ledger, config, trust_config, ask=not json)
    require_ledger(settings)
    with open_ledger(settings) as book:
        worst = _worst(book, lease)
        ended = _end(book, lease, worst, settle_usd, release=release)
    facts = _outcome(ended)
    if json:
        emit(facts)
    else:
        say(f"{lease}: {facts['state']}, charged ${facts['charged_usd']}")
    return 0


def _worst(book: Ledger, wanted: str) -> Amount:
    for reservation_id, worst, _ in book.store.held(_LOOKED_THROUGH):
        if reservation_id == wanted:
            return worst
    raise ConfigError(
        f"no open reservation has the id {printable(wanted)[:160]!r}; "
        "`agentkit budget leases` lists them"
    )


def _end(
    book: Ledger, lease: str, worst: Amount, settle_usd: str | None, *, release: bool
) -> Settlement:
    """Tokens are charged at their worst case: a bill in USD does not tell them."""
    from agentkit.budgets.money import nusd_from_usd

    if release:
        return book.release(lease)
    if settle_usd is None:
        return book.forfeit(lease, worst, call=_record(book, lease, worst, confirmed=False))
    actual = worst._replace(nusd=nusd_from_usd(settle_usd))
    return book.settle(lease, actual, call=_record(book, lease, actual, confirmed=True))


def _record(book: Ledger, lease: str, charged: Amount, *, confirmed: bool) -> CallRecord | None:
    """The journal's line for a call that nobody else will write; None for what is no call."""
    from agentkit.budgets.journal import CallRecord
    from agentkit.budgets.purse import is_purse
    from agentkit.budgets.usage import Usage

    task_id, _, rest = lease.partition(".")
    task = book.store.task(task_id)
    if task is None or is_purse(lease):
        return None
    index = rest.partition(".")[0]
    return CallRecord(
        call_id=lease, task_id=task_id, scope=task.scope, step=0,
        index=int(index) if index.isascii() and index.isdigit() else 0,
        status="cut", error="its reservation was ended by hand", started_at=time.time(),
        usage=Usage(input_tokens=charged.tokens), cost_nusd=charged.nusd, confirmed=confirmed,
        tags=task.tags,
    )  # fmt: skip


def _outcome(ended: Settlement) -> dict[str, object]:
    from agentkit.budgets.money import plain_usd, usd_from_nusd

    return {
        "id": ended.reservation_id,
        "state": ended.after,
        "charged_usd": plain_usd(usd_from_nusd(ended.charged.nusd)),
    }


def _facts(reservation_id: str, worst: Amount, seconds_left: float) -> dict[str, object]:
    from agentkit.budgets.money import plain_usd, usd_from_nusd

    return {
        "id": reservation_id,
        "task": reservation_id.partition(".")[0],
        "worst": worst._asdict(),
        "worst_usd": plain_usd(usd_from_nusd(worst.nusd)),
        "seconds_left": round(seconds_left, 1),
        "expired": seconds_left <= 0,
    }


def _print(found: list[tuple[str, Amount, float]]) -> None:
    from rich import box
    from rich.table import Table

    from agentkit.budgets.money import format_usd

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "task"):
        table.add_column(heading, overflow="fold")
    for heading in ("at worst", "tokens", "lease"):
        table.add_column(heading, justify="right", no_wrap=True)
    for reservation_id, worst, left in found:
        lease = f"{left:.0f} s left" if left > 0 else f"expired {-left:.0f} s ago"
        task = one_line(reservation_id.partition(".")[0])
        row = (one_line(reservation_id), task, format_usd(worst.nusd), f"{worst.tokens:,}", lease)
        table.add_row(*map(cell, row))
    console().print(table)
