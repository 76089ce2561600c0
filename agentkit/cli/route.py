"""`agentkit route`: which tier a request would begin with, and what was learned about tiers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.journal import money, opened, show_rows, usd
from agentkit.cli.screen import emit, one_line, say

if TYPE_CHECKING:
    from agentkit.cli.settings import Settings
    from agentkit.routing.history import RouteHistory
    from agentkit.routing.learned import LearnedRoute, TierView
    from agentkit.routing.outcome import Outcome
    from agentkit.routing.request import Route, RouteAnswer, Routed, RouteRequest

app = typer.Typer(help="Where tasks begin.", rich_markup_mode=None, no_args_is_help=True)

Tenant = Annotated[
    str | None, typer.Option(metavar="NAME", help="The first part of a scope, like acme.")
]


@app.callback()
def _group() -> None:
    """Which tier a request begins with, and what was learned about tiers."""


@app.command()
def explain(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="What would be asked.")],
    model: options.Models = None,
    scope: Annotated[str | None, typer.Option(metavar="PATH", help="For whom.")] = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Which tier a request would begin with, and why. Nothing is sent, and nothing is kept."""
    with _looked_up(model, ledger, config, trust_config, ask=not json) as (settings, history):
        asked = _request(settings, request, scope or settings.scope, history)
        route, learned = _route(settings, history)
        found = _answer(route(asked), asked)
        views = learned.views(asked)
        difficulty, told = history.difficulty(request), history.difficulty.told(request)
    if json:
        emit(
            {
                "begins_with": asked.tiers[found.order[0]],
                "order": [asked.tiers[place] for place in found.order],
                "reason": found.reason,
                "is_exploration": found.is_exploration,
                "difficulty": round(difficulty, 3),
                "stands_out": told,
                "tiers": [_view(view) for view in views],
                "similar": len(asked.past),
            }
        )
        return 0
    say(f"begins with {one_line(asked.tiers[found.order[0]])}: {found.reason}")
    say(f"difficulty {difficulty:+.2f} (0 is the middle); {'; '.join(told)}")
    rows = [_view(view) for view in views]
    shown = [
        {
            "tier": one_line(view.label), "chance": f"{view.chance:.0%}",
            "outcomes": f"{view.evidence:g}", "cost": money(view.cost_nusd),
        }
        for view in views
    ]  # fmt: skip
    headings = {"tier": "tier", "chance": "would do", "outcomes": "outcomes", "cost": "a task"}
    show_rows(rows, headings, "table", shown=shown)
    return 0


@app.command()
def show(
    tenant: Tenant = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """How each tier did so far, by tenant."""
    from agentkit.routing.history import open_outcomes

    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        store = open_outcomes(book)
        try:
            tenants = store.tenants() if tenant is None else [tenant]
            rows = [row for each in tenants for row in _summary(each, store.latest(each))]
        finally:
            store.close()
    if json:
        emit(rows)
        return 0
    headings = {
        "tenant": "tenant", "tier": "tier", "outcomes": "outcomes", "did": "did", "first": "first",
        "cost_usd": "cost", "explored_usd": "tried out",
    }  # fmt: skip
    show_rows(rows, headings, "table", texts=2, empty="nothing has been learned yet")
    return 0


@app.command()
def forget(
    tenant: Tenant = None,
    everything: Annotated[bool, typer.Option("--all", help="Of every tenant.")] = False,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Forget what was learned about tiers, of one tenant or of all."""
    from agentkit.routing.history import open_outcomes

    if (tenant is None) == (not everything):
        raise typer.BadParameter("name --tenant NAME, or --all")
    with opened(ledger, config, trust_config, ask=not json) as (_, book):
        store = open_outcomes(book)
        try:
            gone = store.forget(tenant)
        finally:
            store.close()
    if json:
        emit({"forgotten": gone})
    else:
        say(f"{gone} outcomes forgotten")
    return 0


@contextmanager
def _looked_up(
    models: Sequence[str] | None,
    ledger: str | None,
    config: Path | None,
    trust_config: bool,
    *,
    ask: bool,
) -> Generator[tuple[Settings, RouteHistory]]:
    """The settings and what was learned; nothing at all before there is a ledger."""
    from agentkit.cli.assembly import is_absent, open_ledger
    from agentkit.cli.settings import Flags, read_settings
    from agentkit.cli.trust import require_trusted_ledger
    from agentkit.errors import ConfigError
    from agentkit.routing.history import RouteHistory
    from agentkit.routing.outcome import MemoryOutcomeStore

    flags = Flags(
        config=config, trust_config=trust_config, ledger=ledger, models=tuple(models or ())
    )
    settings = read_settings(flags)
    if not settings.models:
        raise ConfigError(
            "no model is named; add --model local:pocket --model openai:gpt-5-mini, or "
            "models = [...] under [agent] in agentkit.toml"
        )
    require_trusted_ledger(settings, flags, ask=ask)
    if is_absent(settings):
        yield settings, RouteHistory(MemoryOutcomeStore())
        return
    with open_ledger(settings) as book:
        history = RouteHistory.of(book)
        try:
            yield settings, history
        finally:
            history.store.close()


def _request(settings: Settings, text: str, scope: str, history: RouteHistory) -> RouteRequest:
    from functools import partial

    from agentkit.budgets.tokens import count_text
    from agentkit.budgets.usage import Usage
    from agentkit.cli.assembly import price_book
    from agentkit.nodes.route import EXPECTED_OUTPUT_TOKENS
    from agentkit.routing.request import RouteRequest

    prices, tokens = price_book(settings), count_text(text)
    usage = Usage(input_tokens=tokens, output_tokens=EXPECTED_OUTPUT_TOKENS)
    found: list[int | None] = []
    for model in settings.models:
        provider, _, name = model.partition(":")
        price = prices.price(name, provider)
        found.append(None if price.state == "unknown" else price.cost_nusd(usage))
    return RouteRequest(
        text=text,
        tokens=tokens,
        scope=scope,
        tags=settings.tags,
        task_id="",
        tiers=settings.models,
        prices_nusd=tuple(found),
        recall=partial(history.nearest, scope, text),
    )


def _route(settings: Settings, history: RouteHistory) -> tuple[Route, LearnedRoute]:
    """The route of the project file, else the learned one; the latter in any case."""
    from agentkit.routing.learned import LearnedRoute
    from agentkit.routing.rules import RuleRoute

    learned = LearnedRoute(history)
    if not settings.rules:
        return learned, learned
    route = RuleRoute(settings.rules, otherwise=learned if settings.learns else None)
    route.check(settings.models)
    return route, learned


def _answer(answer: RouteAnswer, asked: RouteRequest) -> Routed:
    from agentkit.routing.request import routed

    return routed(answer, asked, reason="no rule holds")


def _view(view: TierView) -> dict[str, object]:
    return {
        "tier": view.label,
        "chance": round(view.chance, 4),
        "outcomes": view.evidence,
        "cost_usd": None if view.cost_nusd is None else usd(view.cost_nusd),
        "worse_than": view.dropped_for,
    }


def _summary(tenant: str, outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for tier in sorted({outcome.tier for outcome in outcomes}):
        own = [outcome for outcome in outcomes if outcome.tier == tier]
        rows.append(
            {
                "tenant": tenant,
                "tier": tier,
                "outcomes": len(own),
                "did": sum(outcome.is_ok for outcome in own),
                "first": sum(outcome.was_first for outcome in own),
                "cost_usd": usd(sum(outcome.cost_nusd for outcome in own)),
                "explored_usd": usd(sum(outcome.exploration_nusd for outcome in own)),
            }
        )
    return rows
