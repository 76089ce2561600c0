"""Signs that an answer is right or wrong: each a small function of one `Evidence`.

A signal is a number, or None where it cannot speak: a text has no arguments, a provider that sends
no log-probabilities has none. Your own go beside these: `Cascade(signals={"mine": function})`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from agentkit.cascade.evidence import Evidence, leaves, part_figures

Signal = Callable[[Evidence], float | None]

_WORD = re.compile(r"\w+", re.UNICODE)
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_HEDGES = re.compile(
    r"\b(?:i (?:can(?:no|')t|am not (?:able|sure)|do(?: not|n't) know|could(?: not|n't))"
    r"|i'm (?:not sure|sorry|unable|afraid)|as an ai|unable to|not (?:certain|sure) (?:if|whether)"
    r"|it is unclear|no information|insufficient information|i apologi[sz]e)\b",
    re.IGNORECASE,
)
_HEDGE_WINDOW_CHARS = 600
_GRAM_WORDS = 4
_FEWEST_GRAMS = 8
_LEAST_SURPRISE = 0.02
_MOST_CHARS = 20_000
"""Longer texts are judged by their start: a signal must not cost more than a call."""
_STOP_WORDS = frozenset(
    "a an and are at be by can could do for from i in is it me my of on or please some that the "
    "this to want was what with would you".split()
)


def fits_schema(evidence: Evidence) -> float | None:
    """1 where every call names a known tool and fits its schema, 0 where one does not."""
    if evidence.message.invalid_tool_calls:
        return 0.0
    if not evidence.calls:
        return None
    for call in evidence.calls:
        spec = evidence.toolbox.catalogue.get(call["name"] or "")
        arguments: Any = call["args"]
        if spec is None or not isinstance(arguments, dict):
            return 0.0
        if spec.arguments.check(cast("dict[str, object]", arguments)).problems:
            return 0.0
    return 1.0


def grounded(evidence: Evidence) -> float | None:
    """The share of argument values that occur in the request or in an observation."""
    values = [value for call in evidence.calls for value in leaves(call["args"])]
    if not values:
        return None
    said = _plain("\n".join((evidence.request, *evidence.observations)))
    numbers = {_NUMBER_WORDS.get(word, word) for word in _WORD.findall(said)}
    found = sum(
        _plain(value) in said if isinstance(value, str) else _digits(value) in numbers
        for value in values
    )
    return found / len(values)


def covered(evidence: Evidence) -> float | None:
    """The share of the request's words that some argument or the tool's name takes up."""
    if not evidence.calls:
        return None
    asked = [word for word in _words(evidence.request) if word not in _STOP_WORDS]
    if not asked:
        return None
    taken: set[str] = set()
    for call in evidence.calls:
        taken.update(_words((call["name"] or "").replace("_", " ")))
        for value in leaves(call["args"]):
            taken.update(_words(str(value)))
    return sum(word in taken for word in asked) / len(asked)


def sum_logprob(evidence: Evidence) -> float | None:
    """The log-probability of the whole answer, in nats."""
    figures = evidence.logprobs
    return None if figures is None else figures.sum


def surprise(evidence: Evidence) -> float | None:
    """The logarithm of how unlikely the whole answer was.

    Of all that the pocket model tells, this is nearest to linear in the log odds of being wrong
    (benchmarks/cascade.py).
    """
    figures = evidence.logprobs
    return None if figures is None else math.log(_LEAST_SURPRISE + max(0.0, -figures.sum))


def mean_logprob(evidence: Evidence) -> float | None:
    """The mean log-probability of a token."""
    figures = evidence.logprobs
    return None if figures is None else figures.mean


def min_logprob(evidence: Evidence) -> float | None:
    """The log-probability of the least likely token."""
    figures = evidence.logprobs
    return None if figures is None else figures.min


def least_margin(evidence: Evidence) -> float | None:
    """How far the closest decision was from going another way, in nats."""
    figures = evidence.logprobs
    return None if figures is None else figures.margin


def name_logprob(evidence: Evidence) -> float | None:
    """The log-probability of the tool's name."""
    figures = part_figures(evidence.message, "name")
    return None if figures is None else figures.sum


def name_margin(evidence: Evidence) -> float | None:
    """How far the choice of the tool was from going another way."""
    figures = part_figures(evidence.message, "name")
    return None if figures is None else figures.margin


def values_logprob(evidence: Evidence) -> float | None:
    """The log-probability of all argument values."""
    figures = part_figures(evidence.message, "values")
    return None if figures is None else figures.sum


def values_min_logprob(evidence: Evidence) -> float | None:
    """The log-probability of the least likely token of an argument's value."""
    figures = part_figures(evidence.message, "values")
    return None if figures is None else figures.min


def agreement(evidence: Evidence) -> float | None:
    """1 where a second sample says the same, 0 where it says something else.

    Calls are compared by name and arguments, texts by the words that they share.
    """
    earlier = evidence.previous
    if earlier is None:
        return None
    now = evidence.message
    if now.tool_calls or earlier.tool_calls:
        return float(_called(now.tool_calls) == _called(earlier.tool_calls))
    first, second = Counter(_words(earlier.text)), Counter(_words(now.text))
    longest = max(first.total(), second.total())
    return (first & second).total() / longest if longest else 0.0


def length(evidence: Evidence) -> float | None:
    """The logarithm of the number of tokens or, where none are reported, of words."""
    figures, usage = evidence.logprobs, evidence.message.usage_metadata
    if figures is not None:
        return math.log1p(figures.count)
    if usage is not None and usage["output_tokens"]:
        return math.log1p(usage["output_tokens"])
    return math.log1p(len(_words(evidence.message.text)))


def arguments(evidence: Evidence) -> float | None:
    """The number of argument values."""
    if not evidence.calls:
        return None
    return float(sum(1 for call in evidence.calls for _ in leaves(call["args"])))


def request_length(evidence: Evidence) -> float | None:
    """The logarithm of the number of words of the request."""
    return math.log1p(len(_words(evidence.request))) if evidence.request else None


def repetition(evidence: Evidence) -> float | None:
    """The share of runs of four words in a text that were there before."""
    words = _words(evidence.message.text)
    grams = [tuple(words[at : at + _GRAM_WORDS]) for at in range(len(words) - _GRAM_WORDS + 1)]
    if len(grams) < _FEWEST_GRAMS:
        return None
    return 1 - len(set(grams)) / len(grams)


def hedging(evidence: Evidence) -> float | None:
    """1 where a text refuses, apologises or says that it does not know."""
    text = evidence.message.text.strip()
    if not text or evidence.message.tool_calls:
        return None
    return float(_HEDGES.search(text[:_HEDGE_WINDOW_CHARS].replace("\u2019", "'")) is not None)


def check(evidence: Evidence) -> float | None:
    """What the user's own check says, where it can apply: a final answer, not a call."""
    return None if evidence.check is None else float(evidence.check)


SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {
        signal.__name__: signal
        for signal in (
            fits_schema, grounded, covered, sum_logprob, surprise, mean_logprob, min_logprob,
            least_margin, name_logprob, name_margin, values_logprob, values_min_logprob, agreement,
            length, arguments, request_length, repetition, hedging, check,
        )
    }
)  # fmt: skip
"""The signals that come with agentkit, by the names that calibrations use."""


def signals_of(evidence: Evidence, signals: Mapping[str, Signal] = SIGNALS) -> dict[str, float]:
    """The signals that can speak of an answer, by name; a number that is not finite is left out."""
    found: dict[str, float] = {}
    for name, signal in signals.items():
        value = signal(evidence)
        if value is not None and math.isfinite(value):
            found[name] = float(value)
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:_MOST_CHARS].casefold())


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("\u2019", "'").split())


def _digits(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _called(calls: Any) -> list[str]:
    return sorted(
        json.dumps([call["name"], call["args"]], sort_keys=True, default=str) for call in calls
    )
