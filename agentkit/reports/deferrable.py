"""Traffic that can wait, or looks as if it could, and what batches would bill for it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.journal_query import CallSums, JournalFilter
from agentkit.budgets.usage import Usage
from agentkit.memory.cache_rules import cache_rules
from agentkit.reports.cache_replay import prefix_tokens
from agentkit.reports.lever import FeatureSums, Finding, Silent, Traffic

_PROVIDERS = ("anthropic", "openai")
"""Whose batches the lane knows (November 2026)."""
_LEAST_CALLS = 50
_LEAST_DAYS = 2
_SCHEDULED_SHARE = 0.9
_SCHEDULED_HOURS = 2
_TOGETHER_SECONDS = 1.0
_TOGETHER_SHARE, _CHANCE_SHARE = 0.5, 0.1
_TALKS_SHARE = 0.1
_TASKS_LOOKED_AT = 1_000
_LITTLE = 0.005
_NAMES = re.compile(
    r"nightly|daily|weekly|monthly|batch|cron|schedul|backfill|report|digest|eval|index|"
    r"enrich|classif|label|tagging|archive|migrat|embedding|offline",
    re.IGNORECASE,
)


def batch(traffic: Traffic) -> Sequence[Finding]:
    """Calls that are marked as able to wait, and did not."""
    name, value = traffic.question.can_wait
    found: list[Finding] = []
    for (feature, model), entry in traffic.features.items():
        sums = entry.waiting
        billed = _in_batch_nusd(traffic, model, sums)
        if billed is None or sums.saved_batch or billed >= sums.cost_nusd:
            continue
        share = sums.calls / entry.sums.calls
        found.append(
            traffic.advice(
                "batch", feature, sums.cost_nusd - billed, basis="replayed",
                found=f"{share:.0%} of the calls on {model} are tagged {name}={value}",
                assumption=_assumption(model, sums),
                against="an answer within 24 hours, not at once; parts of a batch may fail or "
                "expire and must be sent again",
            )
        )  # fmt: skip
    reason = f"no call is tagged {name}={value}, so nothing says what can wait"
    return found or [Silent(lever="batch", reason=reason)]


def deferrable(traffic: Traffic) -> Sequence[Finding]:
    """Features that nobody marked, and that are called as machines call."""
    name, _ = traffic.question.can_wait
    found: list[Finding] = []
    for (feature, model), entry in traffic.features.items():
        billed = _in_batch_nusd(traffic, model, entry.sums)
        if billed is None or not _is_open(entry) or billed >= entry.sums.cost_nusd:
            continue
        where = traffic.of(feature, model)
        tasks = _latest_tasks(traffic, where)
        told = [_schedule(traffic, where), _bursts(tasks), _named(feature)]
        signs = "; ".join(sign for sign in told if sign)
        if not signs or _talks(tasks) >= _TALKS_SHARE:
            continue
        found.append(
            traffic.advice(
                "can_wait", feature, entry.sums.cost_nusd - billed, basis="assumed",
                found=f"{signs}, and its {entry.sums.calls:,} calls on {model} are not marked as "
                "able to wait",
                assumption=f"nobody waits for the answers; {_assumption(model, entry.sums)}",
                against=f"an answer within 24 hours, not at once: ask {_readers(tasks)}",
                setting=f"{name}=24h",
            )
        )  # fmt: skip
    return found or [
        Silent(lever="can_wait", reason="no feature runs by a schedule or in bursts, or is named "
               "like work in the background, without being marked already or talking with people")
    ]  # fmt: skip


def _is_open(entry: FeatureSums) -> bool:
    """Whether there is enough of it, and nothing of it waits already."""
    marked = entry.waiting.calls > 0 or entry.sums.saved_batch
    return not marked and entry.sums.calls >= _LEAST_CALLS


def _in_batch_nusd(traffic: Traffic, model: str, sums: CallSums) -> int | None:
    """What these calls would be billed in batches, as a batch reads the cache; None where they cost
    nothing, or their provider has none that we know."""
    provider, _, name = model.partition(":")
    price = traffic.prices.batch_price(name, provider)
    if provider not in _PROVIDERS or price.state != "priced" or not sums.cost_nusd:
        return None
    usage = Usage(
        input_tokens=sums.input_tokens,
        cache_read_tokens=_read_in_batch(model, sums),
        output_tokens=sums.output_tokens,
    )
    return price.total_nusd(usage, sums.calls)


def _read_in_batch(model: str, sums: CallSums) -> int:
    """Tokens that are read from the cache now, and would be in a batch: of a prefix that the lane
    can seed."""
    provider, _, name = model.partition(":")
    rules, prefix = cache_rules(name, provider), prefix_tokens(sums)
    can_be_seeded = "1h" in rules.lifetimes and prefix >= rules.least_tokens * sums.calls
    return min(sums.cache_read_tokens, prefix) if can_be_seeded else 0


def _assumption(model: str, sums: CallSums) -> str:
    read = _read_in_batch(model, sums)
    lost = (sums.cache_read_tokens - read) / max(1, sums.input_tokens)
    told = "billed at the price of batches, half of the live one unless the table says otherwise"
    if read:
        told += "; what they share is seeded before each batch"
    return told if lost < _LITTLE else f"{told}; {lost:.0%} of the input is no longer read cached"


def _latest_tasks(traffic: Traffic, where: JournalFilter) -> list[TaskRecord]:
    """Of any model: a task's models are those that it might have asked."""
    of_any_model = replace(where, model=None)
    return traffic.store.tasks(limit=_TASKS_LOOKED_AT, where=of_any_model)


def _readers(tasks: Sequence[TaskRecord]) -> str:
    """Who could say whether it may wait."""
    users = {task.tags.get("user") for task in tasks} - {None}
    return f"the {len(users)} users that its tasks name" if users else "whoever reads them"


def _named(feature: str) -> str:
    return "it is named like work in the background" if _NAMES.search(feature) else ""


def _schedule(traffic: Traffic, where: JournalFilter) -> str:
    """Told where nearly all of it runs in the same two hours of the day."""
    hours: Counter[int] = Counter()
    days: set[int] = set()
    for group in traffic.store.sum_calls(("hour",), where, measures="basic"):
        hour = int(group.key[0])
        hours[hour % 24] += group.sums.calls
        days.add(hour // 24)
    busiest = hours.most_common(_SCHEDULED_HOURS)
    share = sum(calls for _, calls in busiest) / max(1, hours.total())
    if len(days) < _LEAST_DAYS or share < _SCHEDULED_SHARE:
        return ""
    at = " and ".join(f"{hour:02d}:00" for hour, _ in sorted(busiest))
    return f"{share:.0%} of it runs in the hours from {at} UTC on {len(days)} days"


def _bursts(tasks: Sequence[TaskRecord]) -> str:
    """Told where tasks begin one upon the other, far more often than so many would by chance.

    People who come independently of each other begin within a second of the one before in
    1 - exp(-n / 3600) of the tasks of an hour with n of them.
    """
    starts = sorted(task.started_at for task in tasks if task.parent_id is None)
    if len(starts) < _LEAST_CALLS:
        return ""
    gaps = (after - before for before, after in pairwise(starts))
    together = sum(gap < _TOGETHER_SECONDS for gap in gaps) / len(starts)
    hourly = Counter(int(start // 3600) for start in starts)
    chance = sum(n * -math.expm1(-n * _TOGETHER_SECONDS / 3600) for n in hourly.values())
    chance /= len(starts)
    if together < _TOGETHER_SHARE or chance > _CHANCE_SHARE:
        return ""
    return f"{together:.0%} of its tasks begin within a second of another, as in a loop"


def _talks(tasks: Sequence[TaskRecord]) -> float:
    """The share of tasks that go on with a thread: somebody talks with it."""
    threads = [task.thread_id for task in tasks if task.thread_id is not None]
    return (len(threads) - len(set(threads))) / max(1, len(tasks))
