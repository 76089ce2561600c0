"""`agentkit advise`: what each lever would save, in money a month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import journal, options
from agentkit.cli.journal import money, opened, usd, where_of
from agentkit.cli.screen import cell, console, emit, note, printable
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.reports.advice import AdviceReport
    from agentkit.reports.lever import Advice


def advise(
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    model: journal.Model = None,
    can_wait: Annotated[
        str, typer.Option(metavar="NAME=VALUE", help="The tag of calls that may take a day.")
    ] = "wait=yes",
    host_usd_an_hour: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="What a machine of yours costs.")
    ] = None,
    host_tokens_a_second: Annotated[
        float | None, typer.Option(min=1, metavar="N", help="Output tokens that it makes.")
    ] = None,
    tuning_usd: Annotated[
        float, typer.Option(min=0, metavar="USD", help="What tuning a small model costs once.")
    ] = 2_000.0,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """What each lever would save a month on the recorded traffic, on which assumption.

    With what speaks against it; levers without data say so.
    """
    from agentkit.reports.advice import advise as found
    from agentkit.reports.lever import Question

    where = where_of(since=since, until=until, scope=scope, tags=tag, model=model)
    name, mark, value = can_wait.partition("=")
    if not mark or not name:
        raise ConfigError(f"--can-wait {can_wait[:60]!r} has no '='; write it like wait=yes")
    question = Question(
        can_wait=(name, value),
        host_usd_an_hour=host_usd_an_hour,
        host_tokens_a_second=host_tokens_a_second,
        tuning_usd=tuning_usd,
    )
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        report = found(book.store, book.prices, where=where, question=question)
    if json:
        emit(_facts(report))
    elif not report.cost_nusd:
        note("nothing that costs money was recorded")
    else:
        _print(report)
    return 0


def _print(report: AdviceReport) -> None:
    out = console()
    out.print(cell(f"{money(report.cost_nusd)} in {report.days:.1f} days; figures are for 30 days "
                   "like them, each lever alone: they do not add up"))  # fmt: skip
    for each in report.advice:
        sure = "" if each.basis == "replayed" else " (assumed)"
        feature = printable(each.feature)
        out.print(cell(f"\n{money(each.month_nusd)} a month{sure}: {each.lever} for {feature}"))
        out.print(cell(f"  found: {each.found}"))
        out.print(cell(f"  if: {each.assumption}"))
        out.print(cell(f"  against: {each.against}"))
    for silent in report.silent:
        out.print(cell(f"\n{silent.lever}: no figure; {silent.reason}"))


def _facts(report: AdviceReport) -> dict[str, object]:
    return {
        "days": report.days,
        "cost_usd": usd(report.cost_nusd),
        "advice": [_advice_facts(each) for each in report.advice],
        "without_data": [
            {"lever": silent.lever, "reason": silent.reason} for silent in report.silent
        ],
    }


def _advice_facts(each: Advice) -> dict[str, object]:
    return {
        "lever": each.lever, "feature": each.feature, "month_usd": usd(each.month_nusd),
        "saves_usd": usd(each.saves_nusd), "basis": each.basis, "found": each.found,
        "assumption": each.assumption, "setting": each.setting, "against": each.against,
    }  # fmt: skip
