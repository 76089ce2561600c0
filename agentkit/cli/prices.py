"""`agentkit prices`: what models cost here, where that is from, and what newer prices change."""

from __future__ import annotations

import json as json_text
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import journal, options
from agentkit.cli.screen import cell, console, emit, note, say
from agentkit.cli.settings import Flags, read_settings

if TYPE_CHECKING:
    from agentkit.budgets.price import Price, PriceBook, Rates
    from agentkit.reports.price_change import PriceChange

_NAMED_PROVIDERS = ("openai", "anthropic", "local")
_CLASSES = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")

app = typer.Typer(help="What models cost.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What models cost."""


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Like openai:gpt-5-mini, or gpt-5-mini.")],
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where a model's name is not enough.")
    ] = None,
    prices: options.Prices = None,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Show a model's price: per class of tokens, per price band, its source and its date.

    Of an unknown model it writes the lines to add to a prices file, and exits with 1.
    """
    from agentkit.cli.assembly import price_book
    from agentkit.models.provider import pricing_name

    settings = read_settings(Flags(config=config, prices=prices))
    head, _, rest = model.partition(":")
    if rest and head in _NAMED_PROVIDERS:
        model, provider = rest, provider or head
    price = price_book(settings).price(model, pricing_name(provider or ""))
    if json:
        emit(_facts(price))
    elif price.state == "unknown":
        note(_advice(price))
        say(_entry(price))
    else:
        _print(price)
    return 1 if price.state == "unknown" else 0


def _print(price: Price) -> None:
    from rich import box
    from rich.table import Table

    out = console()
    where = f" of {price.provider}" if price.provider else ""
    dated = f", in force on {price.priced_on}" if price.priced_on else ""
    out.print(cell(f"{price.model}{where}: {price.state} ({_source(price)}{dated})"))
    if price.state == "free":
        return
    if price.context_window:
        out.print(cell(f"context window: {price.context_window:,} tokens"))
    if price.per_request_nusd:
        out.print(cell(f"each request: ${_usd(price.per_request_nusd)}"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("USD per million tokens")
    for name in _CLASSES:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for start, rates in price.bands:
        band = f"input above {start:,}" if start else "input from 0"
        table.add_row(*map(cell, (band, *_row(rates).values())))
    out.print(table)


def _facts(price: Price) -> dict[str, object]:
    facts: dict[str, object] = {
        "model": price.model,
        "provider": price.provider,
        "state": price.state,
        "source": _source(price),
        "priced_on": None if price.priced_on is None else price.priced_on.isoformat(),
        "context_window": price.context_window,
        "per_request_usd": _usd(price.per_request_nusd),
        "usd_per_mtok": [{"above_tokens": start, **_row(rates)} for start, rates in price.bands],
    }
    if price.state == "unknown":
        facts["prices_file_entry"] = _entry(price)
    return facts


def _row(rates: Rates) -> dict[str, str]:
    return {name: _usd(getattr(rates, name)) for name in _CLASSES}


def _usd(nusd: int) -> str:
    """USD, without trailing zeros; rates are nano-USD per million tokens."""
    usd = Decimal(nusd).scaleb(-9).normalize()
    return f"{usd:f}"


def _source(price: Price) -> str:
    match price.source:
        case "table":
            from importlib.metadata import version

            return f"table of genai-prices {version('genai-prices')}"
        case "override":
            return "your prices file"
        case "free":
            return "it runs on this machine"
        case _:
            return "no source"


def _advice(price: Price) -> str:
    return (
        f"nobody here knows what {price.model!r} costs, and unknown is never 0: a USD budget "
        "refuses it.\nPut this into prices.toml with the true figures, and name the file with "
        '--prices or under [prices] file = "prices.toml":'
    )


def _entry(price: Price) -> str:
    lines = ["[[price]]", f"model = {json_text.dumps(price.model, ensure_ascii=False)}"]
    if price.provider:
        lines.append(f"provider = {json_text.dumps(price.provider, ensure_ascii=False)}")
    lines += [
        "input = <USD per million tokens>",
        "output = <USD per million tokens>",
        "# also cache_read, cache_write_5m, cache_write_1h; or instead of all: free = true",
    ]
    return "\n".join(lines)


From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="URL", help="A table in genai-prices' format. Default: the newest."
    ),
]


@app.command("list")
def list_prices(
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this provider's models.")
    ] = None,
    prices: options.Prices = None,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """List every model whose price is known: your prices file first, then the built-in table."""
    from agentkit.budgets.price_file import read_price_file
    from agentkit.cli.assembly import price_book

    settings = read_settings(Flags(config=config, prices=prices))
    book = price_book(settings)
    own = read_price_file(settings.prices) if settings.prices else ()
    names = {(each.provider or "", each.model): None for each in own}
    names |= dict.fromkeys(_table_models(provider))
    rows = [
        _list_facts(book.price(model, where)) for where, model in names if provider in (None, where)
    ]
    rows = [row for row in rows if row["state"] != "unknown"]
    headings = {"provider": "provider", "model": "model", **{n: n for n in _CLASSES}}
    shown = [{name: str(row[name]) for name in headings} for row in rows]
    journal.show_rows(rows, headings, "json" if json else "table", texts=2, shown=shown)
    return 0


@app.command()
def diff(
    source: From = None,
    ledger: options.LedgerAddress = None,
    prices: options.Prices = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Compare the prices in force with a newer table: what recorded calls would cost at each."""
    changes = _changes(source, ledger, prices, config, trust_config, ask=not json)
    rows = [_change_facts(change) for change in changes]
    headings = {
        "model": "model", "calls": "calls", "recorded_usd": "recorded", "now_usd": "now",
        "other_usd": "by the other table", "changed": "changed",
    }  # fmt: skip
    shown = [{name: str(row[name]) for name in headings} for row in rows]
    journal.show_rows(rows, headings, "json" if json else "table", shown=shown)
    return 0


@app.command()
def update(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The prices file to write.")
    ] = Path("prices.toml"),
    source: From = None,
    ledger: options.LedgerAddress = None,
    prices: options.Prices = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Write the newer prices of the models that you call into a prices file, for you to read.

    It takes effect once it is named: --prices FILE, or [prices] file. An existing file is kept.
    """
    from agentkit.errors import ConfigError

    if out.exists():
        raise ConfigError(f"{out} exists; name another file with --out, then compare the two")
    changes = _changes(source, ledger, prices, config, trust_config, ask=not json)
    new = [change for change in changes if change.is_changed and change.other.state == "priced"]
    if new:
        out.write_text("\n".join(map(_override, new)), "utf-8")
    if json:
        emit({"file": str(out) if new else None, "models": [change.model for change in new]})
    elif new:
        note(f"{len(new)} prices written to {out}; read it, then name it with --prices {out}")
    else:
        note("no price has changed of the models that were called; nothing was written")
    return 0


def _changes(
    source: str | None,
    ledger: str | None,
    prices: Path | None,
    config: Path | None,
    trust_config: bool,
    *,
    ask: bool,
) -> list[PriceChange]:
    from agentkit.cli.assembly import price_book
    from agentkit.reports.price_change import price_changes

    own = read_settings(Flags(config=config, ledger=ledger, prices=prices))
    with journal.opened(ledger, config, trust_config, ask=ask) as (_, book):
        return price_changes(book.store, price_book(own), _newer_book(source))


def _newer_book(source: str | None) -> PriceBook:
    """A book over the table at an address, by default the newest that genai-prices offers."""
    from genai_prices import UpdatePrices
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    from agentkit.budgets.price import PriceBook
    from agentkit.errors import ConfigError

    where = source or DEFAULT_UPDATE_URL
    try:
        snapshot = UpdatePrices(url=where).fetch()
    except Exception as error:  # a network, another's format
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(f"no prices from {where}: {first}; name another with --from") from error
    if snapshot is None:
        raise ConfigError(f"no prices from {where}; name another with --from")
    return PriceBook(snapshot=snapshot)


def _table_models(provider: str | None) -> list[tuple[str, str]]:
    from genai_prices.data_snapshot import get_snapshot

    return [
        (each.id, model.id)
        for each in get_snapshot().providers
        if provider in (None, each.id)
        for model in each.models
    ]


def _list_facts(price: Price) -> dict[str, object]:
    none: dict[str, str] = dict.fromkeys(_CLASSES, "0")
    rates = _row(price.bands[0][1]) if price.bands else none
    return {
        "provider": price.provider, "model": price.model, "state": price.state,
        "source": price.source, **rates,
    }  # fmt: skip


def _change_facts(change: PriceChange) -> dict[str, object]:
    return {
        "model": f"{change.provider}:{change.model}",
        "calls": change.calls,
        "recorded_usd": journal.usd(change.recorded_nusd),
        "now_usd": _or_unknown(change.now, change.now_nusd),
        "other_usd": _or_unknown(change.other, change.other_nusd),
        "changed": "yes" if change.is_changed else "no",
    }


def _or_unknown(price: Price, nusd: int) -> str:
    return "$?" if price.state == "unknown" else journal.usd(nusd)


def _override(change: PriceChange) -> str:
    rates = _row(change.other.bands[0][1])
    lines = ["[[price]]", f"model = {json_text.dumps(change.model, ensure_ascii=False)}"]
    if change.provider:
        lines.append(f"provider = {json_text.dumps(change.provider, ensure_ascii=False)}")
    lines += [f'{name} = "{usd}"' for name, usd in rates.items()]
    if change.other.priced_on:
        lines.append(f"priced_on = {change.other.priced_on.isoformat()}")
    if len(change.other.bands) > 1:
        lines.append("# long requests are dearer: a prices file has one band")
    return "\n".join(lines) + "\n"
