"""Rules that pick a tier: the first that holds decides.

Patterns have `*` for any run of characters and nothing else, so that none takes longer than the
text times its own length, whoever wrote either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from agentkit.errors import ConfigError
from agentkit.routing.json_value import is_list, is_table
from agentkit.routing.request import Route, RouteAnswer, RouteRequest, StepKind, routed

_MOST_RULES = 1_000
_MOST_PATTERN_CHARS = 200
_MOST_PATTERNS = 200
_MOST_TEXT_CHARS = 20_000
_WORD = re.compile(r"\w+")
_PATTERN_WORD = re.compile(r"[\w*]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Begin with `tier` where all that is given holds; a rule that gives nothing always holds.

    `says` are words or phrases of the request, like `"refund*"` or `"charge back"`, of which one is
    enough, and `says_none` those of which there must be none. `tools` and `scope` are patterns like
    `"search_*"` and `"acme/*"`. A request is at least `tokens_from` and below `tokens_to` tokens
    long; steps are counted from 1. `tier` is a place, a label, or several from cheap to dear.
    """

    tier: int | str | tuple[int | str, ...]
    says: tuple[str, ...] = ()
    says_none: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    kind: StepKind | None = None
    tokens_from: int | None = None
    tokens_to: int | None = None
    step_from: int | None = None
    step_to: int | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for a pattern that is too long or says nothing."""
        for name in ("says", "says_none", "tools", "scope"):
            for pattern in _checked_patterns(name, getattr(self, name)):
                if name.startswith("says") and not _PATTERN_WORD.search(pattern.replace("*", "")):
                    raise ConfigError(f"{name}: {pattern!r} has no word; write it like 'refund*'")
        if self.kind not in (None, "request", "observations"):
            raise ConfigError(f"kind: {self.kind!r}; use 'request' or 'observations'")

    def holds(self, request: RouteRequest) -> bool:
        """Whether the rule speaks of this request."""
        return (
            (self.kind is None or self.kind == request.kind)
            and _between(self.tokens_from, request.tokens, self.tokens_to)
            and _between(self.step_from, request.step, self.step_to)
            and all(request.tags.get(name) == value for name, value in self.tags.items())
            and (not self.scope or any(fits(each, request.scope) for each in self.scope))
            and (not self.tools or any(fits(p, t) for p in self.tools for t in request.tools))
            and self._speaks(request.text)
        )

    def _speaks(self, text: str) -> bool:
        if not self.says and not self.says_none:
            return True
        words = _WORD.findall(text[:_MOST_TEXT_CHARS].casefold())
        if any(_said(phrase, words) for phrase in self.says_none):
            return False
        return not self.says or any(_said(phrase, words) for phrase in self.says)


class RuleRoute:
    """The tier of the first rule that holds, else what `otherwise` answers."""

    def __init__(self, rules: Sequence[Rule], *, otherwise: Route | None = None) -> None:
        """Raises ConfigError for more than a thousand rules."""
        if len(rules) > _MOST_RULES:
            raise ConfigError(f"{len(rules)} routing rules; use at most {_MOST_RULES}")
        self.rules = tuple(rules)
        self.otherwise = otherwise

    def __call__(self, request: RouteRequest, /) -> RouteAnswer:
        for number, rule in enumerate(self.rules, 1):
            if rule.holds(request):
                return routed(rule.tier, request, reason=f"rule {number} holds")
        return None if self.otherwise is None else self.otherwise(request)

    def check(self, tiers: Sequence[str]) -> None:
        """Raises ConfigError where a rule names a tier that is not there."""
        for number, rule in enumerate(self.rules, 1):
            try:
                routed(rule.tier, RouteRequest(text="", tiers=tuple(tiers)), reason="")
            except ConfigError as error:
                raise ConfigError(f"routing rule {number}: {error}") from error


def read_rules(tables: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rules of `[[route]]` tables: `when = {...}` with a rule's conditions, and `tier`.

    Raises ConfigError that names the rule and the key.
    """
    return tuple(_read(number, table) for number, table in enumerate(tables, 1))


def fits(pattern: str, text: str) -> bool:
    """Whether `text` as a whole is what `pattern` says; `*` stands for any run of characters."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first) or len(text) < len(first) + len(rest[-1]):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= at


def _said(phrase: str, words: Sequence[str]) -> bool:
    wanted = _PATTERN_WORD.findall(phrase.casefold())
    return any(
        all(fits(pattern, word) for pattern, word in zip(wanted, words[at:], strict=False))
        for at in range(len(words) - len(wanted) + 1)
    )


def _between(least: int | None, value: int, end: int | None) -> bool:
    return (least is None or value >= least) and (end is None or value < end)


def _checked_patterns(name: str, given: object) -> tuple[str, ...]:
    if not _is_tuple(given):
        raise ConfigError(f"{name}: use a tuple of patterns, like ('refund*',)")
    if len(given) > _MOST_PATTERNS:
        raise ConfigError(f"{name}: {len(given)} patterns; use at most {_MOST_PATTERNS} a rule")
    for pattern in given:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= _MOST_PATTERN_CHARS:
            raise ConfigError(
                f"{name}: a pattern is a text of 1 to {_MOST_PATTERN_CHARS} characters"
            )
    return given


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


_PATTERNS = ("says", "says_none", "tools", "scope")
_NUMBERS = ("tokens_from", "tokens_to", "step_from", "step_to")
_CONDITIONS = tuple(each.name for each in fields(Rule) if each.name != "tier")


def _read(number: int, table: Mapping[str, Any]) -> Rule:
    where = f"[[route]] number {number}"
    unknown = sorted(set(table) - {"when", "tier"})
    if unknown:
        home = f"{unknown[0]!r} belongs into when = {{...}}" if unknown[0] in _CONDITIONS else (
            "a rule has `when` and `tier`"
        )  # fmt: skip
        raise ConfigError(f"{where} has the key {unknown[0]!r}: {home}")
    if "tier" not in table:
        raise ConfigError(f"{where} names no tier; add tier = 1, or tier = 'openai:gpt-5-mini'")
    conditions: object = table.get("when", {})
    if not is_table(conditions):
        raise ConfigError(f"{where}: when is a table, like when = {{ says = ['refund*'] }}")
    unknown = sorted(set(conditions) - set(_CONDITIONS))
    if unknown:
        raise ConfigError(
            f"{where}: there is no condition {unknown[0]!r}; use {', '.join(_CONDITIONS)}"
        )
    tier: Any = table["tier"]
    try:
        given = {name: _condition(name, value) for name, value in conditions.items()}
        return Rule(tier=_tier(tier), **given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _tier(value: object) -> int | str | tuple[int | str, ...]:
    if is_list(value):
        return tuple(value)
    if isinstance(value, int | str):
        return value
    raise ConfigError("tier is a place, a label, or a list of them")


def _condition(name: str, value: object) -> Any:
    if name in _PATTERNS:
        patterns: list[Any] = value if is_list(value) else [value]
        return tuple(patterns)
    if name in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"{name}: use a whole number")
    if name == "tags" and not (
        is_table(value) and all(isinstance(each, str) for each in value.values())
    ):
        raise ConfigError("tags: use a table of texts, like tags = { feature = 'refunds' }")
    return value
