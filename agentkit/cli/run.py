"""`agentkit run` and `agentkit resume`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.session import Session
from agentkit.cli.settings import Flags, read_settings

if TYPE_CHECKING:
    from agentkit.budgets.event import Decision
    from agentkit.consent import Approve, Refuse


def run(
    request: Annotated[str, typer.Argument(help="What is to be done; - reads it from stdin.")],
    model: options.Models = None,
    tools: options.Tools = None,
    grant: options.Grant = None,
    ask: options.Ask = None,
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
    cache: options.Cache = None,
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
        grant=grant or (),
        ask=ask or (),
        system=system,
        scope=scope,
        tags=tag or (),
        usd=budget_usd,
        tokens=budget_tokens,
        calls=budget_calls,
        seconds=budget_seconds,
        ledger=ledger,
        checkpoint=checkpoint,
        cache=cache,
        prices=prices,
        trace=trace,
    )
    settings = read_settings(flags)
    text = sys.stdin.read() if request == "-" else request
    return Session(settings, flags, as_json=json, quiet=quiet).run(text, thread_id=thread)


def resume(
    task: Annotated[str, typer.Argument(metavar="THREAD_OR_TASK", help="An id, or its beginning.")],
    extend_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Give the task more money, like 0.05.")
    ] = None,
    extend_tokens: Annotated[int, typer.Option(metavar="N", help="More tokens.")] = 0,
    extend_calls: Annotated[int, typer.Option(metavar="N", help="More calls.")] = 0,
    extend_seconds: Annotated[float, typer.Option(metavar="S", help="More seconds.")] = 0.0,
    land: Annotated[bool, typer.Option("--land", help="Give the last answer now.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it now, without an answer.")] = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="The tools that it asks about may run.")
    ] = False,
    refuse: Annotated[
        str | None, typer.Option(metavar="REASON", help="They may not; the model is told why.")
    ] = None,
    model: options.Models = None,
    tools: options.Tools = None,
    grant: options.Grant = None,
    ask: options.Ask = None,
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

    What it has spent still counts against its limits, which `--extend-usd` and its like raise for
    good. A task that asks about its budget is answered by one of them, by `--land` or by `--stop`;
    one that asks about its tools by `--approve` or `--refuse`.
    """
    decision = _consent(approve, refuse)
    told = _decision(extend_usd, extend_tokens, extend_calls, extend_seconds, land, stop)
    if decision and told:
        raise typer.BadParameter("give one answer: about the tools, or about the budget")
    flags = Flags(
        config=config,
        trust_config=trust_config,
        models=model or (),
        tools=tools or (),
        grant=grant or (),
        ask=ask or (),
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
    return Session(settings, flags, as_json=json, quiet=quiet).resume(task, decision or told)


def _consent(approve: bool, refuse: str | None) -> Approve | Refuse | None:
    if approve and refuse is not None:
        raise typer.BadParameter("give one answer: --approve or --refuse")
    from agentkit.consent import Approve, Refuse

    return Approve() if approve else None if refuse is None else Refuse(reason=refuse)


def _decision(
    usd: str | None, tokens: int, calls: int, seconds: float, land: bool, stop: bool
) -> Decision | None:
    """What the flags say about the budget; raises InvalidLimit for nonsense."""
    from agentkit.budgets.event import Extend, Land, Stop

    extends = any((usd, tokens, calls, seconds))
    if extends + land + stop > 1:
        raise typer.BadParameter("give one answer: --extend-..., --land or --stop")
    if extends:
        extension = Extend(usd=usd or 0, tokens=tokens, calls=calls, seconds=seconds)
        extension.amount()
        return extension
    return Land() if land else Stop() if stop else None
