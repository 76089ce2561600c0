"""The alert rules as the page shows them: each rule once, quiet or firing with its tasks."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.budgets.store import Store
from agentkit.reports.alert import Rule
from agentkit.reports.alert_check import Firing, check_alerts

Json = dict[str, object]


def alarms(
    store: Store, rules: Sequence[Rule], *, now: float, day_usd: float | None = None
) -> list[Json]:
    """What fires at `now` (Unix time), the critical first, then the rules that are quiet."""
    firing = check_alerts(store, now=now, rules=rules, day_usd=day_usd)
    loud = {found.rule.name for found in firing}
    quiet = [rule for rule in rules if rule.name not in loud]
    return [*map(_fires, firing), *({"rule": rule.name, "firing": False} for rule in quiet)]


def _fires(found: Firing) -> Json:
    rule = found.rule
    which = ", ".join(f"{name} {value}" for name, value in found.labels.items())
    return {
        "rule": rule.name,
        "firing": True,
        "severity": rule.severity,
        "which": which,
        "text": f"{rule.summary} (now {found.value:.4g}, threshold {rule.threshold:g})",
        "advice": rule.todo,
        "tasks": list(found.tasks),
    }
