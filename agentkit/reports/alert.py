"""The alert rules: what each one watches, from which floor on, and what to do when it fires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agentkit.reports.expression import Absolute, Both, Expression, Increase, Level
from agentkit.reports.series import (
    BUDGET_USED,
    CACHED,
    CALLS,
    COST,
    DAY_BUDGET,
    ESCALATIONS,
    ESTIMATED,
    INPUT,
    REPORTED,
    RESOLVED,
    TASKS,
    UNKNOWN,
    USER_COST,
    Counter,
    Label,
)

Severity = Literal["warning", "critical"]
_DAY, _WEEK = 24.0, 168.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """An alert. `condition(threshold, floor)` keeps the series that are too high; `measured` is
    what is compared. `hours` is the window whose tasks are to be looked at."""

    name: str
    summary: str
    todo: str
    threshold: float
    floor: float
    floor_unit: str
    measured: Expression
    condition: Callable[[float, float], Expression]
    by: tuple[Label, ...] = ()
    hours: float = _DAY
    severity: Severity = "warning"


def _day(counter: Counter, by: tuple[Label, ...] = ()) -> Increase:
    return Increase(counter, _DAY, by=by)


def _week_before(counter: Counter, by: tuple[Label, ...] = ()) -> Increase:
    """The seven days before the last one."""
    return Increase(counter, _WEEK, _DAY, by=by)


def _week(counter: Counter) -> Increase:
    return Increase(counter, _WEEK)


def _last_week(counter: Counter) -> Increase:
    return Increase(counter, _WEEK, _WEEK)


def _over(left: Expression, right: Expression) -> Both:
    return Both(left, "/", right)


def _all_of(*parts: Expression) -> Expression:
    whole = parts[0]
    for part in parts[1:]:
        whole = Both(whole, "and", part)
    return whole


_SPEND = _day(COST)
_A_REQUEST = _over(_week(COST), _week(TASKS))
_A_RESOLVED = _over(_week(COST), _week(RESOLVED))
_HIT_RATE = _over(_day(CACHED), _day(INPUT))
_BASE_HIT_RATE = _over(_week_before(CACHED), _week_before(INPUT))
_USER_SPEND = _day(USER_COST, ("user",))
_FEATURE_SPEND = _day(COST, ("feature",))
_BURN = Both(Increase(COST, 1.0), "*", 24.0)
_ESCALATED = _over(_day(ESCALATIONS, ("feature",)), _day(CALLS, ("feature",)))
_BASE_ESCALATED = _over(_week_before(ESCALATIONS, ("feature",)), _week_before(CALLS, ("feature",)))
_UNKNOWN_SHARE = _over(_day(UNKNOWN), _day(CALLS))
_MODEL: tuple[Label, ...] = ("model",)
_ESTIMATE_ERROR = Absolute(
    Both(_over(_day(ESTIMATED, _MODEL), _day(REPORTED, _MODEL)), "-", 1.0)
)  # fmt: skip
_USED = Level(BUDGET_USED, ("scope", "per"))

RULES: tuple[Rule, ...] = (
    Rule(
        name="daily_spend",
        summary="the last 24 hours cost more than the days of the week before",
        todo="`agentkit report --by feature --since 1d` tells which feature grew; limit it with "
        "`agentkit budget set SCOPE --usd N --per day`",
        threshold=1.5, floor=1.0, floor_unit="USD in 24 hours", measured=_SPEND,
        condition=lambda times, floor: _all_of(
            Both(_SPEND, ">", Both(times, "*", _over(_week_before(COST), 7.0))),
            Both(_week_before(COST), ">", 0.0),
            Both(_SPEND, ">", floor),
        ),
    ),
    Rule(
        name="cost_per_request",
        summary="a task costs more than a week ago",
        todo="compare a dear task with an older one of its kind: `agentkit diff A B`",
        threshold=1.5, floor=50, floor_unit="tasks in each week", measured=_A_REQUEST, hours=_WEEK,
        condition=lambda times, floor: _all_of(
            Both(_A_REQUEST, ">", Both(times, "*", _over(_last_week(COST), _last_week(TASKS)))),
            Both(_week(TASKS), ">", floor),
            Both(_last_week(TASKS), ">", floor),
        ),
    ),
    Rule(
        name="cache_hit_rate",
        summary="less of the input comes from prompt caches than in the week before",
        todo="something changes the sent prefix: a date in the system text, tools in another "
        "order; `agentkit show TASK --steps` tells where reads stop",
        threshold=0.8, floor=1_000_000, floor_unit="input tokens in 24 hours", measured=_HIT_RATE,
        condition=lambda times, floor: _all_of(
            Both(_HIT_RATE, "<", Both(times, "*", _BASE_HIT_RATE)),
            Both(_BASE_HIT_RATE, ">", 0.1),
            Both(_day(INPUT), ">", floor),
        ),
    ),
    Rule(
        name="user_concentration",
        summary="one user takes a large part of the day's budget",
        todo="look at the tasks, then limit the user's scope: `agentkit budget set SCOPE --usd N "
        "--per day`",
        threshold=0.2, floor=1.0, floor_unit="USD in 24 hours", measured=_USER_SPEND, by=("user",),
        condition=lambda share, floor: _all_of(
            Both(_USER_SPEND, ">", Both(share, "*", Level(DAY_BUDGET))),
            Both(_USER_SPEND, ">", floor),
        ),
    ),
    Rule(
        name="feature_concentration",
        summary="one feature takes a large part of the day's budget",
        todo="ask `agentkit advise --tag feature=NAME` what would make it cheaper",
        threshold=0.2, floor=1.0, floor_unit="USD in 24 hours", measured=_FEATURE_SPEND,
        by=("feature",),
        condition=lambda share, floor: _all_of(
            Both(_FEATURE_SPEND, ">", Both(share, "*", Level(DAY_BUDGET))),
            Both(_FEATURE_SPEND, ">", floor),
        ),
    ),
    Rule(
        name="budget_80",
        summary="a scope has used most of its budget",
        todo="`agentkit budget show SCOPE` says what is left; raise it, or let tasks land",
        threshold=0.8, floor=0, floor_unit="of the limit", measured=_USED, by=("scope", "per"),
        condition=lambda share, _: Both(_USED, ">=", share),
    ),
    Rule(
        name="budget_100",
        summary="a scope has used up its budget: new calls are refused",
        todo="`agentkit budget set SCOPE --usd N` raises it",
        threshold=1.0, floor=0, floor_unit="of the limit", measured=_USED, by=("scope", "per"),
        severity="critical",
        condition=lambda share, _: Both(_USED, ">=", share),
    ),
    Rule(
        name="burn_rate",
        summary="the last hour, over a whole day, would cost more than the days of the week before",
        todo="look for a loop: `agentkit top --since 1h`",
        threshold=2.0, floor=0.5, floor_unit="USD in the hour", measured=_BURN, hours=1.0,
        condition=lambda times, floor: _all_of(
            Both(_BURN, ">", Both(times, "*", _over(Increase(COST, _WEEK, 1.0), 7.0))),
            Both(Increase(COST, _WEEK, 1.0), ">", 0.0),
            Both(Increase(COST, 1.0), ">", floor),
        ),
    ),
    Rule(
        name="escalation_rate",
        summary="too many of a feature's calls are escalations, or half as many again as before",
        todo="the cheap model is too small for this feature: start it a tier higher, or calibrate",
        threshold=0.3, floor=50, floor_unit="calls in 24 hours", measured=_ESCALATED,
        by=("feature",),
        condition=lambda share, floor: _all_of(
            Both(
                Both(_ESCALATED, ">", share),
                "or",
                _all_of(
                    Both(_ESCALATED, ">", Both(1.5, "*", _BASE_ESCALATED)),
                    Both(_ESCALATED, ">", 0.05),
                ),
            ),
            Both(_day(CALLS, ("feature",)), ">", floor),
        ),
    ),
    Rule(
        name="unknown_prices",
        summary="calls are billed at prices that nobody here knows",
        todo="`agentkit report --by model,source` names the models; `agentkit prices show MODEL` "
        "writes the lines to fill in",
        threshold=0.01, floor=5, floor_unit="calls in 24 hours", measured=_UNKNOWN_SHARE,
        condition=lambda share, floor: _all_of(
            Both(_UNKNOWN_SHARE, ">", share), Both(_day(UNKNOWN), ">", floor)
        ),
    ),
    Rule(
        name="estimate_error",
        summary="our token counts are off the usage that the provider reports",
        todo="budgets hold (the margin is learned), but they hold too much; report the model",
        threshold=0.05, floor=100_000, floor_unit="tokens in 24 hours", measured=_ESTIMATE_ERROR,
        by=_MODEL,
        condition=lambda share, floor: _all_of(
            Both(_ESTIMATE_ERROR, ">", share), Both(_day(REPORTED, _MODEL), ">", floor)
        ),
    ),
    Rule(
        name="cost_per_resolved_task",
        summary="a resolved task costs more than a week ago",
        todo="`agentkit unit-costs` tells which feature; more tries or dearer tiers that resolve "
        "no more are the usual cause",
        threshold=1.2, floor=30, floor_unit="resolved tasks in each week", measured=_A_RESOLVED,
        hours=_WEEK,
        condition=lambda times, floor: _all_of(
            Both(_A_RESOLVED, ">", Both(times, "*", _over(_last_week(COST), _last_week(RESOLVED)))),
            Both(_week(RESOLVED), ">", floor),
            Both(_last_week(RESOLVED), ">", floor),
        ),
    ),
)  # fmt: skip
