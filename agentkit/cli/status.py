"""`agentkit statusline` for every ledger and every option; `agentkit.cli.statusline` is the quick
way."""

from __future__ import annotations

import time

from agentkit.cli import journal, options
from agentkit.cli.journal import opened, usd
from agentkit.cli.screen import emit, say
from agentkit.cli.statusline import line_of

_DAY = 86_400
_LATEST = 20


def statusline(
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Today's spend, its budget, the cached share and the last task, in one line for a prompt."""
    from agentkit.budgets.journal_query import JournalFilter
    from agentkit.reports.rollup import total

    midnight = time.time() // _DAY * _DAY
    tags = journal.tags_of(tag)
    with opened(ledger, config, trust_config, ask=False) as (_, book):
        sums = total(book.store, JournalFilter(since=midnight, scope=scope, tags=tags))
        tasks = book.store.tasks(limit=_LATEST, where=JournalFilter(scope=scope, tags=tags))
        budget: tuple[str, int, int] | None = None
        for each in book.store.scopes(scope or ""):
            limit = each.limits.nusd
            if each.window != "day" or not limit:
                continue
            account = book.store.account(each.path)
            used = account.settled.nusd + account.held.nusd
            if budget is None or used / limit > budget[2] / budget[1]:
                budget = (each.path, limit, used)
    if json:
        emit(
            {
                "today_usd": usd(sums.cost_nusd),
                "input_tokens": sums.input_tokens,
                "cached_tokens": sums.cache_read_tokens,
                "day_budget": None
                if budget is None
                else {
                    "scope": budget[0],
                    "limit_usd": usd(budget[1]),
                    "used_usd": usd(budget[2]),
                },
                "running": sum(task.outcome is None for task in tasks),
            }
        )
        return 0
    say(
        line_of(
            spent_nusd=sums.cost_nusd,
            input_tokens=sums.input_tokens,
            cached_tokens=sums.cache_read_tokens,
            budget=budget,
            tasks=[(task.outcome, task.cost_nusd) for task in tasks],
        )
    )
    return 0
