"""`agentkit budget`: limits of scopes, what is left of them, and open reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentkit.cli import leases, options
from agentkit.cli.screen import cell, console, emit, note, say

if TYPE_CHECKING:
    from agentkit.budgets.amount import Limits
    from agentkit.budgets.ledger import Ledger
    from agentkit.budgets.scope import Scope
    from agentkit.budgets.store import Account

_BAR_CHARS = 20
_MOST_ROWS = 100
_NONE = "none"

app = typer.Typer(help="Limits of scopes.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(leases.app, name="leases")

ScopePath = Annotated[str, typer.Argument(metavar="SCOPE", help="Like acme or acme/support.")]
Usd = Annotated[str | None, typer.Option(metavar="USD", help="Like 100, or none.")]
Count = Annotated[str | None, typer.Option(metavar="N", help="A number, or none.")]


@app.callback()
def _group() -> None:
    """Limits of scopes, what is left of them, and open reservations."""


@app.command("set")
def set_limits(
    scope: ScopePath,
    usd: Usd = None,
    tokens: Count = None,
    calls: Count = None,
    per: Annotated[
        Literal["total", "day", "month"] | None, typer.Option(help="How often it starts anew.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where a day begins: Europe/Berlin.")
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(metavar="SHARE", help="Share of a limit that is told, like 0.8. Repeatable."),
    ] = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Limit a scope and all below it. What is not named stays; `none` takes a limit away."""
    from agentkit.budgets.amount import Limits
    from agentkit.budgets.money import nusd_from_usd
    from agentkit.budgets.scope import Scope
    from agentkit.cli.assembly import open_ledger

    if all(given is None for given in (usd, tokens, calls, per, timezone, threshold)):
        raise typer.BadParameter("nothing to set; name --usd, --tokens, --calls or --per")
    settings = leases.trusted(ledger, config, trust_config, ask=not json)
    leases.refuse_memory(settings)
    with open_ledger(settings) as book:
        old = next((s for s in book.store.scopes(scope) if s.path == scope), Scope(path=scope))
        money = old.limits.nusd
        if usd is not None:
            money = None if usd == _NONE else nusd_from_usd(usd)
        limits = Limits(
            money, _count(tokens, old.limits.tokens), old.limits.fresh_tokens,
            _count(calls, old.limits.calls),
        )  # fmt: skip
        book.set_limits(
            scope,
            limits,
            window=per or old.window,
            timezone=timezone or old.timezone,
            thresholds=threshold or old.thresholds,
        )
        _tell(book, scope, json=json, below=False)
    return 0


@app.command()
def show(
    scope: ScopePath,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Show a scope's limits, what is settled, held, unconfirmed and left, and scopes below it."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger

    settings = leases.trusted(ledger, config, trust_config, ask=not json)
    require_ledger(settings)
    with open_ledger(settings) as book:
        book.account(scope)
        _tell(book, scope, json=json, below=True)
    return 0


@app.command("list")
def list_scopes(
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """List the scopes, without those of single tasks."""
    from agentkit.cli.assembly import is_absent, open_ledger

    settings = leases.trusted(ledger, config, trust_config, ask=not json)
    found: list[tuple[Scope, Account]] = []
    if not is_absent(settings):
        with open_ledger(settings) as book:
            found = [row for row in _rows(book, "") if "/~" not in row[0].path]
    if json:
        emit([_facts(*row) for row in found])
    elif found:
        _print(found)
    else:
        note(f"no scopes yet in {settings.ledger}")
    return 0


@app.command()
def reopen(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The first part of its scopes.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Yes, give up what nobody has brought back.")
    ] = False,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Open an org that its Redis has lost in part, without waiting for more to be brought back."""
    from agentkit.budgets.money import plain_usd, usd_from_nusd
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.stored import require_ledger

    if not yes:
        raise typer.BadParameter(
            "what no process has brought back by now is given up; stop what spends there, look at "
            f"`agentkit budget show {org}`, then add --yes"
        )
    settings = leases.trusted(ledger, config, trust_config, ask=not json)
    require_ledger(settings)
    with open_ledger(settings) as book:
        loss = book.reopen(org)
    charged = plain_usd(usd_from_nusd(loss.orphaned.nusd))
    if json:
        emit({"org": org, "before": loss.before, "charged_usd": charged})
    elif loss.before == "missing":
        say(f"{org}: begun without limits; set them with `agentkit budget set {org} --usd ...`")
    elif loss.before == "open":
        say(f"{org}: is open")
    else:
        say(f"{org}: open again, ${charged} charged for calls that nobody remembers")
    return 0


def _count(given: str | None, old: int | None) -> int | None:
    if given is None or given == _NONE:
        return old if given is None else None
    digits = given.replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 16:
        raise typer.BadParameter(f"{given[:40]!r} is not a number; write it like 40000, or none")
    return int(digits)


def _rows(book: Ledger, prefix: str) -> list[tuple[Scope, Account]]:
    """Scopes with their sums; a task that ends meanwhile takes its scope with it."""
    from agentkit.budgets.errors import ScopeMissing

    rows: list[tuple[Scope, Account]] = []
    for scope in book.store.scopes(prefix):
        try:
            rows.append((scope, book.account(scope.path)))
        except ScopeMissing:
            continue
    return rows


def _tell(book: Ledger, path: str, *, json: bool, below: bool) -> None:
    rows = _rows(book, path)
    own, others = rows[0], rows[1:] if below else []
    if json:
        facts = _facts(*own)
        emit({**facts, "below": [_facts(*row) for row in others]} if below else facts)
    else:
        _print([own, *others])


def _facts(scope: Scope, account: Account) -> dict[str, object]:
    from agentkit.budgets.money import plain_usd, usd_from_nusd

    return {
        "scope": scope.path,
        "per": scope.window,
        "timezone": scope.timezone,
        "window": account.window_key,
        "thresholds": list(scope.thresholds),
        "limits": _dimensions(account.limits),
        "settled": account.settled._asdict(),
        "held": account.held._asdict(),
        "left": _dimensions(account.available),
        "settled_usd": plain_usd(usd_from_nusd(account.settled.nusd)),
        "unconfirmed_usd": plain_usd(usd_from_nusd(account.unconfirmed_nusd)),
    }


def _dimensions(limits: Limits) -> dict[str, int | None]:
    return limits._asdict()


def _print(rows: list[tuple[Scope, Account]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("scope", overflow="fold")
    table.add_column("window", no_wrap=True)
    for heading in ("settled", "held", "unconfirmed", "left", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("used", no_wrap=True)
    for scope, account in rows[:_MOST_ROWS]:
        for line in _lines(scope, account):
            table.add_row(*map(cell, line))
    console().print(table)
    if len(rows) > _MOST_ROWS:
        note(f"and {len(rows) - _MOST_ROWS} more; --json lists all of them")


def _lines(scope: Scope, account: Account) -> list[tuple[str, ...]]:
    """A line for money, and one for each other limit."""
    from agentkit.budgets.amount import DIMENSIONS
    from agentkit.budgets.money import format_usd

    name, when = scope.path, f"{scope.window} {account.window_key}".strip()
    if scope.window != "total":
        when += f" {scope.timezone}"
    lines: list[tuple[str, ...]] = []
    for index, unit in enumerate(DIMENSIONS):
        limit, left = account.limits[index], account.available[index]
        if index and limit is None:
            continue
        amounts = (account.settled[index], account.held[index])
        unsure = account.unconfirmed_nusd if index == 0 else None
        shown = [
            "–" if n is None else format_usd(n) if index == 0 else f"{n:,} {unit}"
            for n in (*amounts, unsure, left, limit)
        ]
        lines.append((name, when, *shown, _bar(sum(amounts), limit)))
        name = when = ""
    return lines


def _bar(used: int, limit: int | None) -> str:
    """Settled and held as a share of the limit."""
    if not limit:
        return ""
    filled = min(_BAR_CHARS, used * _BAR_CHARS // limit)
    return f"{'█' * filled}{'░' * (_BAR_CHARS - filled)} {used * 100 // limit}%"
