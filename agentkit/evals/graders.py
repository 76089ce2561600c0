"""Graders of text, numbers, JSON and tool calls; patterns and answers are untrusted."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.evals.grade import Grade, MadeCall, Sample, right, wrong
from agentkit.evals.json_value import Absent, Json, at_path, differences

if TYPE_CHECKING:
    from agentkit.tools.provision.embedding import Embedder

_PATTERN_SECONDS = 0.5  # of processor time
_MOST_CHARS = 200_000
_MOST_TOLD = 3
_LONGEST_PATTERN = 10_000
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,60})(?:\.\d{1,60})?(?:[eE][-+]?\d{1,3})?")
_FENCE = "```"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exact:
    """The answer is what was expected, but for white space around it."""

    casefold: bool = False

    def __call__(self, sample: Sample) -> Grade:
        wanted, found = _text_of(sample.case.expected).strip(), sample.answer.strip()
        if self.casefold:
            wanted, found = wanted.casefold(), found.casefold()
        if found == wanted:
            return right()
        return wrong("wrong answer" if found else "no answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The answer holds a match of a regular expression, which has half a second to find one."""

    pattern: str | None = None

    def __call__(self, sample: Sample) -> Grade:
        pattern = _text_of(sample.case.expected) if self.pattern is None else self.pattern
        engine = pattern_engine()
        try:
            compiled = engine.compile(check_pattern(pattern))
            found = compiled.search(
                sample.answer[:_MOST_CHARS], timeout=_PATTERN_SECONDS, concurrent=True
            )
        except TimeoutError:
            return wrong("grader failed", f"the pattern took over {_PATTERN_SECONDS:g} s")
        return right() if found else wrong("no match" if sample.answer else "no answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Numeric:
    """The last number of the answer is within a tolerance of the expected one."""

    tolerance: float = 1e-9
    relative: float = 1e-9

    def __call__(self, sample: Sample) -> Grade:
        wanted = number_in(_text_of(sample.case.expected))
        found = number_in(sample.answer[-_MOST_CHARS:])
        if wanted is None:
            return wrong("grader failed", "expected is no number")
        if found is None:
            return wrong("no number" if sample.answer else "no answer")
        if math.isclose(found, wanted, rel_tol=self.relative, abs_tol=self.tolerance):
            return right()
        return wrong("wrong number", f"{found:g} is not {wanted:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonMatch:
    """The answer, or what stands in it at `path`, is the expected JSON; or holds it (`subset`)."""

    path: tuple[str | int, ...] = ()
    subset: bool = False

    def __call__(self, sample: Sample) -> Grade:
        if not sample.answer.strip():
            return wrong("no answer")
        try:
            value = at_path(json_in(sample.answer), self.path)
            found = list(
                islice(differences(value, sample.case.expected, subset=self.subset), _MOST_TOLD)
            )
        except (ValueError, RecursionError):
            return wrong("not JSON")
        except Absent as error:
            return wrong("wrong JSON", str(error))
        return wrong("wrong JSON", "; ".join(found)) if found else right()


@dataclass(frozen=True, kw_only=True, slots=True)
class Similar:
    """The answer means what was expected: the cosine of their vectors reaches `least`."""

    embedding: Embedder
    least: float = 0.8

    def __call__(self, sample: Sample) -> Grade:
        if not sample.answer.strip():
            return wrong("no answer")
        one, other = self.embedding.embed([sample.answer, _text_of(sample.case.expected)])
        score = min(1.0, max(0.0, float(one @ other)))
        if score >= self.least:
            return right(score)
        return wrong("unlike", f"similarity {score:.2f}, under {self.least:g}", score=score)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCalls:
    """The calls made are those expected, in any order: `[]` or null expects none.

    `arguments` are compared exactly, as a subset (more are allowed), or not at all. With `casefold`
    texts are the same whatever their case and white space.
    """

    arguments: Literal["exact", "subset", "ignore"] = "exact"
    casefold: bool = False

    def __call__(self, sample: Sample) -> Grade:
        wanted = expected_calls(sample.case.expected)
        made = [call for call in sample.calls if call.ran] or list(sample.calls)
        if not wanted:
            return wrong("unneeded call", f"called {made[0].name[:64]!r}") if made else right()
        if not made:
            return wrong("no call")
        if sorted(call.name for call in made) != sorted(call.name for call in wanted):
            return wrong("wrong tool", f"called {', '.join(call.name[:64] for call in made)}")
        left = list(made)
        for call in wanted:
            match = next((each for each in left if self._fits(each, call)), None)
            if match is None:
                return wrong("wrong arguments", self._told(left, call), score=0.5)
            left.remove(match)
        return right()

    def _fits(self, made: MadeCall, wanted: MadeCall) -> bool:
        return made.name == wanted.name and not self._differing(made, wanted)

    def _told(self, left: Sequence[MadeCall], wanted: MadeCall) -> str:
        same = [call for call in left if call.name == wanted.name]
        return "; ".join(self._differing(same[0], wanted)) if same else f"no {wanted.name!r}"

    def _differing(self, made: MadeCall, wanted: MadeCall) -> list[str]:
        if self.arguments == "ignore":
            return []
        found, want = cast("Json", made.arguments), cast("Json", wanted.arguments)
        if self.casefold:
            found, want = _folded(found), _folded(want)
        subset = self.arguments == "subset"
        return list(islice(differences(found, want, subset=subset, at=made.name), _MOST_TOLD))


def expected_calls(expected: Json) -> list[MadeCall]:
    """The calls in `{"name": ..., "arguments": {...}}` or a list of them. Raises ConfigError."""
    given = list(expected) if isinstance(expected, list | tuple) else [expected]
    found: list[MadeCall] = []
    for call in given:
        if call is None:
            continue
        name = call.get("name") if isinstance(call, Mapping) else None
        arguments: Any = call.get("arguments", {}) if isinstance(call, Mapping) else None
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            raise ConfigError('expected: write a call as {"name": ..., "arguments": {...}}')
        found.append(MadeCall(name=name, arguments=cast("Mapping[str, Any]", arguments)))
    return found


def check_pattern(pattern: str) -> str:
    """`pattern`, where it is one; raises ConfigError."""
    engine = pattern_engine()
    if len(pattern) > _LONGEST_PATTERN:
        raise ConfigError(f"a pattern of {len(pattern)} characters; write up to {_LONGEST_PATTERN}")
    try:
        engine.compile(pattern)
    except (engine.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"pattern {pattern[:60]!r}: {error}") from error
    return pattern


def json_in(answer: str) -> Json:
    """The JSON that an answer is, alone or in its first fence. Raises ValueError."""
    text = answer.strip()[:_MOST_CHARS]
    if _FENCE in text:
        inner = text.split(_FENCE)[1]
        head, newline, rest = inner.partition("\n")
        text = rest if newline and head.strip().isalpha() else inner
    return cast("Json", json.loads(text))


def number_in(text: str) -> float | None:
    """The last number of a text."""
    last = deque(_NUMBER.finditer(text), maxlen=1)
    return float(last[0][0].replace(",", "")) if last else None


def _text_of(expected: Json) -> str:
    return expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)


def _folded(value: Json) -> Json:
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, Mapping):
        return {key: _folded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_folded(item) for item in cast("Sequence[Json]", value)]
    return value


def pattern_engine() -> Any:
    """The engine with a time limit, which Python's own lacks; it has no types."""
    try:
        return import_module("regex")
    except ImportError as error:
        raise ExtraMissing(what="a regex grader", extra="eval") from error
