"""Traffic that nobody said can wait, and that looks as if it could."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from agentkit.reports.lever import FeatureSums, Finding, Silent, Traffic

_BATCH_PRICE = 0.5
_LEAST_CALLS = 50
_LEAST_DAYS = 2
_SCHEDULED_SHARE = 0.9
_SCHEDULED_HOURS = 2
_NAMES = re.compile(
    r"nightly|daily|weekly|monthly|batch|cron|schedul|backfill|report|digest|eval|index|"
    r"enrich|classif|label|tagging|archive|migrat|embedding|offline",
    re.IGNORECASE,
)


def deferrable(traffic: Traffic) -> Sequence[Finding]:
    """Features that run by a schedule, or are called like work in the background."""
    name, _ = traffic.question.can_wait
    found: list[Finding] = []
    for (feature, model), entry in traffic.features.items():
        why = _looks_deferrable(traffic, feature, model, entry)
        if why is None:
            continue
        saved = round(entry.sums.cost_nusd * (1 - _BATCH_PRICE))
        found.append(
            traffic.advice(
                "can_wait", feature, saved, basis="assumed",
                found=f"{why}, and its {entry.sums.calls:,} calls on {model} are not marked as "
                "able to wait",
                assumption=f"nobody waits for the answers; batches are billed at "
                f"{_BATCH_PRICE:.0%}",
                against="an answer within 24 hours, not at once: ask whoever reads them",
                setting=f"{name}=24h",
            )
        )  # fmt: skip
    return found or [
        Silent(lever="can_wait", reason="no feature runs by a schedule or is named like work in "
               "the background, without being marked already")
    ]  # fmt: skip


def _looks_deferrable(traffic: Traffic, feature: str, model: str, entry: FeatureSums) -> str | None:
    """What speaks for it; None where nothing does."""
    sums = entry.sums
    marked = entry.waiting.calls > 0 or sums.saved_batch
    price = traffic.prices.price(model.partition(":")[2], model.partition(":")[0])
    if marked or sums.calls < _LEAST_CALLS or price.state != "priced" or not sums.cost_nusd:
        return None
    hours: Counter[int] = Counter()
    days: set[int] = set()
    for group in traffic.store.sum_calls(("hour",), traffic.of(feature, model), measures="basic"):
        hour = int(group.key[0])
        hours[hour % 24] += group.sums.calls
        days.add(hour // 24)
    busiest = hours.most_common(_SCHEDULED_HOURS)
    share = sum(calls for _, calls in busiest) / max(1, hours.total())
    if len(days) >= _LEAST_DAYS and share >= _SCHEDULED_SHARE:
        at = " and ".join(f"{hour:02d}:00" for hour, _ in sorted(busiest))
        return f"{share:.0%} of it runs in the hours from {at} UTC on {len(days)} days"
    if _NAMES.search(feature):
        return "it is named like work in the background"
    return None
