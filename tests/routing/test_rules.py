"""Rules: which requests they hold for, what they answer, and what is refused in them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.routing import Routed, RouteRequest, Rule, RuleRoute
from agentkit.routing.rules import fits, read_rules

TIERS = ("local:small", "scripted:middle", "scripted:dear")


def asked(text: str = "refund order W1", **given: Any) -> RouteRequest:
    return RouteRequest(text=text, tiers=TIERS, **given)


def order_of(rule: Rule, request: RouteRequest) -> tuple[int, ...] | None:
    answer = RuleRoute([rule])(request)
    return answer.order if isinstance(answer, Routed) else None


@pytest.mark.parametrize(
    ("rule", "request_", "holds"),
    [
        (Rule(tier=1), asked(), True),
        (Rule(tier=1, says=("refund",)), asked("A Refund, please"), True),
        (Rule(tier=1, says=("refund",)), asked("I was refunded"), False),
        (Rule(tier=1, says=("refund*",)), asked("I was refunded"), True),
        (Rule(tier=1, says=("charge back",)), asked("they charge it back"), False),
        (Rule(tier=1, says=("charge back", "dispute")), asked("a charge-back"), True),
        (Rule(tier=1, says_none=("urgent",)), asked("not urgent"), False),
        (Rule(tier=1, says=("refund",), says_none=("urgent",)), asked("refund"), True),
        (Rule(tier=1, tools=("search_*",)), asked(tools=("look", "search_web")), True),
        (Rule(tier=1, tools=("search_*",)), asked(tools=("look",)), False),
        (Rule(tier=1, scope=("acme/*",)), asked(scope="acme/support"), True),
        (Rule(tier=1, scope=("acme/*",)), asked(scope="other"), False),
        (Rule(tier=1, tags={"feature": "refunds"}), asked(tags={"feature": "refunds"}), True),
        (Rule(tier=1, tags={"feature": "refunds"}), asked(), False),
        (Rule(tier=1, kind="observations"), asked(kind="request"), False),
        (Rule(tier=1, tokens_from=10, tokens_to=20), asked(tokens=10), True),
        (Rule(tier=1, tokens_from=10, tokens_to=20), asked(tokens=20), False),
        (Rule(tier=1, step_from=3), asked(step=2), False),
    ],
)
def test_a_rule_holds_where_all_that_it_gives_does(
    rule: Rule, request_: RouteRequest, holds: bool
) -> None:
    assert order_of(rule, request_) == ((1, 2) if holds else None)


def test_the_first_rule_that_holds_decides_and_the_rest_is_left_to_another_route() -> None:
    route = RuleRoute(
        [Rule(tier="scripted:dear", says=("law*",)), Rule(tier=(0, 2), says=("lawyer", "sum"))],
        otherwise=lambda request: 1,
    )
    first, second, third = (route(asked(text)) for text in ("a lawyer", "a sum", "else"))
    assert isinstance(first, Routed)
    assert isinstance(second, Routed)
    assert (first.order, second.order, third) == ((2,), (0, 2), 1)
    assert (first.reason, second.reason) == ("rule 1 holds", "rule 2 holds")


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("abc", "abc", True),
        ("a*c", "abbbc", True),
        ("a*c", "ac", True),
        ("ab*ba", "aba", False),
        ("*", "", True),
        ("*b*", "abc", True),
        ("a*b*c", "a-c-b", False),
    ],
)
def test_a_star_stands_for_any_run(pattern: str, text: str, does: bool) -> None:
    assert fits(pattern, text) is does


def test_no_pattern_takes_long_whatever_the_text() -> None:
    """A pattern that would blow up a backtracking matcher, on a text made to make it."""
    rule = Rule(tier=1, says=("a*" * 60 + "b",), scope=("a*" * 90 + "b",))
    begun = time.perf_counter()
    assert not rule.holds(asked("a" * 20_000, scope="a" * 2_000))
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([{"when": {}}], "number 1 names no tier"),
        ([{"tier": 1, "says": "x"}], "'says' belongs into when"),
        ([{"tier": 1, "wen": {}}], "a rule has `when` and `tier`"),
        (
            [{"tier": 1}, {"tier": 1, "when": {"sais": "x"}}],
            "number 2: there is no condition 'sais'",
        ),
        ([{"tier": 1, "when": "refund"}], "when is a table"),
        ([{"tier": 1, "when": {"tokens_from": "many"}}], "tokens_from: use a whole number"),
        ([{"tier": 1, "when": {"tags": {"a": 1}}}], "tags: use a table of texts"),
        ([{"tier": 1, "when": {"says": ["?!"]}}], "has no word"),
        ([{"tier": 1, "when": {"says": ["x" * 201]}}], "1 to 200 characters"),
        ([{"tier": 1, "when": {"says": [1]}}], "a pattern is a text"),
        ([{"tier": 1, "when": {"kind": "answer"}}], "use 'request' or 'observations'"),
        ([{"tier": 1.5}], "tier is a place, a label, or a list"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(tables: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("(", r"\(").replace("?", r"\?")):
        read_rules(tables)


def test_a_rule_for_a_tier_that_is_not_there_is_refused_with_those_that_are() -> None:
    route = RuleRoute([Rule(tier="openai:gpt-9")])
    with pytest.raises(ConfigError, match=r"rule 1: .*'openai:gpt-9'; there are 0 \(local:small\)"):
        route.check(TIERS)
