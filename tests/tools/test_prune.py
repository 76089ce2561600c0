"""Pruning as a whole: bounds, what is said of what went, failures, and keepers."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidLimits
from agentkit.tools.prune import Pruned, prune, shown
from agentkit.tools.prune.outline import Ask, Outline

ROWS = json.dumps([{"id": n, "name": f"customer {n}", "city": "Oslo"} for n in range(500)])


def test_what_fits_stays_as_it_is() -> None:
    found = prune("Order 17 is open.", max_tokens=50)
    assert (found.text, found.left_out, found.handle) == ("Order 17 is open.", "", None)
    assert not found.was_pruned


def test_what_was_left_out_is_said_in_the_last_line() -> None:
    found = prune(ROWS, max_tokens=200)
    assert found.was_pruned
    assert found.text.endswith(f"\n{found.left_out}")
    assert found.left_out.startswith(f"[{found.kept_lines} of {found.original_lines:,} values")
    assert count_text(found.left_out) <= 20


def test_keeper_gets_the_whole_and_its_handle_is_named() -> None:
    kept: list[str] = []

    def keep(text: str) -> str:
        kept.append(text)
        return "o-abc"

    found = prune(ROWS, max_tokens=200, keep=keep)
    assert kept == [ROWS]
    assert found.handle == "o-abc"
    assert found.text.endswith("; the rest: recall o-abc]")


def test_keeper_is_not_asked_where_nothing_went() -> None:
    def keep(text: str) -> str:
        raise AssertionError(text)

    assert prune("all of it", keep=keep).handle is None


def test_keeper_that_fails_costs_only_the_handle() -> None:
    def keep(text: str) -> str:
        raise OSError("disk full")

    found = prune(ROWS, max_tokens=200, keep=keep)
    assert (found.handle, found.failure) == (None, "not kept: OSError")
    assert "customer 0" in found.text


@pytest.mark.parametrize("limit", [1, 5, 20, 64, 300])
def test_token_bound_holds_to_the_token(limit: int) -> None:
    assert count_text(prune(ROWS, max_tokens=limit).text) <= limit


@given(text=st.text(max_size=400), limit=st.integers(1, 120))
def test_byte_bound_holds_for_any_text(text: str, limit: int) -> None:
    found = prune(text, max_bytes=limit)
    assert len(found.text.encode()) <= limit
    assert found.kept_bytes == len(found.text.encode())
    assert found.original_bytes == len(text.encode())


@given(data=st.binary(max_size=300))
def test_any_bytes_become_text_that_can_be_sent(data: bytes) -> None:
    found = prune(data, max_tokens=40)
    found.text.encode()
    assert "\0" not in found.text
    assert found.original_bytes == len(data)


def test_same_observation_gives_the_same_text() -> None:
    assert prune(ROWS, query="Oslo", max_tokens=150) == prune(ROWS, query="Oslo", max_tokens=150)


@pytest.mark.parametrize(
    "limits", [{"max_tokens": 0}, {"max_bytes": -1}, {"max_tokens": 5, "max_bytes": 5}]
)
def test_bounds_that_cannot_be_meant_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidLimits):
        prune("x", **limits)  # type: ignore[arg-type]  # the keywords are the test's data


def test_pruner_that_fails_leaves_a_cut_text_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(text: str, ask: Ask) -> Outline:
        raise ZeroDivisionError("secret contents")

    monkeypatch.setitem(shown._OUTLINES, "code", broken)
    text = "\n".join(["first line", *(f"x = {n}" for n in range(3000)), "last line"])
    found = prune(text, kind="code", max_tokens=100)
    assert found.failure == "ZeroDivisionError"
    assert found.text.startswith("first line")
    assert "last line" in found.text
    assert "ZeroDivisionError" in caplog.text
    assert "secret contents" not in caplog.text


def test_time_budget_ends_a_pruner() -> None:
    rng = random.Random(3)
    text = "\n".join(f"{rng.random()} line {n}" for n in range(20_000))
    found = prune(text, kind="log", max_tokens=100, time_budget_seconds=1e-6)
    assert found.failure == "OutOfTime"
    assert count_text(found.text) <= 100


def test_kind_that_is_given_but_wrong_is_a_failure() -> None:
    assert prune("no json at all " * 500, kind="json").failure == "JSONDecodeError"


def test_text_that_begins_like_json_is_read_as_text() -> None:
    found = prune('[{"not": closed ' + "and so on, order 17. " * 2000, max_tokens=100)
    assert found.failure is None
    assert count_text(found.text) <= 100


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "<binary, 108 bytes, image/png; not shown>"),
        (b"\0\1\2" * 10, "<binary, 30 bytes; not shown>"),
    ],
)
def test_binary_is_described_and_never_sent(data: bytes, said: str) -> None:
    assert prune(data).text == said
    assert prune(data).kind == "binary"


def test_bytes_of_text_are_text() -> None:
    assert prune("né à Paris".encode()).text == "né à Paris"


def test_pruned_is_frozen() -> None:
    with pytest.raises(AttributeError):
        prune("x").text = "y"  # type: ignore[misc]  # frozen is what is tested
    assert isinstance(prune("x"), Pruned)
