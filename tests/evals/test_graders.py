"""Graders: what passes, what fails and as what."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ConfigError
from agentkit.evals import Case, Grade, GraderParts, MadeCall, Sample, grader_of
from agentkit.evals.grader import grader_for
from agentkit.evals.graders import number_in
from agentkit.evals.json_value import Json, differences

PLAY = {"name": "play", "arguments": {"artist": "Nina Simone", "year": 1965}}


def sample(answer: str, expected: Json = None, calls: tuple[MadeCall, ...] = ()) -> Sample:
    return Sample(case=Case(id="1", request="r", expected=expected), answer=answer, calls=calls)


def graded(spec: str, answer: str, expected: Json) -> Grade:
    return grader_of(spec, GraderParts())(sample(answer, expected))


@pytest.mark.parametrize(
    ("spec", "answer", "expected", "kind"),
    [
        ("exact", " Paris\n", "Paris", None),
        ("exact", "paris", "Paris", "wrong answer"),
        ("exact:casefold", "paris", "Paris", None),
        ("exact", "", "Paris", "no answer"),
        ("regex", "it is 12 degrees", r"\b1\d\b", None),
        ("regex", "it is 22 degrees", r"\b1\d\b", "no match"),
        ("regex:^yes", "yes, sir", None, None),
        ("numeric", "So it makes 1,234.50 in all.", 1234.5, None),
        ("numeric", "first 7, then 9", 7, "wrong number"),
        ("numeric:0.5", "about 7.4", 7, None),
        ("numeric", "none", 7, "no number"),
        ("json", '```json\n{"a": [1, 2]}\n```', {"a": [1, 2]}, None),
        ("json", '{"a": 1, "b": 2}', {"a": 1}, "wrong JSON"),
        ("json:subset", '{"a": 1, "b": 2}', {"a": 1}, None),
        ("json:order.items[1]", '{"order": {"items": [1, {"id": 4}]}}', {"id": 4}, None),
        ("json:order.items[9]", '{"order": {"items": []}}', 1, "wrong JSON"),
        ("json", "no json", {}, "not JSON"),
        ("json", '{"a": true}', {"a": 1}, "wrong JSON"),
    ],
)
def test_an_answer_is_graded(spec: str, answer: str, expected: Json, kind: str | None) -> None:
    grade = graded(spec, answer, expected)
    assert (grade.kind, grade.passed) == (kind, kind is None)


@pytest.mark.parametrize(
    ("spec", "made", "expected", "kind"),
    [
        ("call", [PLAY], PLAY, None),
        ("call", [], PLAY, "no call"),
        ("call", [{"name": "stop", "arguments": {}}], PLAY, "wrong tool"),
        ("call", [PLAY, PLAY], PLAY, "wrong tool"),
        ("call", [{**PLAY, "arguments": {"artist": "Nina"}}], PLAY, "wrong arguments"),
        ("call:ignore", [{**PLAY, "arguments": {}}], PLAY, None),
        ("call:subset", [PLAY], {"name": "play", "arguments": {"year": 1965}}, None),
        ("call", [PLAY], {"name": "play", "arguments": {"year": 1965}}, "wrong arguments"),
        (
            "call:casefold",
            [{"name": "play", "arguments": {"artist": "nina  simone", "year": 1965}}],
            PLAY,
            None,
        ),
        ("call", [], [], None),
        ("call", [PLAY], None, "unneeded call"),
        ("call", [{"name": "stop", "arguments": {}}, PLAY], [PLAY, {"name": "stop"}], None),
    ],
)
def test_calls_are_graded(
    spec: str, made: list[dict[str, object]], expected: Json, kind: str | None
) -> None:
    calls = tuple(MadeCall(**call) for call in made)  # type: ignore[arg-type]  # JSON as it is
    grade = grader_of(spec, GraderParts())(sample("", expected, calls))
    assert grade.kind == kind


def test_a_call_that_did_not_fit_and_was_repaired_passes() -> None:
    broken = MadeCall(name="play", arguments={"artist": 4}, ran=False)
    calls = (broken, MadeCall(**PLAY))  # type: ignore[arg-type]  # JSON as it is
    assert grader_of("call", GraderParts())(sample("", PLAY, calls)).passed


def test_a_pattern_that_would_never_end_is_given_up() -> None:
    began = time.process_time()
    grade = graded("regex", "a" * 60 + "!", r"^(a|a|b?a)*$|(a+)+$")
    assert (grade.kind, grade.passed) == ("grader failed", False)
    assert time.process_time() - began < 5


def test_similar_texts_pass_and_others_do_not() -> None:
    close = graded(
        "similar:0.6", "The refund was sent to the customer", "the customer was refunded"
    )
    far = graded("similar:0.6", "Bananas are yellow", "the customer was refunded")
    assert close.passed
    assert (far.kind, far.score < close.score) == ("unlike", True)


@pytest.mark.parametrize(
    ("said", "passed", "score", "kind"),
    [
        (True, True, 1.0, None),
        (False, False, 0.0, "check failed"),
        (0.4, False, 0.4, "check failed"),
        ("yes", False, 0.0, "grader failed"),
        (7, False, 0.0, "grader failed"),
    ],
)
def test_a_users_function_is_a_grader(
    said: object, passed: bool, score: float, kind: str | None
) -> None:
    parts = GraderParts(resolve=lambda reference: lambda given: said)
    grade = grader_of("checks:polite", parts)(sample("hello"))
    assert (grade.passed, grade.score, grade.kind) == (passed, score, kind)


def test_a_users_function_that_raises_fails_the_case_alone() -> None:
    def broken(_: Sample) -> bool:
        raise KeyError("x")

    grade = grader_of("checks:broken", GraderParts(resolve=lambda _: broken))(sample("hello"))
    assert (grade.kind, "KeyError" in grade.detail) == ("grader failed", True)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("exakt", "there is no grader 'exakt'"),
        ("numeric:much", "is no number"),
        ("regex:(", "pattern"),
        ("call:fuzzy", "use exact, subset or ignore"),
        ("judge", "--judge"),
        ("judge:hard", "takes no option"),
        ("checks:polite", "--trust-cases"),
        ("json:a..b[", "path"),
    ],
)
def test_a_grader_that_cannot_be_is_told(spec: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        grader_of(spec, GraderParts())


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"kind": "numeric", "tolerance": "1"}, "tolerance cannot be"),
        ({"kind": "json", "paths": "a"}, "no option 'paths'"),
        ({"tolerance": 1}, 'an object with "kind"'),
        ({"kind": "json", "subset": 1}, "subset cannot be"),
    ],
)
def test_options_in_an_object_are_checked(spec: dict[str, Json], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        grader_of(spec, GraderParts())


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ("a", "Exact"),
        (3, "Numeric"),
        ({"a": 1}, "JsonMatch"),
        ([1], "JsonMatch"),
        (PLAY, "ToolCalls"),
    ],
)
def test_what_is_expected_names_the_grader(expected: Json, kind: str) -> None:
    case = Case(id="1", request="r", expected=expected)
    assert type(grader_for(case, None, GraderParts())).__name__ == kind


def test_a_case_that_nothing_can_grade_is_refused() -> None:
    case = Case(id="1", request="r", has_expected=False)
    with pytest.raises(ConfigError, match="nothing says what is right"):
        grader_for(case, None, GraderParts())
    with pytest.raises(ConfigError, match="needs a number"):
        grader_for(Case(id="1", request="r", expected="x"), "numeric", GraderParts())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(values)
def test_a_value_never_differs_from_itself(value: Json) -> None:
    assert not list(differences(value, value, subset=False))


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e12, 1e12, allow_nan=False), st.text("abc ,;", max_size=5))
def test_the_last_number_of_a_text_is_read(number: float, after: str) -> None:
    found = number_in(f"12 and 7 so {number:f}{after}")
    assert found == pytest.approx(float(f"{number:f}"))
