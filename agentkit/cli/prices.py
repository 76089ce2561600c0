"""`agentkit prices show`: what a model costs here, and where that is from."""

from __future__ import annotations

import json as json_text
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, note, say
from agentkit.cli.settings import Flags, read_settings

if TYPE_CHECKING:
    from agentkit.budgets.price import Price, Rates

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
