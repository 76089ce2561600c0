"""`agentkit run` and `agentkit resume`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agentkit.cli import options
from agentkit.cli.session import Session
from agentkit.cli.settings import Flags, read_settings


def run(
    request: Annotated[str, typer.Argument(help="What is to be done; - reads it from stdin.")],
    model: options.Models = None,
    tools: options.Tools = None,
    budget_usd: options.Usd = None,
    budget_tokens: options.Tokens = None,
    budget_calls: options.Calls = None,
    budget_seconds: options.Seconds = None,
    system: options.System = None,
    scope: Annotated[
        str | None, typer.Option(metavar="PATH", help="Like acme/support/u42.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For reports. Repeatable.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(metavar="ID", help="Conversation to add to. Default: a new one.")
    ] = None,
    ledger: options.LedgerAddress = None,
    checkpoint: options.Checkpoint = None,
    prices: options.Prices = None,
    trace: options.Trace = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Carry out a request under a budget.

    The answer goes to stdout, everything else to stderr. Exit status: 0 answered, 1 failed, 2 wrong
    use, 3 the budget was used up, 130 interrupted.
    """
    flags = Flags(
        config=config,
        trust_config=trust_config,
        models=model or (),
        tools=tools or (),
        system=system,
        scope=scope,
        tags=tag or (),
        usd=budget_usd,
        tokens=budget_tokens,
        calls=budget_calls,
        seconds=budget_seconds,
        ledger=ledger,
        checkpoint=checkpoint,
        prices=prices,
        trace=trace,
    )
    settings = read_settings(flags)
    text = sys.stdin.read() if request == "-" else request
    return Session(settings, flags, as_json=json, quiet=quiet).run(text, thread_id=thread)


def resume(
    task: Annotated[str, typer.Argument(metavar="THREAD_OR_TASK", help="An id, or its beginning.")],
    model: options.Models = None,
    tools: options.Tools = None,
    budget_usd: options.Usd = None,
    budget_tokens: options.Tokens = None,
    budget_calls: options.Calls = None,
    budget_seconds: options.Seconds = None,
    system: options.System = None,
    ledger: options.LedgerAddress = None,
    checkpoint: options.Checkpoint = None,
    prices: options.Prices = None,
    trace: options.Trace = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Go on with a task that was interrupted: same models and budget, unless you say otherwise.

    What it has spent still counts against its limits.
    """
    flags = Flags(
        config=config,
        trust_config=trust_config,
        models=model or (),
        tools=tools or (),
        system=system,
        usd=budget_usd,
        tokens=budget_tokens,
        calls=budget_calls,
        seconds=budget_seconds,
        ledger=ledger,
        checkpoint=checkpoint,
        prices=prices,
        trace=trace,
    )
    settings = read_settings(flags)
    return Session(settings, flags, as_json=json, quiet=quiet).resume(task)
