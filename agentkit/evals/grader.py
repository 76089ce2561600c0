"""Graders by name: `exact`, `json:subset`, `numeric:0.01`, `call`, `judge`, `module:function` …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.evals.case import Case
from agentkit.evals.grade import Grade, Grader, Sample, right, wrong
from agentkit.evals.graders import (
    Exact,
    JsonMatch,
    Numeric,
    Pattern,
    Similar,
    ToolCalls,
    check_pattern,
    expected_calls,
    number_in,
)
from agentkit.evals.json_value import Json, steps_of

if TYPE_CHECKING:
    from agentkit.tools.provision.embedding import Embedder

GraderSpec = str | Mapping[str, Json]
_OPTIONS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "exact": {"casefold": bool},
    "regex": {"pattern": str},
    "numeric": {"tolerance": (int, float), "relative": (int, float)},
    "json": {"path": str, "subset": bool},
    "similar": {"least": (int, float)},
    "call": {"arguments": str, "casefold": bool},
    "judge": {},
}
_SHORT = {"regex": "pattern", "numeric": "tolerance", "json": "path", "similar": "least"}
"""The option that stands after the colon of a name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraderParts:
    """What graders are made with: a judge and an embedding where there are any.

    `resolve` finds the callable behind `module:function`; with `trusts_cases` the cases themselves
    may name one.
    """

    judge: Grader | None = None
    embedding: Embedder | None = None
    resolve: Callable[[str], object] | None = None
    trusts_cases: bool = False


def grader_of(spec: GraderSpec, parts: GraderParts) -> Grader:
    """The grader that a name, or an object with `kind` and its options, stands for.

    Raises ConfigError for what is none.
    """
    kind, options = _parsed(spec)
    match kind:
        case "exact":
            return Exact(**options)
        case "regex":
            if "pattern" in options:
                check_pattern(options["pattern"])
            return Pattern(**options)
        case "numeric":
            return Numeric(**options)
        case "json":
            path = steps_of(options.get("path", ""))
            return JsonMatch(path=path, subset=options.get("subset", False))
        case "similar":
            return Similar(embedding=parts.embedding or _shipped(), **options)
        case "call":
            return _tool_calls(options)
        case "judge":
            if parts.judge is None:
                raise ConfigError("the grader 'judge' needs a model: --judge openai:gpt-5-mini")
            return parts.judge
        case _:
            return _callable(kind, parts)


def grader_for(case: Case, default: GraderSpec | None, parts: GraderParts) -> Grader:
    """The case's own grader, the run's, or the one that goes with what is expected.

    Raises ConfigError, also where the grader cannot use what the case expects.
    """
    spec = case.grader if case.grader is not None else default
    if spec is None:
        spec = _by_expected(case)
    grader = grader_of(spec, parts)
    problem = _unfit(grader, case)
    if problem is not None:
        raise ConfigError(problem)
    return grader


def _by_expected(case: Case) -> GraderSpec:
    expected = case.expected
    if not case.has_expected:
        raise ConfigError("neither expected nor a grader: nothing says what is right")
    if case.tools or (isinstance(expected, Mapping) and {"name", "arguments"} == set(expected)):
        return "call"
    if isinstance(expected, Mapping | list | tuple):
        return "json"
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return "numeric"
    return "exact"


def _unfit(grader: Grader, case: Case) -> str | None:
    if isinstance(grader, ToolCalls):
        expected_calls(case.expected)
    elif isinstance(grader, Pattern):
        if grader.pattern is None:
            if not isinstance(case.expected, str):
                return "the grader 'regex' needs a pattern as expected"
            check_pattern(case.expected)
    elif isinstance(grader, Numeric):
        if number_in(str(case.expected)) is None:
            return "the grader 'numeric' needs a number as expected"
    elif isinstance(grader, Exact | Similar) and not case.has_expected:
        return "the grader needs something expected"
    return None


def _parsed(spec: GraderSpec) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        kind, colon, option = spec.partition(":")
        if kind not in _OPTIONS:
            return spec, {}
        return kind, _checked(kind, _short(kind, option) if colon else {})
    named = spec.get("kind")
    if not isinstance(named, str):
        raise ConfigError('grader: write a name, or an object with "kind" and its options')
    return named, _checked(named, {key: value for key, value in spec.items() if key != "kind"})


def _short(kind: str, option: str) -> dict[str, Json]:
    known = _OPTIONS[kind]
    if known.get(option) is bool:
        return {option: True}
    if kind == "call":
        return {"arguments": option}
    name = _SHORT.get(kind)
    if name is None:
        raise ConfigError(f"grader {kind!r} takes no option {option[:40]!r}")
    if known[name] is str:
        return {name: option}
    try:
        return {name: float(option)}
    except ValueError as error:
        raise ConfigError(f"grader {kind!r}: {option[:40]!r} is no number") from error


def _checked(kind: str, options: Mapping[str, Json]) -> dict[str, Any]:
    known = _OPTIONS.get(kind)
    if known is None:
        if options:
            raise ConfigError(f"grader {kind[:60]!r} takes no options")
        return {}
    for name, value in options.items():
        wanted = known.get(name)
        if wanted is None:
            told = ", ".join(known) or "no options"
            raise ConfigError(f"grader {kind!r} has no option {name[:40]!r}; it takes {told}")
        is_flag = isinstance(value, bool)
        if not isinstance(value, wanted) or is_flag != (wanted is bool):
            raise ConfigError(f"grader {kind!r}: {name} cannot be {str(value)[:40]!r}")
    return dict(options)


def _tool_calls(options: Mapping[str, Any]) -> ToolCalls:
    arguments = options.get("arguments", "exact")
    if arguments not in ("exact", "subset", "ignore"):
        raise ConfigError(f"grader 'call': {arguments[:40]!r}; use exact, subset or ignore")
    return ToolCalls(
        arguments=arguments,
        casefold=options.get("casefold", False),
    )


def _callable(reference: str, parts: GraderParts) -> Grader:
    if ":" not in reference:
        known = ", ".join(_OPTIONS)
        raise ConfigError(f"there is no grader {reference[:60]!r}; use {known} or module:function")
    if parts.resolve is None:
        raise ConfigError(
            f"grader {reference[:80]!r} runs code that the file of cases names; name it with "
            "--grader, or say --trust-cases"
        )
    function = parts.resolve(reference)
    if not callable(function):
        raise ConfigError(f"grader {reference!r} is no function")
    return _Called(function, reference)


@dataclass(frozen=True, slots=True)
class _Called:
    """A user's function of a Sample: it says true or false, a share, or a Grade."""

    function: Callable[..., object]
    name: str

    def __call__(self, sample: Sample) -> Grade:
        try:
            said = self.function(sample)
        except Exception as error:  # noqa: BLE001  the user's own code may raise anything
            return wrong("grader failed", f"{self.name} raised {type(error).__name__}: {error}")
        if isinstance(said, Grade):
            return said
        if not isinstance(said, bool | int | float) or not 0 <= said <= 1:
            return wrong("grader failed", f"{self.name} gave {str(said)[:80]!r}, no share of 1")
        score = float(said)
        return right() if score == 1 else wrong("check failed", score=score)


def _shipped() -> Embedder:
    try:
        from agentkit.tools.provision.embedding import StaticEmbedding

        return StaticEmbedding.shipped()
    except ImportError as error:
        raise ExtraMissing(what="the grader 'similar'", extra="eval") from error
