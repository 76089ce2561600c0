"""Alert conditions as values: evaluated on the journal here, rendered as PromQL for Prometheus.

One definition, two ways to ask it. The arithmetic is Prometheus': vectors meet on equal labels, a
comparison keeps what passes, and what is absent on one side is absent in the result.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from agentkit.reports.series import Counter, Gauge, Label, Vector

Operator = Literal["+", "-", "*", "/", ">", ">=", "<", "and", "or"]


class Source(Protocol):
    """Where an expression finds its series."""

    def increase(
        self, counter: Counter, by: tuple[Label, ...], hours: float, offset_hours: float
    ) -> Vector: ...

    def gauge(self, gauge: Gauge, by: tuple[Label, ...]) -> Vector: ...


@dataclass(frozen=True, slots=True)
class Increase:
    """How much a counter rose in `hours` that ended `offset_hours` ago, summed by labels."""

    counter: Counter
    hours: float
    offset_hours: float = 0
    by: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """The highest value of a gauge by labels; without labels, one number."""

    gauge: Gauge
    by: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Absolute:
    """The size of `of`, whatever its sign."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Both:
    """Two expressions under an operator."""

    left: Expression
    symbol: Operator
    right: Expression


Expression = Increase | Level | Absolute | Both | float


def evaluate(expression: Expression, source: Source) -> Vector | float:
    """The value: a number for a constant, else a number for each set of labels."""
    match expression:
        case Increase(counter, hours, offset_hours, by):
            return source.increase(counter, by, hours, offset_hours)
        case Level(gauge, by):
            found = source.gauge(gauge, by)
            return found if by else found.get((), math.nan)
        case Absolute(of):
            value = evaluate(of, source)
            if isinstance(value, Mapping):
                return {labels: abs(number) for labels, number in value.items()}
            return abs(value)
        case Both(left, symbol, right):
            return _combined(evaluate(left, source), symbol, evaluate(right, source))
        case _:
            return expression


def promql(expression: Expression) -> str:
    """The same in PromQL."""
    match expression:
        case Increase(counter, hours, offset_hours, by):
            offset = f" offset {_duration(offset_hours)}" if offset_hours else ""
            return f"{_sum('sum', by)}(increase({counter.name}[{_duration(hours)}]{offset}))"
        case Level(gauge, by):
            level = f"{_sum('max', by)}({gauge.name})"
            return level if by else f"scalar({level})"
        case Absolute(of):
            return f"abs({promql(of)})"
        case Both(left, symbol, right):
            return f"{_part(left)} {symbol} {_part(right)}"
        case _:
            return f"{expression:g}"


def spans(expression: Expression) -> Iterator[tuple[float, float]]:
    """The windows that an expression looks at, as the hours ago of their begin and end."""
    match expression:
        case Increase(_, hours, offset_hours, _):
            yield hours + offset_hours, offset_hours
        case Absolute(of):
            yield from spans(of)
        case Both(left, _, right):
            yield from spans(left)
            yield from spans(right)
        case _:
            return


def _combined(left: Vector | float, symbol: Operator, right: Vector | float) -> Vector | float:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if symbol == "or":
            return {**right, **left}
        if symbol == "and":
            return {labels: number for labels, number in left.items() if labels in right}
        pairs = {labels: (left[labels], right[labels]) for labels in left if labels in right}
    elif isinstance(left, Mapping):
        pairs = {labels: (number, _number(right)) for labels, number in left.items()}
    elif isinstance(right, Mapping):
        pairs = {labels: (left, number) for labels, number in right.items()}
    else:
        return _arithmetic(symbol, left, right)
    if symbol in _COMPARISONS:
        return {key: a for key, (a, b) in pairs.items() if _COMPARISONS[symbol](a, b)}
    return {key: _arithmetic(symbol, a, b) for key, (a, b) in pairs.items()}


def _number(value: Vector | float) -> float:
    if isinstance(value, Mapping):
        raise TypeError("a set of series where one number is meant")
    return value


def _arithmetic(symbol: Operator, left: float, right: float) -> float:
    if symbol == "/" and right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return _ARITHMETIC[symbol](left, right)


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
}
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right,
}


def _part(expression: Expression) -> str:
    text = promql(expression)
    return f"({text})" if isinstance(expression, Both) else text


def _sum(how: str, by: tuple[Label, ...]) -> str:
    return f"{how} by ({', '.join(by)}) " if by else how


def _duration(hours: float) -> str:
    return f"{hours / 24:g}d" if hours % 24 == 0 else f"{hours:g}h"
